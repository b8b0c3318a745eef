//! `JUnit` XML, so that CI systems list the scenarios as test cases.
//!
//! `not satisfied` is a failure; `inconclusive` is an error, because nothing was decided; `not evidenced` is `JUnit`'s
//! "skipped", which is the only word that the format has for "not tried", with the reason as its message. So is what was
//! planned and did not end; what kept it from that is an error of the suite `run`.

use std::fmt::Write as _;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use crate::evidence::{Evidence, Planned, ProofEvidence, ProofOutcome, ScenarioEvidence, Severity, Verdict};
use crate::{order, terminal, text};

/// The suite of planted defects.
const PROOFS: &str = "proofs";

/// Renders the evidence as `JUnit` XML: a suite a pillar, a case a scenario, also one that did not end; planted defects and problems of the
/// run itself have a suite each.
pub fn render(evidence: &Evidence) -> Result<String, SerializeError> {
    let mut report = Report::new(format!("dora {}", evidence.run.id));
    let mut suites: Vec<TestSuite> = Vec::new();
    let mut add = |name: &str, case: TestCase| {
        if let Some(suite) = suites.iter_mut().find(|suite| suite.name.as_str() == name) {
            suite.add_test_case(case);
        } else {
            let mut suite = TestSuite::new(name);
            suite.add_test_case(case);
            suites.push(suite);
        }
    };
    for scenario in order::reading_order(evidence) {
        add(&scenario.pillar, case(scenario));
    }
    for told in &evidence.proofs {
        add(PROOFS, proof(told));
    }
    let reason = why_not_ended(evidence);
    for planned in evidence.not_ended() {
        let (suite, case) = not_ended(planned, &reason);
        add(suite, case);
    }
    for (index, told) in evidence.run.problems.iter().enumerate() {
        add("run", problem(index + 1, told));
    }
    report.add_test_suites(suites);
    report.to_string()
}

fn case(scenario: &ScenarioEvidence) -> TestCase {
    let status = match scenario.verdict {
        Verdict::Satisfied => TestCaseStatus::success(),
        Verdict::NotSatisfied => non_success(scenario, NonSuccessKind::Failure),
        Verdict::Inconclusive => non_success(scenario, NonSuccessKind::Error),
        Verdict::NotEvidenced => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(scenario.reason.as_str());
            status
        }
    };
    let mut case = TestCase::new(scenario.scenario.as_str(), status);
    case.set_classname(format!("dora.{}", scenario.pillar));
    let elapsed_s = ((scenario.finished_ms - scenario.started_ms) / 1_000.0).max(0.0);
    case.set_time(Duration::try_from_secs_f64(elapsed_s).unwrap_or_default());
    let told = measures(scenario);
    if !told.is_empty() {
        case.set_system_out(told);
    }
    case
}

/// An error of its own: a run that could not start must not look like one that had nothing to do.
fn problem(number: usize, told: &str) -> TestCase {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status.set_type("problem-during-the-run");
    status.set_message(told);
    let mut case = TestCase::new(format!("problem {number}"), status);
    case.set_classname("dora.run");
    case
}

/// The case of what was planned and did not end, with the suite to which it belongs.
fn not_ended<'a>(planned: &'a Planned, reason: &str) -> (&'a str, TestCase) {
    let mut status = TestCaseStatus::skipped();
    status.set_message(reason);
    let (suite, name) = match &planned.sabotage {
        None => (planned.scenario.split('/').next().unwrap_or_default(), planned.scenario.clone()),
        Some(sabotage) => (PROOFS, proof_name(&planned.scenario, sabotage)),
    };
    let mut case = TestCase::new(name, status);
    case.set_classname(format!("dora.{suite}"));
    (suite, case)
}

/// Why what was planned did not end: the run's first problem, as far as it is on one line.
fn why_not_ended(evidence: &Evidence) -> String {
    let problem = evidence.run.problems.first().and_then(|problem| problem.lines().next());
    match (problem, evidence.run.finished_at) {
        (Some(problem), _) => format!("it did not end: {problem}"),
        (None, Some(_)) => "it did not end".to_owned(),
        (None, None) => "it had not ended when this was written: the run goes on, or was killed".to_owned(),
    }
}

/// What a planted defect of a scenario is called where it is a test.
#[must_use]
pub fn proof_name(scenario: &str, sabotage: &str) -> String {
    format!("{scenario} turns red under {sabotage}")
}

/// A planted defect that nobody noticed is a failure of the check; one that could not be tried is an error.
fn proof(proof: &ProofEvidence) -> TestCase {
    let non_success = |kind| {
        let mut status = TestCaseStatus::non_success(kind);
        status.set_type(proof.outcome.text());
        status.set_message(proof.told.as_str());
        status
    };
    let status = match proof.outcome {
        ProofOutcome::Killed => TestCaseStatus::success(),
        ProofOutcome::Survived => non_success(NonSuccessKind::Failure),
        ProofOutcome::Undecided => non_success(NonSuccessKind::Error),
    };
    let mut case = TestCase::new(proof_name(&proof.scenario, &proof.sabotage), status);
    case.set_classname(format!("dora.{PROOFS}"));
    case.set_time(Duration::try_from_secs_f64(proof.elapsed_ms / 1_000.0).unwrap_or_default());
    case
}

fn non_success(scenario: &ScenarioEvidence, kind: NonSuccessKind) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    let decisive = scenario.findings.iter().max_by_key(|finding| finding.severity);
    status.set_type(decisive.map_or(scenario.verdict.key(), |finding| finding.id.as_str()));
    if scenario.reason.is_empty() {
        status.set_message(scenario.verdict.text());
    } else {
        status.set_message(scenario.reason.as_str());
    }
    let mut description = String::new();
    for finding in scenario.findings.iter().filter(|finding| finding.severity > Severity::Note) {
        // Writing to a string cannot fail.
        let _ = writeln!(description, "{} {}: {}", finding.severity.text(), finding.id, finding.message);
        for line in finding.witness.iter().flat_map(|witness| witness.lines()) {
            let _ = writeln!(description, "    {line}");
        }
    }
    status.set_description(description);
    status
}

fn measures(scenario: &ScenarioEvidence) -> String {
    let lines = scenario.measured.iter().map(|measure| {
        let value = measure.value.map_or("not observed".to_owned(), |value| text::quantity(value, &measure.unit));
        let limit =
            measure.limit.map_or_else(String::new, |limit| format!(" ({} {})", limit.op, text::quantity(limit.value, &measure.unit)));
        format!("{}: {value}{limit}", text::human(&measure.name))
    });
    lines.chain(terminal::probes(scenario)).chain(terminal::contents(scenario)).collect::<Vec<_>>().join("\n")
}
