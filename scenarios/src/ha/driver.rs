//! Kills the node that matters under a running write load and measures what follows.
//!
//! The clocks all start when SIGKILL is ordered: detection (the platform's own word), first success (an insert begun after the
//! death was confirmed is acknowledged), objective regained (throughput back at 80 % of its level before, and staying), redundancy regained
//! (every node in its role, every copy complete).

use std::{collections::BTreeSet, time::Duration};

use dora_harness::{
    check::{Availability, availability, durability},
    fault::{Kill, inject},
    history::Recorder,
    patience::{stretched, within},
    workload::{InsertPlan, Inserts},
};
use dora_reports::evidence::{Clocks, Finding, NamedLimit};
use tokio::time::{sleep, timeout};

use super::{HaTarget, Victim};
use crate::{ScenarioError, Trial};

/// Clients that insert side by side.
const CLIENTS: usize = 4;
/// Load before the fault: what is normal.
const BASELINE: Duration = Duration::from_secs(6);
/// Operation on the survivors after service is back.
const SUSTAINED: Duration = Duration::from_secs(10);
/// Load after the node is back.
const AFTERWARDS: Duration = Duration::from_secs(3);
/// How long is waited beyond the objective, so that a late recovery is measured and not cut off.
const BEYOND: Duration = Duration::from_secs(10);
/// A killed process is gone within this time, or the fault did not happen.
const CONFIRM_LIMIT: Duration = Duration::from_secs(10);
/// What is still under way when the load ends arrives within this time.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);
/// The finding of a service that is back too late.
const RECOVERY_TOO_LATE: &str = "recovery-too-late";
/// Witness values that are shown.
const WITNESS_MAX: usize = 10;

/// The scenario: see the module.
///
/// # Errors
/// [`ScenarioError`] when it cannot be carried out; what it finds is in the trial.
pub async fn node_killed(trial: &Trial, target: &dyn HaTarget) -> Result<(), ScenarioError> {
    let rto_ms = trial.promise.rto_ms_max.unwrap_or(30_000) as f64;
    let redundancy_ms = trial.promise.redundancy_ms_max.unwrap_or(120_000) as f64;
    let window_ms = trial.promise.loss_window_ms_max.unwrap_or(0);
    let lost_max = trial.promise.acknowledged_lost_max.unwrap_or_else(|| inserts_within(window_ms)) as f64;
    trial.promise_limits(
        format!(
            "after the kill, writes are acknowledged again within {:.0} s, redundancy is whole within {:.0} s, and at most {lost_max} acknowledged writes are lost",
            rto_ms / 1e3,
            redundancy_ms / 1e3
        ),
        vec![
            NamedLimit::at_most("first_success", rto_ms, "ms"),
            NamedLimit::at_most("redundancy_regained", redundancy_ms, "ms"),
            NamedLimit::at_most("acknowledged_lost", lost_max, "operations"),
        ],
    );
    target.prepare().await?;
    if let Some(sabotage) = trial.sabotage {
        trial.note("sabotage", sabotage.what);
        target.sabotage(sabotage.id).await?;
    }
    let outcome = kill_under_load(trial, target, Duration::from_secs_f64(rto_ms / 1e3), Duration::from_secs_f64(redundancy_ms / 1e3)).await;
    if let Some(sabotage) = trial.sabotage {
        target.undo_sabotage(sabotage.id).await?;
    }
    outcome
}

/// How many inserts the load offers within a time: where replication is asynchronous, the most that a loss of that window can take away.
fn inserts_within(window_ms: u64) -> u64 {
    let every_ms = InsertPlan::default().every.as_millis() as u64;
    CLIENTS as u64 * window_ms.div_ceil(every_ms)
}

async fn kill_under_load(trial: &Trial, target: &dyn HaTarget, rto: Duration, redundancy: Duration) -> Result<(), ScenarioError> {
    let recorder = trial.recorder()?;
    let inserts = Inserts::start(target.clients(CLIENTS).await?, InsertPlan::default(), &recorder);
    trial.note("phase", format!("{CLIENTS} clients insert"));
    sleep(BASELINE).await;
    let victim = target.victim().await?;
    let killed = killed_and_back(trial, target, &victim, &recorder, rto, redundancy).await;
    inserts.stop().await;
    recorder.flush()?;
    if killed? == Course::Proven {
        return Ok(());
    }
    judge_durability(trial, target, &recorder).await?;
    judge_copies(trial, target, &victim, &recorder).await?;
    target.check_further(trial, &victim).await
}

/// How far a trial went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    /// To its end.
    Through,
    /// A proof's sabotage was noticed; the rest would only wait.
    Proven,
}

async fn killed_and_back(
    trial: &Trial,
    target: &dyn HaTarget,
    victim: &Victim,
    recorder: &Recorder,
    rto: Duration,
    redundancy: Duration,
) -> Result<Course, ScenarioError> {
    let injected = inject(Kill::new(victim.node.clone(), victim.role.clone(), victim.port), trial.origin()).await?;
    let injected_ms = injected.injected_ms();
    let confirmed = match injected.confirm(CONFIRM_LIMIT).await {
        Ok(confirmed) => confirmed,
        Err(unconfirmed) => {
            let record = unconfirmed.heal().await?.confirm(CONFIRM_LIMIT).await;
            trial.fault(&record);
            trial.find(Finding::unconfirmed("fault-unconfirmed", format!("{} still answers after SIGKILL", record.target)));
            return Ok(Course::Through);
        }
    };
    let confirmed_ms = confirmed.record().confirmed_ms.unwrap_or(injected_ms);
    trial.note("fault", format!("{} is dead: {}", confirmed.record().target, confirmed.record().confirmed_by));
    let waiting = rto + BEYOND;
    let (detection_ms, served) = tokio::join!(
        async {
            within("the platform's notice", waiting, Duration::from_millis(50), || target.has_noticed(victim))
                .await
                .ok()
                .map(|()| trial.now_ms() - injected_ms)
        },
        first_success(recorder, confirmed_ms, stretched(waiting)),
    );
    if served {
        trial.note("client", "an insert is acknowledged again");
        sleep(SUSTAINED).await;
    } else {
        trial.note("client", format!("no insert was acknowledged for {:.0} s", waiting.as_secs_f64()));
    }
    let seen = availability(&recorder.operations(), injected_ms, confirmed_ms, trial.now_ms());
    let in_time = judge_recovery(trial, &seen, detection_ms, rto);
    // A proof has what it wants to know; whether redundancy comes back is for its undoing to see to.
    let proven = !in_time && trial.sabotage.is_some_and(|sabotage| sabotage.expects == RECOVERY_TOO_LATE);
    let healed = confirmed.heal().await?;
    if proven {
        trial.fault(&healed.confirm(CONFIRM_LIMIT).await);
        return Ok(Course::Proven);
    }
    let record = healed.confirm(redundancy + BEYOND).await;
    trial.note("fault", format!("{} was started again", record.target));
    let whole = within("redundancy", redundancy + BEYOND, Duration::from_millis(250), || is_whole(target, victim, recorder)).await;
    let redundancy_ms = whole.as_ref().ok().map(|()| trial.now_ms() - injected_ms);
    if redundancy_ms.is_some() {
        trial.note("role", "every node has its role, every copy is complete");
        sleep(AFTERWARDS).await;
    }
    trial.fault(&record);
    trial.excerpt(&victim.node, 30).await;
    trial.clocks(Clocks {
        detection_ms,
        first_success_ms: seen.first_success_ms,
        objective_regained_ms: seen.objective_regained_ms,
        redundancy_regained_ms: redundancy_ms,
    });
    if trial.measure("redundancy_regained", redundancy_ms, "ms").met != Some(true) {
        let message = match whole {
            Ok(()) => format!("redundancy was whole only after {:.1} s", redundancy_ms.unwrap_or_default() / 1e3),
            Err(error) => format!("redundancy was not regained: {}", error.last),
        };
        trial.find(Finding::violation("redundancy-not-regained", message));
    }
    Ok(Course::Through)
}

/// Measures the outage; answers whether the first success came within the objective.
fn judge_recovery(trial: &Trial, seen: &Availability, detection_ms: Option<f64>, rto: Duration) -> bool {
    trial.measure("detection", detection_ms, "ms");
    let first = trial.measure("first_success", seen.first_success_ms, "ms");
    trial.measure("objective_regained", seen.objective_regained_ms, "ms");
    trial.measure("longest_gap", Some(seen.longest_gap_ms), "ms");
    trial.measure("throughput_before", Some(seen.baseline_per_s), "op/s");
    if first.met == Some(true) {
        return true;
    }
    let message = match seen.first_success_ms {
        Some(late) => format!("the first write was acknowledged {:.1} s after the kill, later than {:.0} s", late / 1e3, rto.as_secs_f64()),
        None => format!("no write was acknowledged within {:.0} s after the kill", (rto + BEYOND).as_secs_f64()),
    };
    trial.find(Finding::violation(RECOVERY_TOO_LATE, message));
    false
}

/// Every node in its role, and every acknowledged value on every node that can be read on its own.
async fn is_whole(target: &dyn HaTarget, victim: &Victim, recorder: &Recorder) -> Result<(), String> {
    target.is_redundant(victim).await?;
    match target.incomplete(&acknowledged(recorder)).await.map_err(|error| error.to_string())?.as_slice() {
        [] => Ok(()),
        [(node, missing), ..] => Err(format!("{} lacks {} acknowledged values", node.name(), missing.len())),
    }
}

fn acknowledged(recorder: &Recorder) -> BTreeSet<u64> {
    recorder.operations().iter().filter(|operation| operation.is_ok()).map(|operation| operation.value).collect()
}

/// After the load: does every node hold every acknowledged value itself?
async fn judge_copies(trial: &Trial, target: &dyn HaTarget, victim: &Victim, recorder: &Recorder) -> Result<(), ScenarioError> {
    let all = acknowledged(recorder);
    let settled = within("complete copies", SETTLE_LIMIT, Duration::from_millis(250), || async {
        let incomplete = target.incomplete(&all).await.map_err(|error| error.to_string())?;
        if incomplete.is_empty() { Ok(()) } else { Err("a copy is incomplete".to_owned()) }
    });
    if settled.await.is_ok() {
        return Ok(());
    }
    for (node, missing) in target.incomplete(&all).await? {
        let id = if node.name() == victim.node.name() { "returned-node-incomplete" } else { "node-incomplete" };
        let message = format!("{} does not hold {} acknowledged values itself", node.name(), missing.len());
        trial.find(Finding::violation(id, message).with_witness(witness(&missing)));
    }
    Ok(())
}

fn witness(values: &[u64]) -> String {
    format!("values {:?}{}", &values[..values.len().min(WITNESS_MAX)], if values.len() > WITNESS_MAX { " …" } else { "" })
}

/// Waits until an insert that began after the confirmed death is acknowledged.
async fn first_success(recorder: &Recorder, confirmed_ms: f64, limit: Duration) -> bool {
    let acknowledged = async {
        while !recorder.has_acknowledged_since((confirmed_ms * 1e6) as u64) {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(limit, acknowledged).await.is_ok()
}

async fn judge_durability(trial: &Trial, target: &dyn HaTarget, recorder: &Recorder) -> Result<(), ScenarioError> {
    let present = target.present().await?;
    let operations = recorder.operations();
    let result = durability(&operations, &present);
    trial.operations(&operations, &result);
    let lost = trial.measure("acknowledged_lost", Some(result.lost.len() as f64), "operations");
    if lost.met == Some(false) {
        trial.find(
            Finding::violation("acknowledged-writes-lost", format!("{} acknowledged writes are not there", result.lost.len()))
                .with_witness(witness(&result.lost)),
        );
    } else if !result.lost.is_empty() {
        trial.find(
            Finding::note(
                "acknowledged-writes-lost-within-bound",
                format!("{} acknowledged writes are not there; the mode allows it", result.lost.len()),
            )
            .with_witness(witness(&result.lost)),
        );
    }
    if !result.phantom.is_empty() {
        trial.find(
            Finding::violation(
                "phantom-writes",
                format!("{} values are there although their insert failed or never was", result.phantom.len()),
            )
            .with_witness(witness(&result.phantom)),
        );
    }
    if !result.duplicated.is_empty() {
        trial.find(
            Finding::violation("duplicated-writes", format!("{} values are there more than once", result.duplicated.len()))
                .with_witness(witness(&result.duplicated)),
        );
    }
    if result.acknowledged == 0 {
        trial.find(Finding::unconfirmed("no-load", "no insert was acknowledged at all, so nothing was tested"));
    }
    Ok(())
}
