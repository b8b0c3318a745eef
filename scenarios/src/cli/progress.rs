//! Progress: bars on a terminal, plain lines elsewhere.

use std::{
    collections::HashMap,
    io::IsTerminal as _,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use dora_harness::engine::BuildProgress;
use dora_reports::evidence::ScenarioEvidence;
use dora_scenarios::runner::Job;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Shows what a run does, on standard error.
pub struct Progress {
    bars: Option<MultiProgress>,
    running: Mutex<HashMap<String, ProgressBar>>,
    started: Instant,
}

impl Progress {
    /// Bars where standard error is a terminal.
    pub fn new() -> Self {
        let bars = std::io::stderr().is_terminal().then(MultiProgress::new);
        Self { bars, running: Mutex::default(), started: Instant::now() }
    }

    /// A line that stays.
    pub fn line(&self, text: &str) {
        let line = format!("[{:>5.1} s] {text}", self.started.elapsed().as_secs_f64());
        match &self.bars {
            // A terminal that went away is no reason to end the run.
            Some(bars) => drop(bars.println(line)),
            None => eprintln!("{line}"),
        }
    }

    /// Something begins that takes a while.
    pub fn begin(&self, name: &str, text: &str) {
        let Some(bars) = &self.bars else { return self.line(&format!("{name}: {text}")) };
        let style = ProgressStyle::with_template("{spinner} {elapsed:>4} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = bars.add(ProgressBar::new_spinner().with_style(style).with_message(format!("{name}: {text}")));
        bar.enable_steady_tick(Duration::from_millis(120));
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), bar);
    }

    /// It ended; the line stays.
    pub fn end(&self, name: &str, text: &str) {
        if let Some(bar) = self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(name) {
            bar.finish_and_clear();
        }
        self.line(&format!("{name}: {text}"));
    }

    /// What an image build does.
    pub fn build(&self, event: BuildProgress) {
        match event {
            BuildProgress::Present(_) => {}
            BuildProgress::Started(image) => self.begin(&format!("image {image}"), "building"),
            BuildProgress::Finished(image, seconds) => self.end(&format!("image {image}"), &format!("built in {seconds} s")),
            BuildProgress::Line(image, line) => {
                let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(bar) = running.get(&format!("image {image}")) {
                    bar.set_message(format!("image {image}: {}", line.chars().take(100).collect::<String>()));
                }
            }
        }
    }

    /// A scenario begins.
    pub fn started(&self, job: &Job) {
        self.begin(&name_of(job), "runs");
    }

    /// A scenario ended.
    pub fn ended(&self, job: &Job, evidence: &ScenarioEvidence) {
        let seconds = (evidence.finished_ms - evidence.started_ms) / 1e3;
        let reason = if evidence.reason.is_empty() { String::new() } else { format!(" – {}", evidence.reason) };
        self.end(&name_of(job), &format!("{} after {seconds:.0} s{reason}", evidence.verdict));
    }
}

fn name_of(job: &Job) -> String {
    match job.sabotage {
        None => job.scenario.id.to_owned(),
        Some(sabotage) => format!("{} under {}", job.scenario.id, sabotage.id),
    }
}
