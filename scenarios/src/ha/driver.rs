//! Strikes a cluster under a running write load and measures what follows.
//!
//! The clocks start when the fault is ordered: detection (the platform's own word), first success (an insert begun after the
//! fault was confirmed is acknowledged), objective regained (throughput back at 80 % of its level before, and staying), redundancy
//! regained (every node in its role, every copy complete). Where writes have to cease until the fault is healed, first success and
//! objective count from the healing, and the time within which they have to cease from the probe that confirmed the fault: on a busy machine
//! the order takes seconds to become a fault, and what is acknowledged until then is acknowledged rightly.

use std::time::Duration;

use dora_harness::{
    check::{Availability, availability, ceased_after, longest_gap},
    fault::{Confirmed, Fault, inject},
    history::Recorder,
    patience::{stretched, within},
    topology::Node,
};
use dora_reports::evidence::{Clocks, Finding, NamedLimit};
use tokio::time::{sleep, timeout};

use super::{
    Course, Goal, HaTarget, Service, Strike,
    judge::{self, RECOVERY_TOO_LATE, SERVICE_INTERRUPTED},
    load::{CLIENTS, Loads},
};
use crate::{ScenarioError, Trial, defect::under_defect};

/// Load before the fault: what is normal.
const BASELINE: Duration = Duration::from_secs(6);
/// Clients are connected by then, on a busy machine, too.
const SERVED_LIMIT: Duration = Duration::from_secs(20);
/// Load after redundancy is whole.
const AFTERWARDS: Duration = Duration::from_secs(3);
/// How often redundancy is asked for. The question reads every copy, which a node that catches up also has to serve.
const REDUNDANCY_EVERY: Duration = Duration::from_millis(500);
/// How long is waited beyond the objective, so that a late recovery is measured and not cut off.
const BEYOND: Duration = Duration::from_secs(10);
/// A proof that is about something else need not wait for redundancy as long as is promised.
const PROOF_REDUNDANCY: Duration = Duration::from_secs(45);
/// The finding of redundancy that does not come back in time.
const REDUNDANCY_NOT_REGAINED: &str = "redundancy-not-regained";
/// A fault shows within this time, or it did not happen.
const CONFIRM_LIMIT: Duration = Duration::from_secs(15);

/// The scenario: see the module.
///
/// # Errors
/// [`ScenarioError`] when it cannot be carried out; what it finds is in the trial.
pub async fn outage(trial: &Trial, target: &dyn HaTarget, course: Course) -> Result<(), ScenarioError> {
    let goal = Goal::of(&trial.promise)?;
    promise(trial, course, &goal);
    target.prepare().await?;
    let work = Box::pin(under_load(trial, target, course, &goal));
    under_defect(trial, |id| target.sabotage(id), |id| target.undo_sabotage(id), work).await
}

/// States the objective before anything happens.
fn promise(trial: &Trial, course: Course, goal: &Goal) {
    let [rto_ms, redundancy_ms, gap_ms] = [goal.rto, goal.redundancy, goal.sustained_gap].map(|limit| limit.as_secs_f64() * 1e3);
    let (within_s, lost_max) = (goal.rto.as_secs_f64(), goal.lost_max);
    let (writes, mut limits) = match course.service {
        Service::Returns => (
            format!("writes are acknowledged again within {within_s:.0} s, the fault still being there"),
            vec![NamedLimit::at_most("first_success", rto_ms, "ms")],
        ),
        Service::Continues => {
            (format!("writes go on without a gap of more than {within_s:.0} s"), vec![NamedLimit::at_most("longest_gap", rto_ms, "ms")])
        }
        Service::Ceases(within) => (
            format!(
                "no write is acknowledged later than {:.0} s after the fault was confirmed, and they are back within {within_s:.0} s of its healing",
                within.as_secs_f64()
            ),
            vec![NamedLimit::at_most("ceased_after", within.as_secs_f64() * 1e3, "ms"), NamedLimit::at_most("first_success", rto_ms, "ms")],
        ),
    };
    limits.push(NamedLimit::at_most("redundancy_after_healing", redundancy_ms, "ms"));
    limits.push(NamedLimit::at_most("acknowledged_lost", lost_max as f64, "operations"));
    let mut statement = format!(
        "{writes}; redundancy is whole within {:.0} s of the healing; at most {lost_max} acknowledged writes are lost",
        goal.redundancy.as_secs_f64()
    );
    // Where writes have to cease there is nobody who could carry on.
    if !matches!(course.service, Service::Ceases(_)) {
        limits.push(NamedLimit::at_most("sustained_gap", gap_ms, "ms"));
        statement = format!("{statement}; once writes are back they go on without a gap of more than {:.0} s", gap_ms / 1e3);
    }
    if let Some(lag_ms) = trial.promise.lag_ms_max {
        limits.push(NamedLimit::at_most("lag_max", lag_ms as f64, "ms"));
        statement = format!("{statement}; in quiet the copy elsewhere is at most {:.1} s behind", lag_ms as f64 / 1e3);
    }
    if let Some(clients) = trial.promise.clients_served_min {
        limits.push(NamedLimit::at_least("clients_served", clients as f64, "clients"));
        statement = format!("{statement}; {clients} clients are served at the end");
    }
    if let Some(writable) = goal.writable_max {
        limits.push(NamedLimit::at_most("writable_primaries", writable as f64, "nodes"));
        statement = format!("{statement}; never more than {writable} node accepts writes");
    }
    trial.promise_limits(statement, limits);
}

async fn under_load(trial: &Trial, target: &dyn HaTarget, course: Course, goal: &Goal) -> Result<(), ScenarioError> {
    let loads = Loads::start(trial, target).await?;
    trial.note("phase", format!("{CLIENTS} clients insert"));
    sleep(BASELINE).await;
    loads.are_served(SERVED_LIMIT).await;
    let Strike { fault, hit } = target.strike().await?;
    let outcome = struck(trial, target, course, goal, fault, &hit, loads.inserts()).await;
    let loads = loads.stop().await?;
    let Ending::Through { served_ms } = outcome? else { return Ok(()) };
    judge::durability_of(trial, target, loads.inserts(), goal.lost_max as f64).await?;
    judge::copies(trial, target, &hit, loads.inserts()).await?;
    judge::loads(trial, &loads, course.reaction, served_ms)?;
    target.check_further(trial, &hit).await
}

/// How far a trial went.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Ending {
    /// To its end.
    Through {
        /// From when on service was back (where it had to cease: after the healing), in the trial's milliseconds; [`None`]: it never was.
        served_ms: Option<f64>,
    },
    /// A proof's sabotage was noticed; the rest would only wait.
    Proven,
}

async fn struck(
    trial: &Trial,
    target: &dyn HaTarget,
    course: Course,
    goal: &Goal,
    fault: Box<dyn Fault>,
    hit: &[Node],
    recorder: &Recorder,
) -> Result<Ending, ScenarioError> {
    let injected = inject(fault, trial.origin()).await?;
    let injected_ms = injected.injected_ms();
    let confirmed = match injected.confirm(CONFIRM_LIMIT).await {
        Ok(confirmed) => confirmed,
        Err(unconfirmed) => {
            let record = unconfirmed.heal().await?.confirm(CONFIRM_LIMIT).await;
            trial.fault(&record);
            let message = format!("no probe saw the {} of {}: {}", record.kind, record.target, record.confirmed_by);
            trial.find(Finding::unconfirmed("fault-unconfirmed", message));
            return Ok(Ending::Through { served_ms: None });
        }
    };
    trial.note("fault", format!("{}: {}", confirmed.record().target, confirmed.record().confirmed_by));
    let during = while_it_lasts(trial, target, course, goal, &confirmed, hit, recorder).await;
    // Whatever was seen or could not be seen, what is broken is mended.
    let healing_ms = trial.now_ms();
    let healed = confirmed.heal().await?;
    let clocks = match during {
        Ok(Some(clocks)) => clocks,
        Ok(None) => {
            trial.fault(&healed.confirm(CONFIRM_LIMIT).await);
            return Ok(Ending::Proven);
        }
        Err(error) => {
            trial.fault(&healed.confirm(CONFIRM_LIMIT).await);
            return Err(error);
        }
    };
    let record = healed.confirm(goal.redundancy + BEYOND).await;
    trial.note("fault", format!("{} was healed: {}", record.target, record.heal_confirmed_by));
    trial.fault(&record);
    if record.heal_confirmed_ms.is_none() {
        trial.find(Finding::unconfirmed("healing-unconfirmed", format!("no probe saw that {} was healed", record.target)));
    }
    let (clocks, served_ms) = match course.service {
        Service::Ceases(_) => {
            // Asked from the order to heal: the fault ends somewhere inside that order.
            first_success(recorder, healing_ms, stretched(goal.rto + BEYOND)).await;
            sleep(AFTERWARDS).await;
            let seen = availability(&recorder.operations()?, healing_ms, healing_ms, trial.now_ms());
            judge::recovery(trial, &seen, goal.rto, "the healing");
            let served_ms = seen.first_success_ms.map(|at| healing_ms + at);
            // The objective counts from the healing, the clocks from the injection.
            let since_injection = |ms: f64| ms + healing_ms - injected_ms;
            let clocks = Clocks {
                first_success_ms: seen.first_success_ms.map(since_injection),
                objective_regained_ms: seen.objective_regained_ms.map(since_injection),
                ..clocks
            };
            (clocks, served_ms)
        }
        Service::Returns | Service::Continues => {
            let settled_ms = course.settling.as_secs_f64() * 1e3;
            let served_ms = clocks.first_success_ms.map(|at| injected_ms + at.max(settled_ms));
            (clocks, served_ms)
        }
    };
    let redundancy_ms = regain_redundancy(trial, target, goal, hit, recorder, healing_ms).await;
    for node in hit.iter().take(2) {
        trial.excerpt(node, 30).await;
    }
    trial.clocks(Clocks { redundancy_regained_ms: redundancy_ms.map(|at| at - injected_ms), ..clocks });
    Ok(Ending::Through { served_ms })
}

/// What happens between the confirmed fault and its healing. [`None`]: a proof's sabotage was noticed.
async fn while_it_lasts(
    trial: &Trial,
    target: &dyn HaTarget,
    course: Course,
    goal: &Goal,
    fault: &Confirmed<Box<dyn Fault>>,
    hit: &[Node],
    recorder: &Recorder,
) -> Result<Option<Clocks>, ScenarioError> {
    let injected_ms = fault.record().injected_ms;
    let confirmed_ms = fault.record().confirmed_ms.unwrap_or(injected_ms);
    let waiting = goal.rto + BEYOND;
    let notice = async {
        let noticed = within("the platform's notice", waiting, Duration::from_millis(50), || target.has_noticed(hit)).await;
        noticed.map(|()| trial.now_ms() - injected_ms)
    };
    if let Service::Ceases(_) = course.service {
        let (noticed, ()) = tokio::join!(notice, sleep(course.hold));
        let detection_ms = judge::detection(trial, course.reaction, &noticed);
        target.check_during(trial, hit).await?;
        let last = ceased_after(&recorder.operations()?, confirmed_ms, trial.now_ms());
        return Ok(Some(judge::ceased(trial, last, detection_ms)));
    }
    let (noticed, served) = tokio::join!(notice, first_success(recorder, confirmed_ms, stretched(waiting)));
    let detection_ms = judge::detection(trial, course.reaction, &noticed);
    if served {
        trial.note("client", "an insert is acknowledged again");
        let lasted = || Duration::from_secs_f64(((trial.now_ms() - injected_ms) / 1e3).max(0.0));
        sleep(course.settling.saturating_sub(lasted())).await;
        trial.rest(trial.sustain().max(course.hold.saturating_sub(lasted()))).await;
        // The objective may have been regained long after the first acknowledgement.
        let now_ms = trial.now_ms();
        let seen = availability(&recorder.operations()?, injected_ms, confirmed_ms, now_ms);
        if let Some(from_ms) = sustained_from(&seen, injected_ms, course.settling) {
            let carried = Duration::from_secs_f64(((now_ms - from_ms) / 1e3).max(0.0));
            trial.rest(trial.sustain().saturating_sub(carried)).await;
        }
        target.check_during(trial, hit).await?;
    } else {
        trial.note("client", format!("no insert was acknowledged for {:.0} s", waiting.as_secs_f64()));
        // What is wrong during the fault may be the very reason. Where it cannot be asked either, the missing inserts speak for themselves.
        if let Err(error) = target.check_during(trial, hit).await {
            trial.note("client", format!("nor could be asked what is wrong: {error}"));
        }
    }
    let operations = recorder.operations()?;
    let until_ms = trial.now_ms();
    let seen = availability(&operations, injected_ms, confirmed_ms, until_ms);
    let in_time = match course.service {
        Service::Continues => judge::continuity(trial, &seen, goal.rto),
        _ => judge::recovery(trial, &seen, goal.rto, "the fault"),
    };
    // Failover is not the end: the survivors have to carry the load on.
    if served && let Some(from_ms) = sustained_from(&seen, injected_ms, course.settling) {
        judge::sustained(trial, longest_gap(&operations, from_ms, until_ms), (until_ms - from_ms) / 1e3);
    }
    // A proof has what it wants to know; whether redundancy comes back is for its undoing to see to.
    if !in_time && trial.sabotage.is_some_and(|sabotage| [RECOVERY_TOO_LATE, SERVICE_INTERRUPTED].contains(&sabotage.expects)) {
        return Ok(None);
    }
    Ok(Some(Clocks {
        detection_ms,
        first_success_ms: seen.first_success_ms,
        objective_regained_ms: seen.objective_regained_ms,
        redundancy_regained_ms: None,
    }))
}

/// From where on the survivors carry the load, in the trial's milliseconds; [`None`] where they never did.
fn sustained_from(seen: &Availability, injected_ms: f64, settling: Duration) -> Option<f64> {
    let first_ms = seen.first_success_ms?;
    Some(injected_ms + seen.objective_regained_ms.unwrap_or(first_ms).max(first_ms).max(settling.as_secs_f64() * 1e3))
}

/// Waits until every node has its role and every copy is complete; when that was, in the trial's milliseconds.
async fn regain_redundancy(
    trial: &Trial,
    target: &dyn HaTarget,
    goal: &Goal,
    hit: &[Node],
    recorder: &Recorder,
    healing_ms: f64,
) -> Option<f64> {
    let limit = redundancy_limit(trial.sabotage.map(|sabotage| sabotage.expects), goal.redundancy);
    let whole = within("redundancy", limit, REDUNDANCY_EVERY, || judge::is_whole(target, hit, recorder)).await;
    let at = whole.as_ref().ok().map(|()| trial.now_ms());
    if at.is_some() {
        trial.note("role", "every node has its role, every copy is complete");
        sleep(AFTERWARDS).await;
    }
    let took_ms = at.map(|at| at - healing_ms);
    if trial.measure("redundancy_after_healing", took_ms, "ms").met != Some(true) {
        let message = match whole {
            Ok(()) => format!("redundancy was whole only {:.1} s after the healing", took_ms.unwrap_or_default() / 1e3),
            Err(error) => format!("redundancy was not regained: {}", error.last),
        };
        trial.find(Finding::violation(REDUNDANCY_NOT_REGAINED, message));
    }
    at
}

/// How long redundancy is waited for. Only after the whole objective is a defect that keeps it away told from a slow recovery; `expects`: the
/// finding that a proof is after.
fn redundancy_limit(expects: Option<&str>, objective: Duration) -> Duration {
    match expects {
        None => objective + BEYOND,
        Some(REDUNDANCY_NOT_REGAINED) => objective,
        Some(_other) => objective.min(PROOF_REDUNDANCY),
    }
}

/// Waits until an insert that began after `since_ms` is acknowledged.
async fn first_success(recorder: &Recorder, since_ms: f64, limit: Duration) -> bool {
    let acknowledged = async {
        while !recorder.has_acknowledged_since((since_ms * 1e6) as u64) {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(limit, acknowledged).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_that_redundancy_stays_away_waits_for_the_whole_objective() {
        let objective = Duration::from_secs(90);
        assert_eq!(redundancy_limit(Some("redundancy-not-regained"), objective), objective);
        assert_eq!(redundancy_limit(Some("acknowledged-writes-lost"), objective), PROOF_REDUNDANCY);
        assert_eq!(redundancy_limit(Some("acknowledged-writes-lost"), Duration::from_secs(30)), Duration::from_secs(30));
        assert_eq!(redundancy_limit(None, objective), Duration::from_secs(100));
    }
}
