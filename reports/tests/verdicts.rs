//! How verdicts are decided, over all combinations.

use dora_reports::{
    ClauseEvidence, FaultEvidence, Finding, Limit, Measured, NamedLimit, Objective, Op, ScenarioEvidence, Severity, Verdict, decide, worst,
};
use proptest::prelude::*;

fn finding() -> impl Strategy<Value = Finding> {
    let severity = prop_oneof![Just(Severity::Note), Just(Severity::Unconfirmed), Just(Severity::Violation)];
    severity.prop_map(|severity| Finding { severity, ..Finding::note("some-finding", "something") })
}

fn measured() -> impl Strategy<Value = Measured> {
    let op = prop_oneof![Just(Op::AtMost), Just(Op::Below), Just(Op::AtLeast), Just(Op::Equal)];
    let limit = prop::option::of((op, -9.0..9.0).prop_map(|(op, value)| Limit { op, value }));
    let value = prop::option::of(prop_oneof![-9.0..9.0, Just(f64::NAN), Just(f64::INFINITY)]);
    (value, limit).prop_map(|(value, limit)| match limit {
        Some(limit) => Measured::against("measure", value, "ms", limit),
        None => Measured::new("measure", value, "ms"),
    })
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop::sample::select(Verdict::ALL.to_vec())
}

proptest! {
    /// A violation or a missed limit can never be outvoted, and anything unconfirmed can never pass.
    #[test]
    fn nothing_outvotes_a_violation(
        findings in prop::collection::vec(finding(), 0..6),
        measured in prop::collection::vec(measured(), 0..6),
    ) {
        let violated = findings.iter().any(|finding| finding.severity == Severity::Violation)
            || measured.iter().any(|measure| measure.met == Some(false));
        let unsure = findings.iter().any(|finding| finding.severity == Severity::Unconfirmed)
            || measured.iter().any(|measure| measure.limit.is_some() && measure.value.is_none());
        let expected = match (violated, unsure) {
            (true, _) => Verdict::NotSatisfied,
            (false, true) => Verdict::Inconclusive,
            (false, false) => Verdict::Satisfied,
        };
        prop_assert_eq!(decide(&findings, &measured), expected);
    }

    /// More evidence can only make a verdict worse: the order and the good news do not matter.
    #[test]
    fn more_findings_never_improve_a_verdict(
        findings in prop::collection::vec(finding(), 0..6),
        more in prop::collection::vec(finding(), 0..6),
    ) {
        let before = decide(&findings, &[]);
        let all: Vec<_> = more.into_iter().chain(findings).collect();
        let after = decide(&all, &[]);
        prop_assert_eq!(worst([before, after]), after);
    }

    /// A scenario is never better than what its findings and measures say.
    #[test]
    fn a_scenario_is_not_better_than_its_findings(
        findings in prop::collection::vec(finding(), 0..4),
        measured in prop::collection::vec(measured(), 0..4),
        confirmed_ms in prop::option::of(0.0..9.0),
    ) {
        let decided = decide(&findings, &measured);
        let faults = vec![FaultEvidence { confirmed_ms, ..FaultEvidence::default() }];
        let scenario = ScenarioEvidence { findings, measured, faults, ..ScenarioEvidence::default() };
        prop_assert_eq!(worst([decided, scenario.decide()]), scenario.decide());
        if confirmed_ms.is_none() {
            prop_assert_ne!(scenario.decide(), Verdict::Satisfied);
        }
    }

    /// A clause has the worst verdict of its scenarios, and is not evidenced without any.
    #[test]
    fn a_clause_takes_the_worst(verdicts in prop::collection::vec(verdict(), 0..5)) {
        let scenarios: Vec<_> = verdicts.iter().enumerate().map(|(index, verdict)| ScenarioEvidence {
            scenario: format!("ha/{index}"),
            verdict: *verdict,
            ..ScenarioEvidence::default()
        }).collect();
        let ids = scenarios.iter().map(|scenario| scenario.scenario.clone()).collect();
        let mut clause = ClauseEvidence { scenarios: ids, ..ClauseEvidence::default() };
        clause.settle(&scenarios);
        prop_assert_eq!(clause.verdict, worst(verdicts.iter().copied()));
        for verdict in verdicts {
            prop_assert_eq!(worst([clause.verdict, verdict]), clause.verdict);
        }
    }

    #[test]
    fn a_value_on_the_limit_is_judged_by_its_sign(value in -1e9..1e9) {
        let met = |op| Limit { op, value }.is_met_by(value);
        prop_assert_eq!([met(Op::AtMost), met(Op::AtLeast), met(Op::Equal), met(Op::Below)], [true, true, true, false]);
    }
}

#[test]
fn a_clause_without_scenario_keeps_the_reason_that_it_has() {
    let mut clause = ClauseEvidence { reason: "needs a second site".to_owned(), ..ClauseEvidence::default() };
    clause.settle(&[]);
    assert_eq!((clause.verdict, clause.reason.as_str()), (Verdict::NotEvidenced, "needs a second site"));
}

#[test]
fn a_clause_of_which_nothing_ran_does_not_repeat_its_list() {
    let mut clause = ClauseEvidence { scenarios: vec!["ha/redis".to_owned(), "ha/postgres".to_owned()], ..ClauseEvidence::default() };
    clause.settle(&[]);
    assert_eq!((clause.verdict, clause.reason.as_str()), (Verdict::NotEvidenced, "none of its scenarios ran"));
}

#[test]
fn a_scenario_that_did_not_run_leaves_its_clause_not_evidenced() {
    let ended = ScenarioEvidence { scenario: "ha/redis".to_owned(), verdict: Verdict::Satisfied, ..ScenarioEvidence::default() };
    let scenarios = vec!["ha/redis".to_owned(), "ha/postgres".to_owned()];
    let mut clause = ClauseEvidence { scenarios, ..ClauseEvidence::default() };
    clause.settle(&[ended]);
    assert_eq!((clause.verdict, clause.reason.as_str()), (Verdict::NotEvidenced, "ha/postgres did not run"));
}

#[test]
fn a_limit_that_nobody_measured_is_inconclusive() {
    let objective = Objective::new("quick", vec![NamedLimit::at_most("first_success", 20_000.0, "ms")]);
    let measured = vec![Measured::new("throughput", Some(400.0), "op/s")];
    let mut scenario = ScenarioEvidence { objective, measured, ..ScenarioEvidence::default() };
    assert_eq!(scenario.decide(), Verdict::Inconclusive);
    scenario.measured.push(scenario.objective.measure("first_success", Some(4_000.0), "ms"));
    assert_eq!(scenario.decide(), Verdict::Satisfied);
}

#[test]
fn a_scenario_that_observed_nothing_is_inconclusive() {
    assert_eq!(ScenarioEvidence::default().decide(), Verdict::Inconclusive);
}

#[test]
fn an_objective_cannot_be_moved_after_the_run() {
    let mut objective = Objective::new("quick", vec![NamedLimit::at_most("first_success", 20_000.0, "ms")]);
    assert!(objective.hash_matches());
    objective.limits[0].value = 30_000.0;
    assert!(!objective.hash_matches());
}

#[test]
fn the_hash_of_an_objective_can_be_computed_by_anyone() {
    let objective = Objective::new("quick", vec![NamedLimit::at_most("first_success", 20_000.0, "ms")]);
    // printf '%s' '{"limits":[{"name":"first_success","op":"at-most","unit":"ms","value":20000.0}],"statement":"quick"}' | sha256sum
    assert_eq!(objective.sha256, "fadc855070a3c018c34f158d45bbf6cd0dff1f07f5996eb194ed696ac8eec22a");
}
