//! Hinted handoff: what a node misses waits on the disks of the others, outlives their crash, and reaches the node when it is back.

use std::{
    collections::BTreeSet,
    sync::OnceLock,
    time::{Duration, Instant},
};

use dora_harness::{
    check::longest_gap,
    database::{Cluster as _, influxdb::PORT},
    fault::{Confirmed, Kill, inject},
    history::{Operation, Recorder},
    patience::within,
    topology::Node,
};
use dora_reports::evidence::{Clocks, Finding, NamedLimit};
use tokio::time::sleep;

use super::{
    sabotage::{HANDOFF_OFF, QUEUE_DELETED},
    set::{failed, others},
    target::{Case, Points},
};
use crate::{
    Database, Pillar, Sabotage, Scenario, ScenarioError, Trial,
    defect::under_defect,
    ha::{HaTarget as _, Reaction, judge, load::Loads},
};

/// The scenario.
pub const HINTED_HANDOFF: Scenario = Scenario {
    id: "ha/influxdb/hinted-handoff",
    title: "Hinted handoff fills a node that was away, across a crash of the nodes that keep the hints",
    pillar: Pillar::Ha,
    database: Database::Influxdb,
    clauses: &["HA-IDB-1"],
    goal: "find out whether a node that was away gets every write that it missed, how long that takes, and whether the queues outlive a crash of the \
           nodes that keep them",
    method: &[
        "four clients insert points with consistency quorum; kill one node with SIGKILL, go on",
        "kill both survivors one after the other and start each again at once, while their queues are full",
        "go on, then start the first node, while the load goes on",
        "from then on read that node on its own until it holds every write that was acknowledged before it was started: this is the lag",
        "end the load, and read all nodes on their own",
    ],
    does_not_show: &[
        "how soon: the engine tries a peer that was away again after 1, 2, 4 s and so on up to a minute, so the lag depends on the moment of the return",
        "an outage of days: the engine drops hints that are older than a week, or when a queue exceeds a gibibyte",
        "the loss of a node with the queue that it keeps: hints have one copy, so such writes never reach the node that was away (they are on a majority)",
    ],
    needs_high_availability: true,
    deadline: Duration::from_secs(300),
    sabotages: &[
        Sabotage {
            id: HANDOFF_OFF,
            what: "the two surviving nodes run with hinted handoff switched off",
            expects: "returned-node-incomplete",
        },
        Sabotage { id: QUEUE_DELETED, what: "the queue of a survivor is deleted before it is killed", expects: "returned-node-incomplete" },
    ],
    run: |trial| Box::pin(run(trial)),
};

/// Load before the first fault, between two, and after the lag was measured.
const STRETCH: Duration = Duration::from_secs(4);
/// A fault shows within this time, and so does its end.
const FAULT_LIMIT: Duration = Duration::from_secs(15);
/// Waited for beyond the objective, so that a late catch-up is measured and not cut off.
const BEYOND: Duration = Duration::from_secs(10);
/// A planted defect that keeps values away is told from a slow catch-up by then.
const PROOF_CATCH_UP: Duration = Duration::from_secs(45);
/// A command in a node.
const EXEC_LIMIT: Duration = Duration::from_secs(10);
/// Where a node keeps its queues.
const QUEUES: &str = "/dora/data/hh";

async fn run(trial: &Trial) -> Result<(), ScenarioError> {
    let points = Points::of(trial, Case::Killed).await?;
    let catch_up_ms = trial.promise.catch_up_ms_max()? as f64;
    trial.promise_limits(
        format!(
            "a node that was away holds every write that it missed within {:.0} s of its start, although the nodes that kept them crashed meanwhile",
            catch_up_ms / 1e3
        ),
        vec![NamedLimit::at_most("catch_up", catch_up_ms, "ms"), NamedLimit::at_most("acknowledged_lost", 0.0, "operations")],
    );
    points.prepare().await?;
    let work = Box::pin(under_load(trial, &points, Duration::from_secs_f64(catch_up_ms / 1e3)));
    under_defect(trial, |id| points.sabotage(id), |id| points.undo_sabotage(id), work).await
}

async fn under_load(trial: &Trial, points: &Points, objective: Duration) -> Result<(), ScenarioError> {
    let away = points.doomed().await?;
    let hit = [away.clone()];
    let loads = Loads::start(trial, points).await?;
    sleep(STRETCH).await;
    points.struck.note_away(&hit);
    let outcome = outage(trial, points, &away, objective, loads.inserts()).await;
    let loads = loads.stop().await?;
    let returned_ms = outcome?;
    judge::durability_of(trial, points, loads.inserts(), 0.0).await?;
    judge::copies(trial, points, &hit, loads.inserts()).await?;
    judge::loads(trial, &loads, Reaction::Any, Some(returned_ms))?;
    points.check_further(trial, &hit).await
}

/// Kills a node, lets the others keep what it misses, and starts it again; when that was ordered, in the trial's milliseconds.
async fn outage(trial: &Trial, points: &Points, away: &Node, objective: Duration, recorder: &Recorder) -> Result<f64, ScenarioError> {
    let killed = kill(trial, points, away).await?;
    let injected_ms = killed.record().injected_ms;
    let during = crashes_of_keepers(trial, points, away).await;
    let judged = match during {
        Ok(()) => {
            trial.rest(trial.sustain()).await;
            let dead_ms = killed.record().confirmed_ms.unwrap_or(injected_ms);
            check_kept(trial, points, away, (dead_ms, &recorder.operations()?)).await
        }
        Err(error) => Err(error),
    };
    let missed = acknowledged(&recorder.operations()?);
    let started_ms = trial.now_ms();
    // Whatever was seen or could not be seen, what is broken is mended.
    trial.fault(&killed.heal().await?.confirm(FAULT_LIMIT).await);
    judged?;
    let lag_ms = catch_up(trial, points, away, &missed, objective).await;
    let operations = recorder.operations()?;
    trial.measure("longest_gap", Some(longest_gap(&operations, injected_ms, trial.now_ms())), "ms");
    trial.clocks(Clocks { redundancy_regained_ms: lag_ms.map(|lag| started_ms - injected_ms + lag), ..Clocks::default() });
    trial.excerpt(away, 20).await;
    sleep(STRETCH).await;
    Ok(started_ms)
}

/// Every node that keeps hints is killed and started again.
async fn crashes_of_keepers(trial: &Trial, points: &Points, away: &Node) -> Result<(), ScenarioError> {
    let keepers = others(&points.influx.nodes(), std::slice::from_ref(away));
    for (number, keeper) in keepers.iter().enumerate() {
        sleep(STRETCH).await;
        if number == 0 && trial.is_sabotaged_by(QUEUE_DELETED) {
            keeper.exec_ok(&["sh", "-c", &format!("rm -rf {QUEUES}/*")], &[], EXEC_LIMIT).await?;
        }
        let crashed = kill(trial, points, keeper).await?;
        trial.fault(&crashed.heal().await?.confirm(FAULT_LIMIT).await);
        let serves = || async { points.influx.waiting_hints(keeper).await };
        within("a node after its crash", FAULT_LIMIT, Duration::from_millis(100), serves).await?;
    }
    Ok(())
}

async fn kill(trial: &Trial, points: &Points, node: &Node) -> Result<Confirmed<Kill>, ScenarioError> {
    let fault = Kill::new(node.clone(), points.influx.form().role(), PORT);
    points.struck.note_kill();
    match inject(fault, trial.origin()).await?.confirm(FAULT_LIMIT).await {
        Ok(confirmed) => {
            points.struck.note_dead();
            trial.note("fault", format!("{}: {}", confirmed.record().target, confirmed.record().confirmed_by));
            Ok(confirmed)
        }
        Err(unconfirmed) => {
            trial.fault(&unconfirmed.heal().await?.confirm(FAULT_LIMIT).await);
            Err(ScenarioError::client(format!("kill {}", node.name()), "no probe saw that it is dead"))
        }
    }
}

fn acknowledged(operations: &[Operation]) -> BTreeSet<u64> {
    operations.iter().filter(|insert| insert.is_ok()).filter_map(Operation::number).collect()
}

/// How much waits for the node that is away, and whether there is anything that it can have missed. `inserts`: from when on it was seen dead,
/// and the history.
async fn check_kept(trial: &Trial, points: &Points, away: &Node, inserts: (f64, &[Operation])) -> Result<(), ScenarioError> {
    let (mut bytes, mut keepers) = (0_u64, 0_usize);
    for keeper in others(&points.influx.nodes(), std::slice::from_ref(away)) {
        let said = keeper.exec_ok(&["du", "-sb", QUEUES], &[], EXEC_LIMIT).await?;
        bytes += said.split_whitespace().next().and_then(|size| size.parse::<u64>().ok()).unwrap_or_default();
        keepers += usize::from(!points.influx.waiting_hints(&keeper).await.map_err(failed("ask for the queues"))?.is_empty());
    }
    let (dead_ms, operations) = inserts;
    let missed = acknowledged_since(operations, dead_ms);
    // Folders and files that were sent have a size, too: whether something waits is the engine's own word.
    trial.measure("queued", Some(bytes as f64), "bytes");
    trial.measure("nodes_that_keep_writes", Some(keepers as f64), "nodes");
    trial.measure("acknowledged_before_the_return", Some(acknowledged(operations).len() as f64), "operations");
    trial.measure("acknowledged_while_away", Some(missed as f64), "operations");
    if let Some(finding) = nothing_kept(away.name(), missed, keepers) {
        trial.find(finding);
    }
    Ok(())
}

/// How many inserts were acknowledged that began after a moment, in the trial's milliseconds.
fn acknowledged_since(operations: &[Operation], since_ms: f64) -> usize {
    operations.iter().filter(|insert| insert.is_ok() && insert.invoked as f64 / 1e6 >= since_ms).count()
}

/// Without writes that the node missed, and a queue with some of them, its return shows nothing of hinted handoff.
fn nothing_kept(away: &str, missed: usize, keepers: usize) -> Option<Finding> {
    let why = match (missed, keepers) {
        (0, _) => "no insert was acknowledged while it was away",
        (_, 0) => "no other node says that writes wait for it",
        _ => return None,
    };
    Some(Finding::unconfirmed("nothing-queued", format!("there was nothing to fill {away} with when it came back: {why}")))
}

/// Reads the node that is back until it holds everything that it missed; how long that took.
async fn catch_up(trial: &Trial, points: &Points, away: &Node, missed: &BTreeSet<u64>, objective: Duration) -> Option<f64> {
    let begun = Instant::now();
    let first_seen = OnceLock::new();
    let limit = if trial.sabotage.is_some() { objective.min(PROOF_CATCH_UP) } else { objective + BEYOND };
    let whole = within("the catch-up", limit, Duration::from_millis(200), || async {
        let lacking = still_missing(points, away, missed).await?;
        first_seen.get_or_init(|| (begun.elapsed(), lacking.len()));
        if lacking.is_empty() { Ok(()) } else { Err(format!("{} lacks {} values", away.name(), lacking.len())) }
    });
    let whole = whole.await;
    let lag_ms = whole.is_ok().then(|| begun.elapsed().as_secs_f64() * 1e3);
    if let Some((after, lacking)) = first_seen.get() {
        trial.measure("lacking_at_first_answer", Some(*lacking as f64), "values");
        trial.measure("first_answer", Some(after.as_secs_f64() * 1e3), "ms");
    }
    if trial.measure("catch_up", lag_ms, "ms").met != Some(true) {
        let message = match whole {
            Ok(()) => format!("the node held what it had missed only after {:.1} s", begun.elapsed().as_secs_f64()),
            Err(error) => format!("the node never held what it had missed: {}", error.last),
        };
        trial.find(Finding::violation("catch-up-too-late", message));
    }
    lag_ms
}

async fn still_missing(points: &Points, node: &Node, missed: &BTreeSet<u64>) -> Result<Vec<u64>, String> {
    let incomplete = points.incomplete(missed).await.map_err(|error| error.to_string())?;
    Ok(incomplete.into_iter().find(|(lacks, _)| lacks.name() == node.name()).map(|(_, values)| values).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use dora_harness::history::Outcome;
    use dora_reports::evidence::Severity;

    use super::*;

    fn insert(invoked_ms: u64, outcome: Outcome) -> Operation {
        let (invoked, completed) = (invoked_ms * 1_000_000, Some((invoked_ms + 5) * 1_000_000));
        let value = serde_json::Value::from(invoked_ms);
        Operation { index: invoked_ms, process: 0, f: "add".into(), value: value.clone(), returned: value, invoked, completed, outcome }
    }

    #[test]
    fn what_was_acknowledged_before_the_death_was_not_missed() {
        let history = [insert(100, Outcome::Ok), insert(2_000, Outcome::Fail("timeout".into())), insert(3_000, Outcome::Ok)];
        assert_eq!(acknowledged_since(&history, 1_000.0), 1);
    }

    #[test]
    fn a_return_to_nothing_is_no_proof() {
        let severity = |missed, keepers| nothing_kept("idb3", missed, keepers).map(|finding| finding.severity);
        assert_eq!(severity(0, 2), Some(Severity::Unconfirmed));
        assert_eq!(severity(9, 0), Some(Severity::Unconfirmed));
        assert_eq!(severity(9, 1), None);
    }
}
