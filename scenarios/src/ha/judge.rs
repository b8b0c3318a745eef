//! From histories to findings.

use std::{collections::BTreeSet, time::Duration};

use dora_harness::{
    check::{Answer, Availability, Checked, Durability, Model, durability, judge, writable_at_once},
    history::{HistoryError, Operation, Outcome, Recorder},
    patience::{DeadlineError, within},
    topology::Node,
};
use dora_reports::evidence::{Clocks, Finding};
use serde_json::Value;

use super::{HaTarget, Reaction, load::Stopped};
use crate::{ScenarioError, Trial};

/// The finding of a service that had to go on and did not.
pub const SERVICE_INTERRUPTED: &str = "service-interrupted";
/// The finding of a service that is back too late.
pub const RECOVERY_TOO_LATE: &str = "recovery-too-late";
/// What is still under way when the load ends arrives within this time.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);
/// What is there in the end is read within this time.
const READ_LIMIT: Duration = Duration::from_secs(20);
/// Witness values that are shown.
const WITNESS_MAX: usize = 10;

/// Measures the outage; answers whether the first success came within the objective.
pub fn recovery(trial: &Trial, seen: &Availability, rto: Duration, since: &str) -> bool {
    let first = trial.measure("first_success", seen.first_success_ms, "ms");
    trial.measure("objective_regained", seen.objective_regained_ms, "ms");
    trial.measure("longest_gap", Some(seen.longest_gap_ms), "ms");
    budget(trial, seen);
    if first.met == Some(true) {
        return true;
    }
    let message = match seen.first_success_ms {
        Some(late) => format!("the first write was acknowledged {:.1} s after {since}, later than {:.0} s", late / 1e3, rto.as_secs_f64()),
        None => format!("no write was acknowledged in time after {since}; {:.0} s are promised", rto.as_secs_f64()),
    };
    trial.find(Finding::violation(RECOVERY_TOO_LATE, message));
    false
}

/// What the outage takes from the error budgets of time and of requests; nothing is promised of either, the figures are for whoever keeps such a budget.
fn budget(trial: &Trial, seen: &Availability) {
    trial.measure("throughput_before", Some(seen.baseline_per_s), "op/s");
    trial.measure("unserved", Some(seen.unserved_ms), "ms");
    trial.measure("requests_failed", Some(seen.failed_share * 100.0), "%");
}

/// Measures a service that has to go on; answers whether it did.
pub fn continuity(trial: &Trial, seen: &Availability, gap: Duration) -> bool {
    let longest = trial.measure("longest_gap", Some(seen.longest_gap_ms), "ms");
    trial.measure("first_success", seen.first_success_ms, "ms");
    budget(trial, seen);
    if longest.met == Some(true) && seen.first_success_ms.is_some() {
        return true;
    }
    let message = format!("nothing was acknowledged for {:.1} s, longer than {:.0} s", seen.longest_gap_ms / 1e3, gap.as_secs_f64());
    trial.find(Finding::violation(SERVICE_INTERRUPTED, message));
    false
}

/// Measures a service that had to cease. `last_ms` is the end of the last acknowledged write, from the probe that confirmed the fault.
pub fn ceased(trial: &Trial, last_ms: Option<f64>, detection_ms: Option<f64>) -> Clocks {
    let last_ms = last_ms.unwrap_or(0.0);
    if trial.measure("ceased_after", Some(last_ms), "ms").met != Some(true) {
        let message =
            format!("a write was acknowledged {:.1} s after the fault was confirmed, when nobody could promise to keep it", last_ms / 1e3);
        trial.find(Finding::violation("acknowledged-without-quorum", message));
    }
    Clocks { detection_ms, ..Clocks::default() }
}

/// Measures when the platform itself noticed; where it has to, the finding if it did not.
pub fn detection(trial: &Trial, reaction: Reaction, noticed: &Result<f64, DeadlineError>) -> Option<f64> {
    let at_ms = noticed.as_ref().ok().copied();
    trial.measure("detection", at_ms, "ms");
    if let Some(finding) = noticed.as_ref().err().and_then(|missed| not_noticed(reaction, missed)) {
        trial.find(finding);
    }
    at_ms
}

fn not_noticed(reaction: Reaction, missed: &DeadlineError) -> Option<Finding> {
    let what = match reaction {
        Reaction::Any => return None,
        Reaction::Notices => "the platform did not show that it noticed the fault",
        Reaction::LeaderMoves => "no other node took over",
    };
    let message = format!("{what} within {:.0} s: {}", missed.after.as_secs_f64(), missed.last);
    Some(Finding::violation("not-noticed", message))
}

/// Whether the survivors carried on for the stated time.
pub fn sustained(trial: &Trial, gap_ms: f64, lasted_s: f64) {
    trial.measure("sustained_for", Some(lasted_s), "s");
    if trial.measure("sustained_gap", Some(gap_ms), "ms").met != Some(true) {
        let message = format!("after the failover nothing was acknowledged for {:.1} s", gap_ms / 1e3);
        trial.find(Finding::violation("not-sustained", message));
    }
}

/// Every node in its role, and every acknowledged value on every node that can be read on its own.
pub async fn is_whole(target: &dyn HaTarget, hit: &[Node], recorder: &Recorder) -> Result<(), String> {
    target.is_redundant(hit).await?;
    let acknowledged = acknowledged(&recorder.operations().map_err(|error| error.to_string())?);
    match target.incomplete(&acknowledged).await.map_err(|error| error.to_string())?.as_slice() {
        [] => Ok(()),
        [(node, missing), ..] => Err(format!("{} lacks {} acknowledged values", node.name(), missing.len())),
    }
}

fn acknowledged(operations: &[Operation]) -> BTreeSet<u64> {
    operations.iter().filter(|operation| operation.is_ok()).filter_map(Operation::number).collect()
}

/// After the load: does every node hold every acknowledged value itself?
pub async fn copies(trial: &Trial, target: &dyn HaTarget, hit: &[Node], recorder: &Recorder) -> Result<(), ScenarioError> {
    let all = acknowledged(&recorder.operations()?);
    let settled = within("complete copies", SETTLE_LIMIT, Duration::from_millis(250), || async {
        let incomplete = target.incomplete(&all).await.map_err(|error| error.to_string())?;
        if incomplete.is_empty() { Ok(()) } else { Err("a copy is incomplete".to_owned()) }
    });
    if settled.await.is_ok() {
        return Ok(());
    }
    // What cannot be read hides nothing of what was seen elsewhere.
    let incomplete = match target.incomplete(&all).await {
        Ok(incomplete) => incomplete,
        Err(error) => {
            trial.find(Finding::unconfirmed("copies-not-read", format!("what each node holds itself could not be read: {error}")));
            return Ok(());
        }
    };
    for (node, missing) in incomplete {
        let returned = hit.iter().any(|struck| struck.name() == node.name());
        let id = if returned { "returned-node-incomplete" } else { "node-incomplete" };
        let message = format!("{} does not hold {} acknowledged values itself", node.name(), missing.len());
        trial.find(Finding::violation(id, message).with_witness(witness(&missing)));
    }
    Ok(())
}

/// The first values of a list, as a finding's witness.
pub(super) fn witness(values: &[u64]) -> String {
    format!("values {:?}{}", &values[..values.len().min(WITNESS_MAX)], if values.len() > WITNESS_MAX { " …" } else { "" })
}

/// Is what was acknowledged there, once, and nothing that failed?
pub async fn durability_of(trial: &Trial, target: &dyn HaTarget, recorder: &Recorder, lost_max: f64) -> Result<(), ScenarioError> {
    // A busy machine may keep one question from its answer.
    let read = within("what is there in the end", READ_LIMIT, Duration::from_secs(1), || async {
        target.present().await.map_err(|error| error.to_string())
    });
    let present = read.await?;
    let operations = recorder.operations()?;
    note_found(recorder, &operations, &present)?;
    let result = durability(&operations, &present);
    trial.operations(&operations, &result);
    let lost = trial.measure("acknowledged_lost", Some(result.lost.len() as f64), "operations");
    if lost.met == Some(false) {
        trial.find(
            Finding::violation("acknowledged-writes-lost", format!("{} acknowledged writes are not there", result.lost.len()))
                .with_witness(witness(&result.lost)),
        );
    } else if !result.lost.is_empty() {
        let message = format!("{} acknowledged writes are not there; the mode allows {lost_max}", result.lost.len());
        trial.find(Finding::note("acknowledged-writes-lost-within-bound", message).with_witness(witness(&result.lost)));
    }
    unexpected(trial, &result);
    if result.acknowledged == 0 {
        trial.find(Finding::unconfirmed("no-load", "no insert was acknowledged at all, so nothing was tested"));
    }
    Ok(())
}

/// What is there and may not be, or not so often.
pub(super) fn unexpected(trial: &Trial, result: &Durability) {
    if !result.phantom.is_empty() {
        let message = format!("{} values are there although their insert failed or never was", result.phantom.len());
        trial.find(Finding::violation("phantom-writes", message).with_witness(witness(&result.phantom)));
    }
    if !result.duplicated.is_empty() {
        let message = format!("{} values are there more than once", result.duplicated.len());
        trial.find(Finding::violation("duplicated-writes", message).with_witness(witness(&result.duplicated)));
    }
}

/// Ends the history with what the last read found, so that `dora check --model durability` decides it again from its file alone.
fn note_found(recorder: &Recorder, operations: &[Operation], present: &[u64]) -> Result<(), HistoryError> {
    let reader = operations.iter().map(|operation| operation.process + 1).max().unwrap_or(0);
    recorder.invoke(reader, "read", &Value::Null);
    recorder.complete(reader, "read", &present.into(), &Outcome::Ok);
    recorder.flush()
}

/// What the checkers say of the further loads, and the watch over who is writable. `served_ms`: from when on service was back, so that each
/// load has to have seen something of the time after the fault, too.
pub fn loads(trial: &Trial, loads: &Stopped, reaction: Reaction, served_ms: Option<f64>) -> Result<(), ScenarioError> {
    for load in &loads.checked {
        let operations = load.recorder.operations()?;
        let checked = (load.judge)(&operations);
        report(trial, load.name, &load.file, &checked);
        if checked.answer == Answer::Holds && served_ms.is_some_and(|since_ms| is_blind_since(&operations, since_ms)) {
            let message = format!(
                "{}: none of its operations that began after service was back was acknowledged, so its check saw nothing of the time after the \
                 fault; look in {} for what its clients were told, or repeat with a longer --sustain",
                load.name, load.file
            );
            trial.find(Finding::unconfirmed("load-blind", message));
        }
    }
    if let Some((recorder, file)) = &loads.watch {
        writable(trial, &recorder.operations()?, reaction, file);
    }
    Ok(())
}

/// Whether no operation was acknowledged that began after this moment, in the trial's milliseconds.
fn is_blind_since(operations: &[Operation], since_ms: f64) -> bool {
    !operations.iter().any(|operation| operation.is_ok() && operation.invoked as f64 / 1e6 > since_ms)
}

/// Puts a check into the evidence, and what it found among the findings.
pub fn report(trial: &Trial, name: &str, file: &str, checked: &Checked) {
    trial.checked(name, file, checked);
    match &checked.answer {
        Answer::Holds => {}
        Answer::Violated { finding, message, witness } => {
            trial.find(Finding::violation(*finding, format!("{name}: {message}")).with_witness(witness));
        }
        Answer::Unknown(why) => trial.find(Finding::unconfirmed("check-undecided", format!("{name} ({}): {why}", checked.model))),
    }
}

/// Decides the watch over who is writable. Where another node has to take over, a watch that found one writable node only was blind to one of
/// the two that must not overlap.
fn watched(operations: &[Operation], reaction: Reaction) -> Checked {
    let checked = judge(Model::ExclusiveWriter, operations);
    let holders: BTreeSet<&str> =
        operations.iter().filter(|probe| probe.is_ok()).filter_map(|probe| probe.returned.get(0)?.as_str()).collect();
    if checked.answer != Answer::Holds || reaction != Reaction::LeaderMoves || holders.len() > 1 {
        return checked;
    }
    let found = holders.into_iter().collect::<String>();
    let why = format!("another node had to take over, and the probers found only {found} writable, so the watch saw one of the two");
    Checked { answer: Answer::Unknown(why), ..checked }
}

/// Never two writable nodes, from the answers of probers on each of them.
fn writable(trial: &Trial, operations: &[Operation], reaction: Reaction, file: &str) {
    trial.measure("writable_primaries", writable_at_once(operations).map(|nodes| nodes as f64), "nodes");
    report(trial, "writable", file, &watched(operations, reaction));
}

#[cfg(test)]
mod tests {
    use dora_reports::evidence::Severity;

    use super::*;

    fn operation(invoked_ms: u64, outcome: Outcome) -> Operation {
        let (invoked, completed) = (invoked_ms * 1_000_000, Some((invoked_ms + 5) * 1_000_000));
        Operation {
            index: invoked_ms,
            process: 0,
            f: "read".into(),
            value: Value::Null,
            returned: Value::Null,
            invoked,
            completed,
            outcome,
        }
    }

    #[test]
    fn a_load_that_was_never_answered_again_is_blind() {
        let refused = || Outcome::Fail("refused".into());
        let never_again = [operation(0, Outcome::Ok), operation(900, Outcome::Ok), operation(2_000, refused())];
        assert!(is_blind_since(&never_again, 1_000.0));
        assert!(is_blind_since(&[], 1_000.0));
        let again = [operation(0, Outcome::Ok), operation(1_500, refused()), operation(2_000, Outcome::Ok)];
        assert!(!is_blind_since(&again, 1_000.0));
    }

    fn probe(node: &str, epoch: u64, at_ms: u64) -> Operation {
        let held = serde_json::json!([node, epoch]);
        Operation { f: "probe".into(), value: held.clone(), returned: held, ..operation(at_ms, Outcome::Ok) }
    }

    #[test]
    fn a_watch_over_a_takeover_has_to_have_seen_both() {
        let one = [probe("pg1", 1, 0), probe("pg1", 1, 1_000)];
        assert_eq!(watched(&one, Reaction::Any).answer, Answer::Holds);
        assert!(matches!(watched(&one, Reaction::LeaderMoves).answer, Answer::Unknown(why) if why.contains("only pg1 writable")));
        let both = [probe("pg1", 1, 0), probe("pg2", 2, 1_000)];
        assert_eq!(watched(&both, Reaction::LeaderMoves).answer, Answer::Holds);
        let overlapping = [probe("pg1", 1, 0), probe("pg2", 2, 500), probe("pg1", 1, 1_000)];
        assert!(matches!(watched(&overlapping, Reaction::LeaderMoves).answer, Answer::Violated { .. }));
    }

    #[test]
    fn a_takeover_that_is_promised_is_demanded() {
        let missed = DeadlineError { what: "it".into(), after: Duration::from_secs(40), last: "pg2 knows no other leader".into() };
        assert_eq!(not_noticed(Reaction::Any, &missed), None);
        for reaction in [Reaction::Notices, Reaction::LeaderMoves] {
            let found = not_noticed(reaction, &missed).unwrap();
            assert_eq!((found.id.as_str(), found.severity), ("not-noticed", Severity::Violation));
            assert!(found.message.contains("within 40 s: pg2 knows no other leader"), "{}", found.message);
        }
    }
}
