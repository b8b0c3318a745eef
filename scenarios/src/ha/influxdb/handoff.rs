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
    set::others,
    target::{Case, Points},
};
use crate::{
    Database, Pillar, Sabotage, Scenario, ScenarioError, Trial,
    defect::under_defect,
    ha::{HaTarget as _, judge, load::Loads},
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
    outcome?;
    judge::durability_of(trial, points, loads.inserts(), 0.0).await?;
    judge::copies(trial, points, &hit, loads.inserts()).await?;
    judge::loads(trial, &loads, crate::ha::Reaction::Any, None)?;
    points.check_further(trial, &hit).await
}

async fn outage(trial: &Trial, points: &Points, away: &Node, objective: Duration, recorder: &Recorder) -> Result<(), ScenarioError> {
    let killed = kill(trial, points, away).await?;
    let injected_ms = killed.record().injected_ms;
    let during = crashes_of_keepers(trial, points, away).await;
    let judged = match during {
        Ok(()) => {
            sleep(trial.sustain()).await;
            note_queues(trial, points, away, recorder).await
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
    Ok(())
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

/// How much waits for the node that is away.
async fn note_queues(trial: &Trial, points: &Points, away: &Node, recorder: &Recorder) -> Result<(), ScenarioError> {
    let mut bytes = 0_u64;
    for keeper in others(&points.influx.nodes(), std::slice::from_ref(away)) {
        let said = keeper.exec_ok(&["du", "-sb", QUEUES], &[], EXEC_LIMIT).await?;
        bytes += said.split_whitespace().next().and_then(|size| size.parse::<u64>().ok()).unwrap_or_default();
    }
    trial.measure("queued", Some(bytes as f64), "bytes");
    trial.measure("acknowledged_before_the_return", Some(acknowledged(&recorder.operations()?).len() as f64), "operations");
    Ok(())
}

/// Reads the node that is back until it holds everything that it missed; how long that took.
async fn catch_up(trial: &Trial, points: &Points, away: &Node, missed: &BTreeSet<u64>, objective: Duration) -> Option<f64> {
    let begun = Instant::now();
    let first_seen = OnceLock::new();
    let limit = if trial.sabotage.is_some() { objective.min(PROOF_CATCH_UP) } else { objective + BEYOND };
    let whole = within("the catch-up", limit, Duration::from_millis(200), || async {
        let lacking = lacking(points, away, missed).await?;
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

async fn lacking(points: &Points, node: &Node, missed: &BTreeSet<u64>) -> Result<Vec<u64>, String> {
    let incomplete = points.incomplete(missed).await.map_err(|error| error.to_string())?;
    Ok(incomplete.into_iter().find(|(lacks, _)| lacks.name() == node.name()).map(|(_, values)| values).unwrap_or_default())
}
