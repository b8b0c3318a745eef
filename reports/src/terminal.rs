//! The summary for a terminal or a CI log.

use std::fmt::Write as _;
use std::path::Path;

use crate::evidence::{CheckOutcome, Evidence, Limit, Measured, ProofEvidence, ProofOutcome, ScenarioEvidence, Severity, Verdict};
use crate::{order, text};

/// How the summary is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Columns of the terminal; below 40 is treated as 40.
    pub width: usize,
    /// Whether ANSI colours are used.
    pub colour: bool,
}

impl Default for Layout {
    /// A hundred columns without colour: what a CI log shows.
    fn default() -> Self {
        Self { width: 100, colour: false }
    }
}

/// The summary: one line a scenario, then whatever is not satisfied or inconclusive with its reason, then why others
/// could not be tried, then the counts, then where the bundle is.
#[must_use]
pub fn summary(evidence: &Evidence, layout: Layout, bundle: Option<&Path>) -> String {
    let mut page = Page { out: String::new(), width: layout.width.max(40), colour: layout.colour };
    let scenarios = order::reading_order(evidence);
    page.table(&scenarios);
    page.findings(&scenarios);
    page.not_evidenced(&scenarios);
    page.proofs(&evidence.proofs);
    page.counts(evidence);
    for problem in &evidence.run.problems {
        page.wrapped("", &format!("problem: {problem}"));
    }
    if let Some(dir) = bundle {
        // On a line of its own, so that it can be selected and is never wrapped.
        page.line(&format!("report  {}", dir.join("report.html").display()));
    }
    page.out
}

/// The [`stable_part`] of every scenario, in the order of their ids.
#[must_use]
pub fn stable_summary(evidence: &Evidence) -> String {
    let mut scenarios: Vec<_> = evidence.scenarios.iter().collect();
    scenarios.sort_by(|a, b| a.scenario.cmp(&b.scenario));
    scenarios.into_iter().map(stable_part).collect()
}

/// What does not change from one run of a scenario to the next with the same verdict: clauses, kinds of faults, names of measures and
/// whether their limits were met, answers of checkers, what was probed and whether it answered as expected, ids of findings that count.
/// Without values, times and places, and without notes, which tell of this one run.
#[must_use]
pub fn stable_part(scenario: &ScenarioEvidence) -> String {
    let mut lines = vec![format!("{}: {}", scenario.scenario, scenario.verdict), format!("  clauses {}", scenario.clauses.join(", "))];
    lines.extend(scenario.faults.iter().map(|fault| format!("  fault {}", fault.kind)));
    for measure in &scenario.measured {
        let met = match (measure.limit, measure.met) {
            (None, _) => "measured",
            (Some(_), Some(true)) => "met",
            (Some(_), Some(false)) => "not met",
            (Some(_), None) => "not observed",
        };
        lines.push(format!("  {} {met}", measure.name));
    }
    for check in &scenario.checks {
        let answer = match check.outcome {
            CheckOutcome::Holds => "holds",
            CheckOutcome::Violated => "violated",
            CheckOutcome::Undecided => "undecided",
        };
        lines.push(format!("  check {} ({}) {answer}", check.name, check.model));
    }
    for matrix in &scenario.matrices {
        lines.push(format!("  matrix {}: {}", matrix.title, matrix.columns.join(", ")));
        for row in &matrix.rows {
            let (right, wrong): (Vec<_>, Vec<_>) = row.cells.iter().flatten().partition(|cell| cell.ok);
            lines.push(format!("    {}: {} of {} as expected", row.name, right.len(), right.len() + wrong.len()));
        }
    }
    if !scenario.contents.is_empty() {
        let equal = scenario.contents.iter().all(|row| row.equal);
        lines.push(format!("  contents {}", if equal { "equal" } else { "different" }));
    }
    let counting = scenario.findings.iter().filter(|finding| finding.severity > Severity::Note);
    lines.extend(counting.map(|finding| format!("  {} {}", finding.severity.text(), finding.id)));
    lines.join("\n") + "\n"
}

/// The one measure of a scenario that a reader wants first: a missed limit, or how many probes or contents are right, or
/// how long service was gone, or whatever else has a limit. Nothing where nothing was tried: the reason has its own place.
fn key_measure(scenario: &ScenarioEvidence) -> String {
    if scenario.verdict == Verdict::NotEvidenced {
        return String::new();
    }
    if let Some(missed) = scenario.measured.iter().find(|measure| measure.met == Some(false)) {
        return measured(missed);
    }
    if let Some(counted) = probes(scenario).or_else(|| contents(scenario)) {
        return counted;
    }
    let named = |name: &&str| scenario.measured.iter().find(|measure| measure.name == *name);
    let limited = || scenario.measured.iter().find(|measure| measure.limit.is_some());
    ["first_success", "latency_p99"]
        .iter()
        .find_map(named)
        .or_else(limited)
        .or(scenario.measured.first())
        .map_or_else(String::new, measured)
}

/// How many probes are right; nothing where there are none.
pub(crate) fn probes(scenario: &ScenarioEvidence) -> Option<String> {
    let (ok, all) = (scenario.probes().filter(|probe| probe.ok).count(), scenario.probes().count());
    (all > 0).then(|| format!("{ok} of {} as expected", text::plural(all, "probe")))
}

/// How many objects are the same after a restore; nothing where none was compared.
pub(crate) fn contents(scenario: &ScenarioEvidence) -> Option<String> {
    let (equal, all) = (scenario.contents.iter().filter(|row| row.equal).count(), scenario.contents.len());
    (all > 0).then(|| format!("{equal} of {} equal", text::plural(all, "object")))
}

fn measured(measure: &Measured) -> String {
    let value = measure.value.map_or("not observed".to_owned(), |value| text::quantity(value, &measure.unit));
    let name = text::human(&measure.name);
    match measure.limit {
        Some(Limit { op, value: limit }) => {
            // The unit is the value's own, except where each of them is written in the one that reads best.
            let limit = match measure.unit.as_str() {
                unit @ ("ms" | "s" | "bytes" | "B" | "ratio") => text::quantity(limit, unit),
                _ => text::number(limit),
            };
            format!("{name} {value} ({op} {limit})")
        }
        None => format!("{name} {value}"),
    }
}

fn mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Satisfied => "✓",
        Verdict::NotSatisfied => "✗",
        Verdict::Inconclusive => "?",
        Verdict::NotEvidenced => "–",
    }
}

struct Page {
    out: String,
    width: usize,
    colour: bool,
}

impl Page {
    fn line(&mut self, text: &str) {
        self.out.push_str(text.trim_end());
        self.out.push('\n');
    }

    /// Text in the colour of a verdict. Only the colour is added: what it says is in the words.
    fn paint(&self, verdict: Verdict, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match verdict {
            Verdict::Satisfied => "32",
            Verdict::NotSatisfied => "1;31",
            Verdict::Inconclusive => "33",
            Verdict::NotEvidenced => "2",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// Scenario, verdict, key measure, time; the measure gives way first and vanishes on a narrow terminal.
    fn table(&mut self, scenarios: &[&ScenarioEvidence]) {
        const VERDICT: usize = "✓ not satisfied".len() - "✓".len() + 1;
        let name = scenarios.iter().map(|s| s.scenario.chars().count()).max().unwrap_or(0).clamp(8, 44);
        let time = |s: &ScenarioEvidence| text::duration(s.finished_ms - s.started_ms);
        let time_width = scenarios.iter().map(|s| time(s).chars().count()).max().unwrap_or(0);
        // A name that is shortened is better than a line that wraps.
        let name = name.min(self.width.saturating_sub(VERDICT + time_width + 4)).max(8);
        let rest = self.width.saturating_sub(name + VERDICT + time_width + 6);
        for scenario in scenarios {
            let verdict = format!("{} {}", mark(scenario.verdict), scenario.verdict);
            let mut line = format!("{}  ", fitted(&scenario.scenario, name));
            line.push_str(&self.paint(scenario.verdict, &fitted(&verdict, VERDICT)));
            if rest >= 12 {
                line.push_str("  ");
                line.push_str(&fitted(&key_measure(scenario), rest));
            }
            let _ = write!(line, "  {:>time_width$}", time(scenario));
            self.line(&line);
        }
    }

    fn findings(&mut self, scenarios: &[&ScenarioEvidence]) {
        let open = |s: &&ScenarioEvidence| matches!(s.verdict, Verdict::NotSatisfied | Verdict::Inconclusive);
        for scenario in scenarios.iter().copied().filter(open) {
            self.line("");
            let heading = format!("{} {}", scenario.scenario, scenario.verdict);
            let heading = self.paint(scenario.verdict, &heading);
            self.line(&heading);
            if let Some(reason) = scenario.reason_beside_findings() {
                self.wrapped("  ", reason);
            }
            for finding in scenario.findings.iter().filter(|finding| finding.severity > Severity::Note) {
                self.wrapped("  ", &format!("{}: {}", finding.id, finding.message));
                for line in finding.witness.iter().flat_map(|witness| witness.lines()).take(6) {
                    self.line(&format!("    {}", shortened(line, self.width - 4)));
                }
            }
        }
    }

    /// What could not be tried: every reason once, after the scenarios that it holds for.
    fn not_evidenced(&mut self, scenarios: &[&ScenarioEvidence]) {
        let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
        for scenario in scenarios.iter().filter(|scenario| scenario.verdict == Verdict::NotEvidenced) {
            match reasons.iter_mut().find(|(reason, _)| *reason == scenario.reason.as_str()) {
                Some((_, ids)) => ids.push(scenario.scenario.as_str()),
                None => reasons.push((scenario.reason.as_str(), vec![scenario.scenario.as_str()])),
            }
        }
        if reasons.is_empty() {
            return;
        }
        self.line("");
        let heading = self.paint(Verdict::NotEvidenced, Verdict::NotEvidenced.text());
        self.line(&heading);
        for (reason, ids) in reasons {
            self.wrapped("  ", &format!("{}: {reason}", ids.join(", ")));
        }
    }

    /// One line a planted defect, those first that nobody noticed; then how many were.
    fn proofs(&mut self, proofs: &[ProofEvidence]) {
        if proofs.is_empty() {
            return;
        }
        let ordered = order::proofs(proofs);
        let name = |proof: &ProofEvidence| format!("{} under {}", proof.scenario, proof.sabotage);
        let width = ordered.iter().map(|proof| name(proof).chars().count()).max().unwrap_or(0).min(self.width.saturating_sub(12));
        self.line("");
        for proof in &ordered {
            let colour = match proof.outcome {
                ProofOutcome::Killed => Verdict::Satisfied,
                ProofOutcome::Survived => Verdict::NotSatisfied,
                ProofOutcome::Undecided => Verdict::Inconclusive,
            };
            let line = format!("{}  {}", fitted(&name(proof), width), self.paint(colour, proof.outcome.text()));
            self.line(&line);
            if proof.outcome != ProofOutcome::Killed {
                self.wrapped("  ", &format!("expected `{}`; {}", proof.expects, proof.told));
            }
        }
        let count = |outcome: ProofOutcome| proofs.iter().filter(|proof| proof.outcome == outcome).count();
        let killed = count(ProofOutcome::Killed);
        self.line("");
        let (survived, undecided) = (count(ProofOutcome::Survived), count(ProofOutcome::Undecided));
        let heading = text::plural(proofs.len(), "sabotage");
        self.wrapped("", &format!("{heading}: {killed} killed, {survived} survived, {undecided} undecided"));
    }

    fn counts(&mut self, evidence: &Evidence) {
        if evidence.scenarios.is_empty() && !evidence.proofs.is_empty() {
            return;
        }
        self.line("");
        if evidence.scenarios.is_empty() {
            self.line("no scenario ended");
        }
        for (noun, counts) in [("scenario", evidence.scenario_counts()), ("clause", evidence.clause_counts())] {
            if counts.total() == 0 {
                continue;
            }
            let parts = Verdict::ALL.into_iter().filter(|verdict| counts.of(*verdict) > 0);
            let parts: Vec<_> = parts.map(|verdict| (verdict, format!("{} {verdict}", counts.of(verdict)))).collect();
            let heading = format!("{}:", text::plural(counts.total(), noun));
            let length: usize = parts.iter().map(|(_, part)| part.len() + 2).sum();
            // On one line where it fits, otherwise one below the other.
            let narrow = heading.len() + length > self.width;
            let (first, separator) = if narrow { ("\n  ", "\n  ") } else { (" ", ", ") };
            let parts: Vec<_> = parts.iter().map(|(verdict, part)| self.paint(*verdict, part)).collect();
            self.line(&format!("{heading}{first}{}", parts.join(separator)));
        }
        if evidence.run.finished_at.is_none() {
            self.line("the run did not finish: what is listed had ended before");
        }
    }

    fn wrapped(&mut self, indent: &str, text: &str) {
        let mut line = indent.to_owned();
        for word in text.split_whitespace() {
            let empty = line.len() == indent.len();
            if !empty && line.chars().count() + 1 + word.chars().count() > self.width {
                self.line(&line);
                // What continues stands a little further in than what begins.
                line = format!("{indent}  ");
            } else if !empty && !line.ends_with(' ') {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(&line);
    }
}

/// Exactly `width` columns: padded, or shortened.
fn fitted(text: &str, width: usize) -> String {
    let short = shortened(text, width);
    format!("{short:<width$}")
}

fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}
