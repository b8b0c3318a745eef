//! What the templates get: the evidence as it is, and what is derived from it.

use serde::Serialize;

use super::boot::BootChart;
use super::chart::Chart;
use super::clocks::ClockChart;
use super::security::{self, Topic};
use crate::evidence::{ClauseEvidence, Evidence, ExceptionEvidence, ProofEvidence, ProofOutcome, ScenarioEvidence, Verdict, VerdictCounts};
use crate::{order, text};

#[derive(Debug, Serialize)]
pub(super) struct Page<'a> {
    evidence: &'a Evidence,
    headline: String,
    started: String,
    finished: Option<String>,
    elapsed_ms: Option<f64>,
    /// Whether the run planted defects and nothing else: then no scenario decided a clause, and none had to.
    proves: bool,
    proofs: Vec<&'a ProofEvidence>,
    scenario_counts: Vec<Count>,
    clause_counts: Vec<Count>,
    grid: Grid<'a>,
    attention: Vec<&'a ScenarioEvidence>,
    families: Vec<Family<'a>>,
    topics: Vec<Topic<'a>>,
    scenarios: Vec<Scenario<'a>>,
    boot: Option<BootChart>,
}

/// A verdict, and how often it was given.
#[derive(Debug, Serialize)]
struct Count {
    verdict: Verdict,
    number: usize,
}

/// Databases by pillars.
#[derive(Debug, Serialize)]
struct Grid<'a> {
    pillars: Vec<&'a str>,
    rows: Vec<GridRow<'a>>,
}

#[derive(Debug, Serialize)]
struct GridRow<'a> {
    database: &'a str,
    cells: Vec<Cell<'a>>,
}

/// The scenarios of one pillar and database, and how many have which verdict.
#[derive(Debug, Serialize)]
struct Cell<'a> {
    scenarios: Vec<&'a ScenarioEvidence>,
    counts: Vec<Count>,
}

#[derive(Debug, Serialize)]
struct Family<'a> {
    name: &'a str,
    counts: Vec<Count>,
    clauses: Vec<ClauseRow<'a>>,
}

/// A clause; each of its scenarios is in one of the three lists.
#[derive(Debug, Serialize)]
struct ClauseRow<'a> {
    clause: &'a ClauseEvidence,
    /// Those that decided it and say why, with their reasons.
    telling: Vec<(&'a str, &'a str)>,
    /// The others that ended, by verdict, the clause's own verdict first.
    others: Vec<Others<'a>>,
    not_run: Vec<&'a str>,
    /// How many named exceptions of the topology depart from it.
    exceptions: usize,
}

/// Ids of scenarios with the same verdict.
#[derive(Debug, Serialize)]
struct Others<'a> {
    verdict: Verdict,
    ids: Vec<&'a str>,
}

#[derive(Debug, Serialize)]
struct Scenario<'a> {
    evidence: &'a ScenarioEvidence,
    elapsed_ms: f64,
    /// Why it has its verdict, unless a finding says so in the same words.
    reason: Option<&'a str>,
    /// Where the security section shows its tables; absent for other scenarios, which show them themselves.
    topic: Option<&'static str>,
    clocks: Option<ClockChart>,
    chart: Option<Chart>,
    /// Whether the objective is the one that was fixed before the run.
    objective_unchanged: bool,
}

impl<'a> Page<'a> {
    pub(super) fn new(evidence: &'a Evidence) -> Self {
        let run = &evidence.run;
        let elapsed = run.finished_at.map(|finished| finished - run.started_at);
        let open = |s: &&ScenarioEvidence| matches!(s.verdict, Verdict::NotSatisfied | Verdict::Inconclusive);
        let ordered = order::reading_order(evidence);
        let mut attention: Vec<_> = ordered.iter().copied().filter(open).collect();
        attention.sort_by_key(|scenario| scenario.verdict != Verdict::NotSatisfied);
        Self {
            evidence,
            headline: headline(evidence),
            started: instant(run.started_at),
            finished: run.finished_at.map(instant),
            elapsed_ms: elapsed.map(|elapsed| elapsed.as_seconds_f64() * 1_000.0),
            proves: evidence.only_proves(),
            proofs: order::proofs(&evidence.proofs),
            scenario_counts: counts(&evidence.scenario_counts()),
            clause_counts: counts(&evidence.clause_counts()),
            grid: grid(&ordered),
            attention,
            families: families(evidence),
            topics: security::topics(&ordered),
            scenarios: ordered.iter().copied().map(scenario).collect(),
            boot: BootChart::new(&evidence.topology),
        }
    }
}

fn scenario(evidence: &ScenarioEvidence) -> Scenario<'_> {
    Scenario {
        evidence,
        elapsed_ms: evidence.finished_ms - evidence.started_ms,
        reason: evidence.reason_beside_findings(),
        topic: security::topic_of(evidence),
        clocks: ClockChart::new(evidence),
        chart: Chart::new(evidence),
        objective_unchanged: evidence.objective.hash_matches(),
    }
}

/// The one sentence that a reader in a hurry takes away.
fn headline(evidence: &Evidence) -> String {
    if evidence.only_proves() {
        if evidence.proofs.is_empty() {
            return "No planted defect was tried to its end".to_owned();
        }
        let count = |outcome| evidence.proof_count(outcome);
        let (killed, survived, undecided) = (count(ProofOutcome::Killed), count(ProofOutcome::Survived), count(ProofOutcome::Undecided));
        let planted = text::plural(evidence.proofs.len(), "planted defect");
        return format!("{killed} of {planted} killed, {survived} survived, {undecided} undecided");
    }
    let counts = evidence.scenario_counts();
    let total = counts.total();
    if total == 0 {
        return "No scenario ended, so nothing is evidenced".to_owned();
    }
    let others = [Verdict::NotSatisfied, Verdict::Inconclusive, Verdict::NotEvidenced].into_iter();
    let others: Vec<_> =
        others.filter(|verdict| counts.of(*verdict) > 0).map(|verdict| format!("{} {verdict}", counts.of(verdict))).collect();
    if others.is_empty() {
        let all = match total {
            1 => "The only scenario that ended is satisfied".to_owned(),
            _ => format!("All {total} scenarios that ended are satisfied"),
        };
        let clauses = evidence.clause_counts();
        // Without it the sentence would promise more than a run of some scenarios can show.
        return match clauses.not_evidenced {
            0 => all,
            open => format!("{all}; {open} of {} not evidenced", text::plural(clauses.total(), "clause")),
        };
    }
    format!("{} of {} satisfied, {}", counts.satisfied, text::plural(total, "scenario"), others.join(", "))
}

fn instant(at: time::OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    let (date, hour, minute, second) = (at.date(), at.hour(), at.minute(), at.second());
    format!("{date} {hour:02}:{minute:02}:{second:02} UTC")
}

fn counts(counts: &VerdictCounts) -> Vec<Count> {
    let count = |verdict| Count { verdict, number: counts.of(verdict) };
    Verdict::ALL.into_iter().map(count).collect()
}

fn grid<'a>(scenarios: &[&'a ScenarioEvidence]) -> Grid<'a> {
    let pillars = distinct(scenarios.iter().map(|scenario| scenario.pillar.as_str()));
    let mut databases = distinct(scenarios.iter().map(|scenario| scenario.database.as_str()));
    order::sort_databases(&mut databases);
    let cell = |database: &str, pillar: &str| {
        let here = |s: &&ScenarioEvidence| s.database == database && s.pillar == pillar;
        let scenarios: Vec<_> = scenarios.iter().copied().filter(here).collect();
        let verdicts = scenarios.iter().map(|scenario| scenario.verdict).collect();
        Cell { counts: counts(&verdicts), scenarios }
    };
    let row = |database| GridRow { database, cells: pillars.iter().map(|pillar| cell(database, pillar)).collect() };
    let rows = databases.into_iter().map(row).collect();
    Grid { pillars, rows }
}

fn families(evidence: &Evidence) -> Vec<Family<'_>> {
    let names = distinct(evidence.clauses.iter().map(|clause| clause.family.as_str()));
    let family = |name| {
        let own = || evidence.clauses.iter().filter(move |clause| clause.family == name);
        let verdicts = own().map(|clause| clause.verdict).collect();
        Family { name, counts: counts(&verdicts), clauses: own().map(|own| clause(evidence, own)).collect() }
    };
    names.into_iter().map(family).collect()
}

fn clause<'a>(evidence: &'a Evidence, clause: &'a ClauseEvidence) -> ClauseRow<'a> {
    let (mut telling, mut others, mut not_run) = (Vec::new(), Vec::<Others<'a>>::new(), Vec::new());
    for id in clause.scenarios.iter().map(String::as_str) {
        match evidence.scenario(id) {
            None => not_run.push(id),
            Some(ended) if ended.verdict == clause.verdict && !ended.reason.is_empty() => telling.push((id, ended.reason.as_str())),
            Some(ended) => match others.iter_mut().find(|same| same.verdict == ended.verdict) {
                Some(same) => same.ids.push(id),
                None => others.push(Others { verdict: ended.verdict, ids: vec![id] }),
            },
        }
    }
    others.sort_by_key(|others| others.verdict != clause.verdict);
    // An exception names a clause, or the beginning that several clauses share.
    let departs = |exception: &&ExceptionEvidence| {
        clause.id.strip_prefix(exception.clause.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    let exceptions = evidence.topology.exceptions.iter().filter(departs).count();
    ClauseRow { clause, telling, others, not_run, exceptions }
}

/// Every value once, in the order in which they come.
fn distinct<'a>(values: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found = Vec::new();
    for value in values {
        if !found.contains(&value) {
            found.push(value);
        }
    }
    found
}
