//! Reads at a replica that lags: frozen for a moment, and cut off from the cores.

use std::time::Duration;

use dora_harness::{
    database::neo4j::{BOLT, GraphError},
    fault::{Fault, Partition, Pause, inject},
    patience::within,
};
use dora_reports::evidence::Finding;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::course::Course;
use crate::{
    ScenarioError,
    ha::neo4j::target::{HEALTH_EVERY, HEALTH_LIMIT},
};

/// How often the replica is frozen.
const PAUSES: u32 = 4;
/// How long requests wait at the frozen replica before it is woken up.
const FROZEN: Duration = Duration::from_millis(300);
/// How long the replica is cut off after the write; what waits for it must wait that long.
const CUT_OFF: Duration = Duration::from_secs(4);
const CONFIRM_LIMIT: Duration = Duration::from_secs(15);

/// What a lagging replica answered.
struct Seen {
    with_bookmark: Result<Value, GraphError>,
    /// From the order to end the lag; zero for an answer before it.
    waited: Duration,
    without_bookmark: Value,
}

/// A frozen replica answers as soon as it is woken up, and what it missed comes later.
pub async fn by_pauses(course: &mut Course<'_>) -> Result<(), ScenarioError> {
    let mut stale = 0_u32;
    for _ in 0..PAUSES {
        let pause = Pause::new(course.target.replica()?.clone(), "read replica", BOLT);
        let Some(seen) = while_it_lags(course, Box::new(pause), FROZEN).await? else { return Ok(()) };
        stale += u32::from(seen.without_bookmark.is_null());
        answered(course, &seen)?;
    }
    course.trial.measure("stale_after_waking", Some(f64::from(stale)), "reads");
    course.trial.note("client", format!("{stale} of {PAUSES} reads without a bookmark were stale when the replica woke up"));
    Ok(())
}

/// A replica without cores certainly lags.
pub async fn by_partition(course: &mut Course<'_>) -> Result<(), ScenarioError> {
    let partition = Partition::between(std::slice::from_ref(course.target.replica()?), course.target.cluster.cores()).on_port(BOLT);
    let Some(seen) = while_it_lags(course, Box::new(partition), CUT_OFF).await? else { return Ok(()) };
    if !seen.without_bookmark.is_null() {
        let message = "the replica that was cut off knew of the write, so nothing was waited for";
        course.trial.find(Finding::unconfirmed("no-lag", message));
    }
    let waited_ms = seen.with_bookmark.is_ok().then_some(seen.waited.as_secs_f64() * 1e3);
    let caught_up = course.trial.measure("catch_up", waited_ms, "ms");
    if caught_up.met == Some(false) {
        let message = format!("a read with a bookmark was answered {:.1} s after the healing", seen.waited.as_secs_f64());
        course.trial.find(Finding::violation("catch-up-too-late", message));
    }
    answered(course, &seen)?;
    within("a healthy cluster", HEALTH_LIMIT, HEALTH_EVERY, || course.target.healthy()).await?;
    Ok(())
}

fn answered(course: &mut Course<'_>, seen: &Seen) -> Result<(), ScenarioError> {
    if let Err(error) = &seen.with_bookmark {
        let replica = course.target.replica()?;
        course.not_answered(replica, error);
    }
    Ok(())
}

/// Two sessions write while the replica lags, and read there, one with its bookmark; the lag is ended `hold` later. [`None`]: no probe saw
/// the fault.
async fn while_it_lags(course: &mut Course<'_>, fault: Box<dyn Fault>, hold: Duration) -> Result<Option<Seen>, ScenarioError> {
    let (trial, replica) = (course.trial, course.target.replica()?.clone());
    let (mut marked, mut plain) = (course.session(&replica).await?, course.plain_session(&replica).await?);
    let confirmed = match inject(fault, trial.origin()).await?.confirm(CONFIRM_LIMIT).await {
        Ok(confirmed) => confirmed,
        Err(unconfirmed) => {
            let record = unconfirmed.heal().await?.confirm(CONFIRM_LIMIT).await;
            let message = format!("no probe saw the {} of {}", record.kind, record.target);
            trial.fault(&record);
            trial.find(Finding::unconfirmed("fault-unconfirmed", message));
            return Ok(None);
        }
    };
    let written = match course.write_marked().await {
        Ok(one) => course.write_plain().await.map(|other| (one, other)),
        Err(error) => Err(error),
    };
    let hold = if written.is_ok() { hold } else { Duration::ZERO };
    let healing = async {
        sleep(hold).await;
        let ordered = Instant::now();
        Ok::<_, ScenarioError>((confirmed.heal().await?.confirm(CONFIRM_LIMIT).await, ordered))
    };
    let (one, other) = match written {
        Ok(written) => written,
        Err(error) => {
            trial.fault(&healing.await?.0);
            return Err(error);
        }
    };
    let asking = async { (course.until_answered(&replica, &mut marked, &one).await, Instant::now()) };
    let ((with_bookmark, answered), without_bookmark, healed) = tokio::join!(asking, course.read_plain(&mut plain, &other), healing);
    let (record, ordered) = healed?;
    trial.fault(&record);
    Ok(Some(Seen {
        with_bookmark: with_bookmark?,
        waited: answered.saturating_duration_since(ordered),
        without_bookmark: without_bookmark?,
    }))
}
