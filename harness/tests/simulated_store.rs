//! Goal: the checkers accept a correct store under any faults, and each turns red for the bug that it is for. Method: simulated histories from
//! seeds ([`dora_harness::sim`]); a schedule of faults that breaks the store is made as small as possible and replayed. What it does not
//! show: that any database has these properties.

use std::time::{Duration, Instant};

use dora_harness::{
    check::{Answer, Level, Model, judge_within},
    history::{Operation, operations, read_bytes},
    sim::{Bug, Fault, FaultKind, Load, NODES, Plan, Whole, schedule, simulate},
    workload::{Adds, Appends, Causes, Counts, Generator, Invocation, Locks, Monotonic, Registers, Transfers, Writes},
};
use proptest::{prelude::*, test_runner::TestError};
use serde_json::json;

const CLIENTS: usize = 5;
const MILLIS: u64 = 1_500;

/// Loads by name.
fn load(name: &str, seed: u64) -> Load {
    let (generator, whole): (Box<dyn Generator>, _) = match name {
        "registers" => (Box::new(Registers::new(seed, 2)), Whole::Set),
        "plain registers" => (Box::new(Registers::new(seed, 2).without_compare()), Whole::Set),
        "adds" => (Box::new(Adds::default()), Whole::Set),
        "counts" => (Box::new(Counts::new(seed)), Whole::Count),
        "appends" => (Box::new(Appends::new(seed, 3)), Whole::Set),
        "writes" => (Box::new(Writes::new(seed, 3)), Whole::Set),
        "transfers" => (Box::new(Transfers::new(seed, 4, 5)), Whole::Accounts),
        "causes" => (Box::new(Causes::new(CLIENTS)), Whole::Set),
        "monotonic" => (Box::new(Monotonic::new(2)), Whole::Set),
        "locks" => (Box::new(Locks::default()), Whole::Set),
        _ => (Box::new(|client| Invocation { f: "probe", value: json!([format!("n{}", client % NODES), null]) }), Whole::Set),
    };
    Load { generator, whole, reads_last: matches!(name, "adds" | "counts" | "transfers") }
}

/// What a correct store promises for each load.
const PROMISES: [(&str, Model); 14] = [
    ("registers", Model::CasRegister),
    ("plain registers", Model::Register),
    ("adds", Model::Set),
    ("adds", Model::Durability),
    ("adds", Model::BoundedLoss { lost_max: 3 }),
    ("counts", Model::Counter),
    ("counts", Model::CounterBounds),
    ("appends", Model::ListAppend(Level::StrictSerializable)),
    ("writes", Model::RwRegister(Level::StrictSerializable)),
    ("transfers", Model::Bank { total: Some(400) }),
    ("causes", Model::Causal),
    ("monotonic", Model::MonotonicReads),
    ("locks", Model::Fencing),
    ("probes", Model::ExclusiveWriter),
];

fn run(name: &str, plan: &Plan) -> Vec<Operation> {
    operations(&simulate(plan, load(name, plan.seed)))
}

fn judged(name: &str, model: Model, plan: &Plan) -> Answer {
    judge_within(model, &run(name, plan), Duration::from_secs(10)).answer
}

fn plan(seed: u64, bug: Option<Bug>) -> Plan {
    Plan { seed, bug, faults: schedule(seed, MILLIS), clients: CLIENTS, millis: MILLIS }
}

#[test]
fn a_correct_store_keeps_its_promises_under_any_faults() {
    for (name, model) in PROMISES {
        for seed in 0..40 {
            let answer = judged(name, model, &plan(seed, None));
            assert_eq!(answer, Answer::Holds, "{name}, {model}, seed {seed}");
        }
    }
}

#[test]
fn the_store_goes_on_under_faults_and_its_clients_notice_them() {
    let mut seen = [0; 3];
    for seed in 0..20 {
        for operation in run("registers", &plan(seed, None)) {
            seen[match operation.outcome {
                dora_harness::history::Outcome::Ok => 0,
                dora_harness::history::Outcome::Fail(_) => 1,
                dora_harness::history::Outcome::Unknown(_) => 2,
            }] += 1;
        }
    }
    assert!(seen[0] > 3_000 && seen[1] > 100 && seen[2] > 50, "ok, failed, unknown: {seen:?}");
}

/// Each bug, the load and the model that it is found with, and what is found.
const TABLE: [(Bug, &str, Model, &str); 19] = [
    (Bug::StaleRead, "plain registers", Model::Register, "not-linearizable"),
    (Bug::StaleRead, "causes", Model::Causal, "cause-not-seen"),
    (Bug::StaleRead, "appends", Model::ListAppend(Level::StrictSerializable), "isolation-violated"),
    (Bug::LostAcknowledgedWrite, "adds", Model::Durability, "acknowledged-lost"),
    (Bug::LostAcknowledgedWrite, "adds", Model::BoundedLoss { lost_max: 1 }, "loss-exceeds-bound"),
    (Bug::LostAcknowledgedWrite, "plain registers", Model::Register, "not-linearizable"),
    (Bug::SplitBrain, "probes", Model::ExclusiveWriter, "two-primaries"),
    (Bug::SplitBrain, "adds", Model::Durability, "acknowledged-lost"),
    (Bug::DirtyRead, "appends", Model::ListAppend(Level::ReadCommitted), "isolation-violated"),
    (Bug::LostUpdate, "appends", Model::ListAppend(Level::SnapshotIsolation), "isolation-violated"),
    (Bug::LostUpdate, "transfers", Model::Bank { total: Some(400) }, "total-changed"),
    (Bug::LostUpdate, "writes", Model::RwRegister(Level::SnapshotIsolation), "isolation-violated"),
    (Bug::WriteSkew, "appends", Model::ListAppend(Level::Serializable), "isolation-violated"),
    (Bug::WriteSkew, "writes", Model::RwRegister(Level::Serializable), "isolation-violated"),
    (Bug::NonMonotonicRead, "monotonic", Model::MonotonicReads, "reads-went-back"),
    (Bug::DuplicateApply, "counts", Model::CounterBounds, "counter-out-of-bounds"),
    (Bug::DuplicateApply, "adds", Model::Durability, "duplicated"),
    (Bug::ClockSkewedLastWriteWins, "plain registers", Model::Register, "not-linearizable"),
    (Bug::UnfencedWrite, "locks", Model::Fencing, "stale-token-accepted"),
];

#[test]
fn each_bug_is_found_by_the_checker_that_is_for_it() {
    for bug in Bug::ALL {
        assert!(TABLE.iter().any(|row| row.0 == bug), "nothing is for {bug:?}");
    }
    for (bug, name, model, finding) in TABLE {
        let found = (0..200).find_map(|seed| match judged(name, model, &plan(seed, Some(bug))) {
            Answer::Violated { finding, witness, .. } => Some((seed, finding, witness)),
            _ => None,
        });
        let Some((seed, found, witness)) = found else { panic!("{bug:?} was not found by {model} on {name}") };
        assert_eq!(found, finding, "{bug:?} by {model} on {name}, seed {seed}");
        assert!(!witness.is_empty());
        println!("{bug:?}: {model} on {name}: {finding}, seed {seed}");
    }
}

#[test]
fn write_skew_is_all_that_is_wrong_with_snapshots() {
    for seed in 0..20 {
        for (name, model) in
            [("appends", Model::ListAppend(Level::SnapshotIsolation)), ("writes", Model::RwRegister(Level::SnapshotIsolation))]
        {
            assert_eq!(judged(name, model, &plan(seed, Some(Bug::WriteSkew))), Answer::Holds, "{name}, seed {seed}");
        }
    }
}

#[test]
fn a_plan_is_its_history_to_the_nanosecond() {
    for seed in 0..5 {
        let plan = plan(seed, Some(Bug::SplitBrain));
        assert_eq!(simulate(&plan, load("registers", seed)), simulate(&plan, load("registers", seed)));
    }
    assert_ne!(run("registers", &plan(1, None)), run("registers", &plan(2, None)));
}

#[test]
fn a_history_goes_through_a_file_unchanged() {
    let events = simulate(&plan(3, None), load("appends", 3));
    let lines: String = events.iter().map(|event| serde_json::to_string(event).unwrap() + "\n").collect();
    assert_eq!(read_bytes(lines.as_bytes()).unwrap().operations, operations(&events));
}

#[test]
fn a_history_is_simulated_and_decided_in_milliseconds() {
    let begun = Instant::now();
    for seed in 0..10 {
        assert_eq!(judged("registers", Model::CasRegister, &plan(seed, None)), Answer::Holds);
    }
    let each = begun.elapsed() / 10;
    // An unoptimised build on a busy machine; an optimised one needs a few milliseconds.
    assert!(each < Duration::from_millis(500), "{each:?}");
    println!("{each:?} for each history");
}

fn fault() -> impl Strategy<Value = Fault> {
    let kind =
        prop_oneof![Just(FaultKind::Pause), Just(FaultKind::Isolate), Just(FaultKind::Crash), (-500_i64..=500).prop_map(FaultKind::Skew),];
    (0..MILLIS * 3 / 4, 1_u64..600, 0..NODES, kind).prop_map(|(at, lasts, node, kind)| Fault { at, lasts, node, kind })
}

/// Makes a schedule that breaks a promise as small as possible.
fn smallest(bug: Bug, name: &'static str, model: Model, finding: &'static str) -> (u64, Vec<Fault>) {
    let config = ProptestConfig { cases: 500, max_shrink_iters: 3_000, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let broken = runner.run(&(0_u64..1_000, prop::collection::vec(fault(), 0..6)), |(seed, faults)| {
        let plan = Plan { seed, bug: Some(bug), faults, clients: CLIENTS, millis: MILLIS };
        match judged(name, model, &plan) {
            Answer::Violated { finding: found, .. } if found == finding => Err(TestCaseError::fail(found)),
            _ => Ok(()),
        }
    });
    match broken {
        Err(TestError::Fail(_, smallest)) => smallest,
        other => panic!("{bug:?} was not found: {other:?}"),
    }
}

#[test]
fn a_schedule_that_breaks_the_store_shrinks_to_the_fault_that_matters_and_is_replayed() {
    for (bug, name, model, finding) in [
        (Bug::LostAcknowledgedWrite, "adds", Model::Durability, "acknowledged-lost"),
        (Bug::SplitBrain, "probes", Model::ExclusiveWriter, "two-primaries"),
        (Bug::ClockSkewedLastWriteWins, "plain registers", Model::Register, "not-linearizable"),
    ] {
        let (seed, faults) = smallest(bug, name, model, finding);
        println!("{bug:?}: seed {seed}, {faults:?}");
        assert_eq!(faults.len(), 1, "{bug:?}: {faults:?}");
        let fits = match bug {
            Bug::ClockSkewedLastWriteWins => matches!(faults[0].kind, FaultKind::Skew(_)),
            _ => !matches!(faults[0].kind, FaultKind::Skew(_)),
        };
        assert!(fits, "{bug:?}: {faults:?}");
        let replay =
            |bug, faults: &[Fault]| judged(name, model, &Plan { seed, bug, faults: faults.to_vec(), clients: CLIENTS, millis: MILLIS });
        assert!(matches!(replay(Some(bug), &faults), Answer::Violated { finding: found, .. } if found == finding));
        assert_eq!(replay(Some(bug), &faults), replay(Some(bug), &faults));
        // Neither the fault alone nor the bug alone breaks it.
        assert_eq!(replay(None, &faults), Answer::Holds);
        assert_eq!(replay(Some(bug), &[]), Answer::Holds);
    }
}
