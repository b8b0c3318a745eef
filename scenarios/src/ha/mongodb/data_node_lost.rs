//! A primary, a secondary and an arbiter: with one copy dead a majority cannot acknowledge, and what the other copy alone acknowledged can
//! be rolled back. Both are decided from the histories of two loads.

use std::time::Duration;

use dora_harness::{
    check::{availability, ceased_after, durability, longest_gap},
    database::{
        Cluster as _,
        mongodb::{MemberState, PORT, ReplicaSet, TRIALS, limited},
    },
    fault::{Confirmed, Kill, inject},
    history::{Operation, Recorder},
    patience::within,
    platform::all_healthy,
    topology::Node,
    workload::{Adder, Adds, Client, Pace, Running},
};
use dora_reports::evidence::{Clocks, Finding, NamedLimit};
use mongodb::{
    bson::Document,
    options::{Acknowledgment, WriteConcern},
};
use tokio::time::sleep;

use super::{client::Inserter, values};
use crate::{ScenarioError, Trial, ha::judge::witness, security::mongodb::client_error};

/// Sabotage of the judgement: single-node writes are expected to last.
pub(super) const DURABLE: &str = "w1-asserted-durable";
/// Sabotage of the clients: the majority's writes ask for one node.
pub(super) const MAJORITY_OF_ONE: &str = "majority-of-one";

const BY_MAJORITY: &str = "majority_inserts";
const BY_ONE: &str = "single_inserts";
/// Clients of each load.
const CLIENTS: usize = 2;
/// Load before the first fault.
const BASELINE: Duration = Duration::from_secs(4);
/// How long one copy is alone before the other takes its place.
const ALONE: Duration = Duration::from_secs(6);
/// How long its successor takes writes before it comes back, and everything after that.
const AFTERWARDS: Duration = Duration::from_secs(3);
/// A majority write that was on its way when the member was seen dead may still be acknowledged within this time.
const CEASED_WITHIN_MS: f64 = 4_000.0;
/// What one node acknowledged is copied within this time: such a write may be missing when the kill came right behind it. As long may an
/// acknowledgement be on its way to a client when its node is seen dead.
const COPY_MARGIN_MS: f64 = 1_000.0;
/// The server's wait for the copies that a write asks for.
const COPIES_LIMIT: Duration = Duration::from_millis(1_500);
/// A kill shows, a member comes back, a primary is elected within this time.
const CHANGE_LIMIT: Duration = Duration::from_secs(30);
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
const COPY_LIMIT: Duration = Duration::from_secs(3);
const EVERY: Duration = Duration::from_millis(100);

/// What happened when, in the trial's milliseconds. A kill is between its order and the probe that saw its effect: on a busy machine these
/// are seconds apart.
#[expect(clippy::struct_field_names, reason = "the unit is the last part of a name")]
struct Course {
    /// The order.
    secondary_killed_ms: f64,
    /// The probe.
    secondary_dead_ms: f64,
    /// The order.
    primary_killed_ms: f64,
    /// The probe.
    primary_dead_ms: f64,
    /// The old primary was ordered to start.
    healed_ms: f64,
    whole_ms: f64,
}

/// Shows both halves of the clause; the set is handed back whole.
pub(super) async fn run(trial: &Trial, set: &ReplicaSet) -> Result<(), ScenarioError> {
    let rto_ms = trial.promise.rto_ms_max()? as f64;
    trial.promise_limits(
        format!(
            "with one of two copies dead no majority write is acknowledged later than {:.0} s, single-node writes go on; with both copies \
             majority writes are back within {:.0} s and none of them is lost",
            CEASED_WITHIN_MS / 1e3,
            rto_ms / 1e3
        ),
        vec![
            NamedLimit::at_most("ceased_after", CEASED_WITHIN_MS, "ms"),
            NamedLimit::at_most("longest_gap", rto_ms, "ms"),
            NamedLimit::at_most("first_success", rto_ms, "ms"),
            NamedLimit::at_most("acknowledged_lost", 0.0, "operations"),
        ],
    );
    if let Some(sabotage) = trial.sabotage {
        trial.note("sabotage", sabotage.what);
    }
    for name in [BY_MAJORITY, BY_ONE] {
        let collection = set.admin().database(TRIALS).collection::<Document>(name);
        limited("drop the collection", REQUEST_LIMIT, collection.drop()).await.map_err(client_error)?;
        limited("create the collection", REQUEST_LIMIT, set.admin().database(TRIALS).create_collection(name))
            .await
            .map_err(client_error)?;
    }
    set.copied_everywhere(REQUEST_LIMIT).await.map_err(client_error)?;

    let by_majority = trial.recorder()?;
    let (by_one, one_file) = trial.further_recorder("single")?;
    let majority = if trial.is_sabotaged_by(MAJORITY_OF_ONE) { Acknowledgment::Nodes(1) } else { Acknowledgment::Majority };
    let loads = [start(set, BY_MAJORITY, majority, &by_majority)?, start(set, BY_ONE, Acknowledgment::Nodes(1), &by_one)?];
    let outcome = strike(trial, set, &by_one).await;
    for load in loads {
        load.stop().await;
    }
    if outcome.is_err() {
        // What is broken is mended, whatever could not be seen; the first error tells more than one of the clean-up.
        for node in set.data_nodes() {
            let _ = node.start().await;
        }
    }
    let course = outcome?;
    by_majority.flush()?;
    by_one.flush()?;
    judge_majority(trial, set, &course, &by_majority.operations()?).await?;
    judge_single(trial, set, &course, &by_one.operations()?, &one_file).await
}

fn start(set: &ReplicaSet, collection: &str, copies: Acknowledgment, recorder: &Recorder) -> Result<Running, ScenarioError> {
    let concern = WriteConcern::builder().w(copies).journal(true).w_timeout(COPIES_LIMIT).build();
    let open = |_| {
        let inserter = Inserter::open(set, collection, concern.clone()).map_err(client_error)?;
        Ok::<_, ScenarioError>(Box::new(Adder(Box::new(inserter))) as Box<dyn Client>)
    };
    let clients = (0..CLIENTS).map(open).collect::<Result<_, _>>()?;
    Ok(Running::start(clients, Box::new(Adds::default()), Pace::default(), recorder))
}

async fn strike(trial: &Trial, set: &ReplicaSet, by_one: &Recorder) -> Result<Course, ScenarioError> {
    sleep(BASELINE).await;
    let first = set.primary().await.map_err(client_error)?;
    let other = set.data_nodes().iter().find(|node| node.name() != first.name()).cloned();
    let second = other.ok_or_else(|| ScenarioError::Missing("the set with an arbiter has no secondary".into()))?;
    let second_down = kill(trial, &second, MemberState::Secondary).await?;
    sleep(ALONE).await;
    let first_down = kill(trial, &first, MemberState::Primary).await?;
    let (secondary_killed_ms, secondary_dead_ms) = bracket(&second_down);
    let (primary_killed_ms, primary_dead_ms) = bracket(&first_down);
    trial.fault(&second_down.heal().await?.confirm(CHANGE_LIMIT).await);
    let elected = || async {
        match set.state(&second).await {
            Ok(MemberState::Primary) => Ok(()),
            Ok(state) => Err(state.to_string()),
            Err(error) => Err(error.to_string()),
        }
    };
    within("the election with the arbiter's vote", CHANGE_LIMIT, EVERY, elected).await?;
    trial.note("role", format!("{} was elected with the arbiter's vote", second.name()));
    let elected_ms = trial.now_ms();
    let served =
        || async { if by_one.has_acknowledged_since((elected_ms * 1e6) as u64) { Ok(()) } else { Err("nothing was acknowledged") } };
    within("a single-node write on the successor", CHANGE_LIMIT, EVERY, served).await?;
    sleep(AFTERWARDS).await;
    let healed_ms = trial.now_ms();
    trial.fault(&first_down.heal().await?.confirm(CHANGE_LIMIT).await);
    let whole = || async {
        all_healthy(&set.health().await)?;
        set.copied_everywhere(COPY_LIMIT).await.map_err(|error| error.to_string())
    };
    within("the whole set with an arbiter", CHANGE_LIMIT * 2, EVERY, whole).await?;
    let whole_ms = trial.now_ms();
    trial.note("role", "the set with an arbiter is whole again");
    sleep(AFTERWARDS).await;
    trial.excerpt(&first, 30).await;
    Ok(Course { secondary_killed_ms, secondary_dead_ms, primary_killed_ms, primary_dead_ms, healed_ms, whole_ms })
}

/// The order of a kill, and the probe that saw its effect.
fn bracket(killed: &Confirmed<Kill>) -> (f64, f64) {
    let record = killed.record();
    (record.injected_ms, record.confirmed_ms.unwrap_or(record.injected_ms))
}

async fn kill(trial: &Trial, node: &Node, role: MemberState) -> Result<Confirmed<Kill>, ScenarioError> {
    let injected = inject(Kill::new(node.clone(), role.to_string(), PORT), trial.origin()).await?;
    match injected.confirm(CHANGE_LIMIT).await {
        Ok(confirmed) => {
            trial.note("fault", format!("{} is dead: {}", confirmed.record().target, confirmed.record().confirmed_by));
            Ok(confirmed)
        }
        Err(unconfirmed) => {
            let record = unconfirmed.heal().await?.confirm(CHANGE_LIMIT).await;
            trial.fault(&record);
            Err(ScenarioError::client("kill a member", format!("{} still answers", record.target)))
        }
    }
}

/// Majority writes cease while there is one copy, are back with the second, and none of them is lost.
async fn judge_majority(trial: &Trial, set: &ReplicaSet, course: &Course, operations: &[Operation]) -> Result<(), ScenarioError> {
    let last_ms = ceased_after(operations, course.secondary_dead_ms, course.healed_ms).unwrap_or_default();
    if trial.measure("ceased_after", Some(last_ms), "ms").met != Some(true) {
        let message = format!("a majority write was acknowledged {:.1} s after one of the two copies was seen dead", last_ms / 1e3);
        trial.find(Finding::violation("acknowledged-without-quorum", message));
    }
    let seen = availability(operations, course.healed_ms, course.healed_ms, trial.now_ms());
    if trial.measure("first_success", seen.first_success_ms, "ms").met != Some(true) {
        trial.find(Finding::violation("recovery-too-late", "majority writes were not back in time when both copies were"));
    }
    trial.clocks(Clocks {
        // The objective counts from the healing, the clocks from the injection.
        first_success_ms: seen.first_success_ms.map(|ms| ms + course.healed_ms - course.secondary_killed_ms),
        redundancy_regained_ms: Some(course.whole_ms - course.secondary_killed_ms),
        ..Clocks::default()
    });
    let result = durability(operations, &values::committed(set, BY_MAJORITY).await.map_err(client_error)?);
    trial.operations(operations, &result);
    // Where they ask for one node only, nothing was promised about them.
    let lost = if trial.is_sabotaged_by(MAJORITY_OF_ONE) { &[] } else { result.lost.as_slice() };
    if trial.measure("acknowledged_lost", Some(lost.len() as f64), "operations").met != Some(true) {
        let message = format!("{} writes that a majority acknowledged are gone", lost.len());
        trial.find(Finding::violation("acknowledged-writes-lost", message).with_witness(witness(lost)));
    }
    unexpected(trial, "majority", &result.phantom, &result.duplicated);
    if result.acknowledged == 0 {
        trial.find(Finding::unconfirmed("no-load", "no majority write was acknowledged at all, so nothing was tested"));
    }
    Ok(())
}

/// Single-node writes go on; what is missing of them was acknowledged while there was one copy, and something is.
async fn judge_single(trial: &Trial, set: &ReplicaSet, course: &Course, operations: &[Operation], file: &str) -> Result<(), ScenarioError> {
    let gap_ms = longest_gap(operations, course.secondary_killed_ms, course.primary_killed_ms);
    if trial.measure("longest_gap", Some(gap_ms), "ms").met != Some(true) {
        let message = format!("no single-node write was acknowledged for {:.1} s although the arbiter keeps the primary", gap_ms / 1e3);
        trial.find(Finding::violation("single-writes-refused", message));
    }
    let result = durability(operations, &values::committed(set, BY_ONE).await.map_err(client_error)?);
    trial.measure("single_node_lost", Some(result.lost.len() as f64), "operations");
    unexpected(trial, "single-node", &result.phantom, &result.duplicated);
    let early = lost_outside(operations, &result.lost, course);
    if !early.is_empty() {
        let message = format!("{} single-node writes are gone although both copies were there when they were acknowledged", early.len());
        trial.find(Finding::violation("copied-writes-lost", message).with_witness(witness(&early)));
    }
    let message = format!(
        "{} writes that one copy acknowledged (w:1) were rolled back when the other was elected with the arbiter's vote; history {file}",
        result.lost.len()
    );
    if result.lost.is_empty() {
        let message = "every write that only the dead primary acknowledged came back, so a rollback was not shown";
        trial.find(Finding::unconfirmed("no-rollback-seen", message));
    } else if trial.is_sabotaged_by(DURABLE) {
        trial.find(Finding::violation("acknowledged-writes-lost", message).with_witness(witness(&result.lost)));
    } else {
        trial.find(Finding::note("single-node-writes-rolled-back", message).with_witness(witness(&result.lost)));
    }
    Ok(())
}

/// Which of the lost values were acknowledged at a time from which nothing may be missing.
fn lost_outside(operations: &[Operation], lost: &[u64], course: &Course) -> Vec<u64> {
    let alone = (course.secondary_killed_ms - COPY_MARGIN_MS)..=(course.primary_dead_ms + COPY_MARGIN_MS);
    let acknowledged = operations.iter().filter(|operation| operation.is_ok());
    acknowledged
        .filter(|operation| !operation.completed.is_some_and(|at| alone.contains(&(at as f64 / 1e6))))
        .filter_map(Operation::number)
        .filter(|value| lost.binary_search(value).is_ok())
        .collect()
}

fn unexpected(trial: &Trial, load: &str, phantom: &[u64], duplicated: &[u64]) {
    for (id, what, values) in
        [("phantom-writes", "although they failed or never were", phantom), ("duplicated-writes", "more than once", duplicated)]
    {
        if !values.is_empty() {
            let message = format!("{} {load} values are there {what}", values.len());
            trial.find(Finding::violation(id, message).with_witness(witness(values)));
        }
    }
}

#[cfg(test)]
mod tests {
    use dora_harness::history::Outcome;

    use super::*;

    fn insert(value: u64, completed_ms: u64) -> Operation {
        Operation {
            index: value,
            process: 0,
            f: "add".into(),
            value: value.into(),
            returned: value.into(),
            invoked: (completed_ms - 1) * 1_000_000,
            completed: Some(completed_ms * 1_000_000),
            outcome: Outcome::Ok,
        }
    }

    #[test]
    fn only_what_one_copy_acknowledged_alone_may_be_missing() {
        let course = Course {
            secondary_killed_ms: 10_000.0,
            secondary_dead_ms: 10_300.0,
            primary_killed_ms: 16_000.0,
            primary_dead_ms: 19_000.0,
            healed_ms: 25_000.0,
            whole_ms: 30_000.0,
        };
        // The fourth was acknowledged after the primary's kill was ordered and before it was dead.
        let operations = [insert(1, 5_000), insert(2, 9_500), insert(3, 12_000), insert(4, 18_500), insert(5, 22_000)];
        assert_eq!(lost_outside(&operations, &[2, 3, 4], &course), Vec::<u64>::new());
        assert_eq!(lost_outside(&operations, &[1, 3, 5], &course), vec![1, 5]);
    }
}
