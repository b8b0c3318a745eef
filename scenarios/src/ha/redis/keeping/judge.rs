//! What of each server's data had to come back.

use dora_fixtures::catalogue::{Clause, Unpromised};
use dora_harness::{
    check::{Durability, durability},
    database::redis::Keeping,
    history::Operation,
};
use dora_reports::evidence::{Finding, NamedLimit};

use super::server::{Crash, inserts_within};
use crate::{Trial, ha::judge::witness};

/// How many acknowledged writes may be gone at a level; [`None`]: no bound but that of the snapshot, or none at all.
///
/// # Errors
/// [`Unpromised`] where the catalogue states neither how many nor of what time.
pub fn lost_max(clause: &Clause, keeping: Keeping, crash: Crash) -> Result<Option<u64>, Unpromised> {
    if keeping == Keeping::Snapshots || (keeping == Keeping::Never && crash == Crash::Power) {
        return Ok(None);
    }
    let promise = clause.objective_for(keeping.name());
    promise.acknowledged_lost_max.map_or_else(|| promise.loss_window_ms_max().map(inserts_within), Ok).map(Some)
}

/// Name of the measure of one level.
fn measure(keeping: Keeping) -> String {
    format!("lost_{keeping}")
}

fn name_of(crash: Crash) -> &'static str {
    match crash {
        Crash::Process => "a process crash",
        Crash::Power => "a loss of power",
    }
}

/// States what each level has to keep.
///
/// # Errors
/// As [`lost_max`].
pub fn promise(trial: &Trial, clause: &Clause, crash: Crash) -> Result<(), Unpromised> {
    let mut limits = Vec::new();
    for keeping in Keeping::ALL {
        if let Some(most) = lost_max(clause, keeping, crash)? {
            limits.push(NamedLimit::at_most(measure(keeping), most as f64, "operations"));
        }
    }
    limits.push(NamedLimit::at_most("lost_before_snapshot", 0.0, "operations"));
    let each: Vec<String> = limits.iter().map(|limit| format!("{} ≤ {}", limit.name.replace('_', " "), limit.value)).collect();
    trial.promise_limits(format!("after {}: {}", name_of(crash), each.join(", ")), limits);
    Ok(())
}

/// Judges one server: what it acknowledged against what it has.
pub fn level(trial: &Trial, (keeping, crash): (Keeping, Crash), operations: &[Operation], present: &[u64]) -> Durability {
    let result = durability(operations, present);
    let lost = result.lost.len() as f64;
    trial.measure(&format!("acknowledged_{keeping}"), Some(result.acknowledged as f64), "operations");
    let measured = trial.measure(&measure(keeping), Some(lost), "operations");
    if measured.met == Some(false) {
        let most = measured.limit.map(|limit| limit.value).unwrap_or_default();
        let message = format!("{keeping}: {lost} acknowledged writes are gone after {}; {most} are allowed", name_of(crash));
        trial.find(Finding::violation("acknowledged-writes-lost", message).with_witness(witness(&result.lost)));
    }
    if !result.phantom.is_empty() || !result.duplicated.is_empty() {
        let message = format!("{keeping}: {} values are there that were refused, {} twice", result.phantom.len(), result.duplicated.len());
        trial.find(Finding::violation("phantom-writes", message));
    }
    if keeping == Keeping::Never && crash == Crash::Power && result.lost.is_empty() {
        let message = "without flushes nothing was lost, so the power was not";
        trial.find(Finding::unconfirmed("nothing-lost", message));
    }
    if result.acknowledged == 0 {
        trial.find(Finding::unconfirmed("no-load", format!("{keeping}: no write was acknowledged, so nothing was tried")));
    }
    result
}

/// Judges the snapshot: what was acknowledged before it began (nanoseconds) is in it; something that came later is gone.
pub fn snapshot(trial: &Trial, operations: &[Operation], result: &Durability, begun: u64) {
    let is_before = |value: &u64| {
        operations
            .iter()
            .any(|operation| operation.number() == Some(*value) && operation.completed.is_some_and(|completed| completed < begun))
    };
    let (before, after): (Vec<u64>, Vec<u64>) = result.lost.iter().copied().partition(is_before);
    trial.measure("lost_before_snapshot", Some(before.len() as f64), "operations");
    trial.measure("lost_after_snapshot", Some(after.len() as f64), "operations");
    if !before.is_empty() {
        let message = format!("{} writes that were acknowledged before the snapshot began are not in it", before.len());
        trial.find(Finding::violation("snapshot-writes-lost", message).with_witness(witness(&before)));
    }
    if after.is_empty() {
        trial.find(Finding::unconfirmed(
            "nothing-lost",
            "without an append-only file nothing that came after the snapshot was lost, so the crash was none",
        ));
    }
}

#[cfg(test)]
mod tests {
    use dora_fixtures::catalogue::Catalogue;

    use super::*;

    #[test]
    fn the_catalogue_says_what_each_level_may_lose() {
        let catalogue = Catalogue::load();
        let clause = catalogue.get("HA-RDS-3").unwrap();
        for keeping in Keeping::ALL {
            for crash in [Crash::Process, Crash::Power] {
                assert!(lost_max(clause, keeping, crash).is_ok(), "{keeping} after {}", name_of(crash));
            }
        }
        assert_eq!(lost_max(clause, Keeping::Always, Crash::Power), Ok(Some(0)));
        assert_eq!(lost_max(clause, Keeping::Snapshots, Crash::Power), Ok(None));
    }
}
