//! The process that heals the faults of a `dora fault inject` that cannot: it is killed, or its engine failed it.

use std::{collections::BTreeSet, time::Duration};

use dora_harness::{
    engine::{Engine, RunId},
    fault::{Fault as _, FaultError, Kind, Order, Together},
    patience::within,
    watchdog::{Watchdog, asked, watch},
};

use super::{error::CliError, orders::Orders};

/// The first argument that turns this binary into a guardian; the run and the names of the faults follow.
const GUARDIAN_ARGUMENT: &str = "__guardian";
/// What the engine was asked for before its client died is done within this time.
const SETTLE: Duration = Duration::from_secs(3);
/// For so long healing is tried again, whether the engine refuses or is away.
const HEAL_LIMIT: Duration = Duration::from_secs(120);
/// A restarted JVM takes its time, and of several nodes one is asked after the other.
const MENDED_LIMIT: Duration = Duration::from_secs(300);
/// Between two attempts.
const EVERY: Duration = Duration::from_millis(200);

/// Starts a guardian for faults of the run that are about to be kept and injected. Dropping it without [`Watchdog::dismiss`] makes it heal
/// those that are kept.
pub fn post(run: &RunId, orders: &[Order]) -> Result<Watchdog, CliError> {
    let words: Vec<&str> = std::iter::once(run.as_str()).chain(orders.iter().map(|order| order.id.as_str())).collect();
    Watchdog::start(GUARDIAN_ARGUMENT, &words).map_err(|source| CliError::File {
        what: "start the guardian of",
        path: run.as_str().into(),
        source,
    })
}

/// Becomes the guardian when this process was started as one, and then never returns.
pub fn become_guardian_if_asked() {
    let Some(words) = asked(GUARDIAN_ARGUMENT) else { return };
    let [run, ids @ ..] = words.as_slice() else { std::process::exit(2) };
    let Ok(run) = run.parse::<RunId>() else { std::process::exit(2) };
    watch(async {
        // Nobody reads what this process says; what it could not heal stays in `dora fault list`.
        let _ = heal(&run, ids).await;
    })
}

/// Heals twice: what the dead process had asked the engine for may come true after the first time.
async fn heal(run: &RunId, ids: &[String]) -> Result<(), CliError> {
    let Some((orders, _)) = mend_in_time(run, ids).await? else { return Ok(()) };
    tokio::time::sleep(settled_after(&orders)).await;
    let kept = Orders::of(run);
    let nodes: BTreeSet<&str> = orders.iter().map(|order| order.node.name()).collect();
    if kept.all()?.iter().any(|order| !ids.contains(&order.id) && nodes.contains(order.node.name())) {
        // Somebody breaks one of these nodes anew: what is theirs must not be healed.
        return orders.iter().try_for_each(|order| kept.forget(&order.id));
    }
    let Some((orders, faults)) = mend_in_time(run, ids).await? else { return Ok(()) };
    within("the end of the faults", MENDED_LIMIT, EVERY, || faults.is_mended()).await.map_err(FaultError::from)?;
    orders.iter().try_for_each(|order| kept.forget(&order.id))
}

async fn mend_in_time(run: &RunId, ids: &[String]) -> Result<Option<(Vec<Order>, Together)>, CliError> {
    Ok(within("healing", HEAL_LIMIT, EVERY, || mend(run, ids)).await.map_err(FaultError::from)?)
}

/// Mends those that are still kept; none where somebody else healed them, or where the platform is gone and they with it.
async fn mend(run: &RunId, ids: &[String]) -> Result<Option<(Vec<Order>, Together)>, CliError> {
    let kept = Orders::of(run);
    let orders = kept.among(ids)?;
    if orders.is_empty() {
        return Ok(None);
    }
    let engine = Engine::connect().await?;
    if engine.leftovers(run).await?.is_empty() {
        orders.iter().try_for_each(|order| kept.forget(&order.id))?;
        return Ok(None);
    }
    let faults = orders.iter().map(|order| order.fault(&engine)).collect::<Result<Vec<_>, _>>()?;
    let faults = Together::new(faults).apart();
    faults.heal().await?;
    Ok(Some((orders, faults)))
}

/// A stop that was asked for is over only after its grace, also when nobody waits for it any more.
fn settled_after(orders: &[Order]) -> Duration {
    let stops = orders.iter().filter(|order| matches!(order.kind, Kind::Stop | Kind::Restart));
    SETTLE + stops.map(|order| Duration::from_millis(order.details.grace_ms)).max().unwrap_or_default()
}
