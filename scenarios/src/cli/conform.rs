//! `dora conform` and `dora list`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dora_harness::{
    engine::{Engine, RunId, RunKind, reaper::Reaper},
    topology::Member,
};
use dora_reports::{
    Bundle, BundleWriter,
    evidence::{Finding, ScenarioEvidence, Verdict},
    terminal::{self, Layout},
};
use dora_scenarios::{
    runner::{Job, Session, SessionOptions, describe_images, describe_topology, new_evidence, run_all},
    select,
};
use time::OffsetDateTime;

use super::{ConformArgs, RUNS, config::Config, error::CliError, progress::Progress};

/// Sustained operation on the survivors of a fault, unless the user says otherwise.
const SUSTAIN_S: u64 = 60;
/// Lines of each node's log that the bundle keeps.
const LOG_LINES: usize = 2_000;

/// Runs the selected scenarios and writes the bundle.
pub async fn conform(args: ConformArgs, config: &Config) -> Result<ExitCode, CliError> {
    let jobs = jobs(&args)?;
    let engine = Engine::connect().await?;
    let info = engine.info().await?;
    let run = RunId::generate();
    let dir = Path::new(RUNS).join(run.as_str());
    let histories = dir.join("histories");
    std::fs::create_dir_all(&histories).map_err(|source| CliError::File { what: "make the folder", path: histories.clone(), source })?;
    let progress = Arc::new(Progress::new());
    let builds = Arc::clone(&progress);
    let mut members: Vec<Member> = jobs.iter().map(|job| job.scenario.member()).collect();
    if args.filters.is_empty() {
        members = Member::ALL.to_vec();
    }
    members.sort_unstable();
    members.dedup();
    let options = SessionOptions {
        run: run.clone(),
        kind: if args.keep { RunKind::Kept } else { RunKind::Bound },
        profile: config.profile(&args.platform)?,
        members,
        replacements: config.replacements(&args.platform),
        histories,
        seed: args.seed,
        jobs: usize::from(args.jobs.or(config.jobs).unwrap_or(8)),
        sustain: Duration::from_secs(args.sustain.or(config.sustain_s).unwrap_or(SUSTAIN_S)),
        progress: Arc::new(move |event| builds.build(event)),
    };
    let catalogue = dora_fixtures::catalogue::Catalogue::load();
    let mut writer = BundleWriter::create(&dir, new_evidence(&options, Some(&info), &catalogue))?;
    let reaper =
        Reaper::start(&run).map_err(|source| CliError::File { what: "start the reaper of", path: PathBuf::from(run.as_str()), source })?;
    progress.line(&format!("run {run}: {} scenarios, profile {}", jobs.len(), options.profile));
    let outcome = tokio::select! {
        outcome = run_jobs(engine, options, &jobs, &mut writer, &progress) => outcome,
        _ = tokio::signal::ctrl_c() => Err(Stop::Interrupted),
    };
    let stop = outcome.err();
    match &stop {
        None => {}
        Some(Stop::Interrupted) => writer.update(|evidence| evidence.run.problems.push("the run was interrupted".into()))?,
        Some(Stop::Failed(error)) => writer.update(|evidence| evidence.run.problems.push(error.to_string()))?,
    }
    let bundle = writer.finish(OffsetDateTime::now_utc())?;
    if args.keep && stop.is_none() {
        reaper.disarm();
        progress.line(&format!("the platform stays; remove it with `dora down {run}`"));
    } else {
        // Waiting may take seconds and must not hold up the runtime's other work.
        let _ = tokio::task::spawn_blocking(move || reaper.reap()).await;
    }
    print!("{}", terminal::summary(bundle.evidence(), layout(), Some(bundle.dir())));
    match stop {
        Some(Stop::Failed(error)) => Err(error),
        Some(Stop::Interrupted) => Ok(ExitCode::from(130)),
        None => Ok(exit_code(&bundle)),
    }
}

/// Why a run ended before its end.
enum Stop {
    Interrupted,
    Failed(CliError),
}

impl<E: Into<CliError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

async fn run_jobs(
    engine: Engine,
    options: SessionOptions,
    jobs: &[Job],
    writer: &mut BundleWriter,
    progress: &Progress,
) -> Result<(), Stop> {
    progress.begin("platform", "starts");
    let session = Session::open(engine, options).await?;
    progress.end("platform", &format!("every node has its role after {:.1} s", session.ready_ms() / 1e3));
    let images = describe_images(session.ground()).await;
    let topology = describe_topology(session.ground(), session.ready_ms(), None);
    writer.update(|evidence| {
        evidence.images = images;
        evidence.topology = topology;
    })?;
    let shared = Mutex::new((&mut *writer, None));
    run_all(&session, jobs, &|job| progress.started(job), &|job, evidence| {
        progress.ended(job, &evidence);
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = shared.0.record(marked(job, evidence)) {
            shared.1.get_or_insert(error);
        }
    })
    .await;
    let (writer, failed) = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = failed {
        return Err(error.into());
    }
    let peak = session.peak_memory_bytes();
    writer.update(|evidence| {
        evidence.topology.peak_memory_bytes = peak;
        evidence.run.problems.extend(session.broken());
    })?;
    for node in session.ground().nodes() {
        // A destroyed node has no log any more.
        if let Ok(lines) = node.logs(LOG_LINES).await {
            writer.write_log(node.name(), lines.join("\n").as_bytes())?;
        }
    }
    if session.options().kind == RunKind::Kept {
        super::platform::save(&session.ground().clone(), session.platform(), writer.dir()).await?;
    } else {
        session.close().await?;
    }
    Ok(())
}

/// A proof's evidence says that it is one.
fn marked(job: &Job, mut evidence: ScenarioEvidence) -> ScenarioEvidence {
    if let Some(sabotage) = job.sabotage {
        evidence.findings.insert(0, Finding::note("sabotaged", format!("this run carries a planted defect: {}", sabotage.what)));
    }
    evidence
}

fn jobs(args: &ConformArgs) -> Result<Vec<Job>, CliError> {
    let scenarios = select(&args.filters)?;
    let Some(id) = &args.sabotage else {
        return Ok(scenarios.into_iter().map(|scenario| Job { scenario, sabotage: None }).collect());
    };
    let jobs: Vec<Job> = scenarios.iter().filter_map(|scenario| Some(Job { scenario, sabotage: Some(scenario.sabotage(id)?) })).collect();
    if jobs.is_empty() {
        let known: Vec<&str> = scenarios.iter().flat_map(|scenario| scenario.sabotages).map(|sabotage| sabotage.id).collect();
        return Err(CliError::Usage(format!(
            "none of the selected scenarios has a sabotage called `{id}`; they have: {}",
            known.join(", ")
        )));
    }
    Ok(jobs)
}

/// 1 when something is not satisfied; 3 when something could not be decided or the run itself had problems; else 0.
fn exit_code(bundle: &Bundle) -> ExitCode {
    let counts = bundle.evidence().scenario_counts();
    if counts.of(Verdict::NotSatisfied) > 0 {
        ExitCode::from(1)
    } else if counts.of(Verdict::Inconclusive) > 0 || !bundle.evidence().run.problems.is_empty() {
        ExitCode::from(3)
    } else {
        ExitCode::SUCCESS
    }
}

/// The terminal's width and whether it shows colours.
pub fn layout() -> Layout {
    use std::io::IsTerminal as _;
    let terminal = std::io::stdout().is_terminal();
    let width = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
    Layout { width, colour: terminal && std::env::var_os("NO_COLOR").is_none() }
}

/// Lists the scenarios.
pub fn list() -> Result<ExitCode, CliError> {
    for scenario in select(&[])? {
        println!("{:<36} {}  [{}]", scenario.id, scenario.title, scenario.clauses.join(", "));
        for sabotage in scenario.sabotages {
            println!("{:<36}   --sabotage {}: {} → {}", "", sabotage.id, sabotage.what, sabotage.expects);
        }
    }
    Ok(ExitCode::SUCCESS)
}
