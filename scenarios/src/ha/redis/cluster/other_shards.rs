//! While one shard is away: do the others go on?

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dora_harness::{
    check::{Answer, Checked, longest_gap},
    database::redis::Sharded,
    history::Operation,
    workload::{Adds, Client, Pace},
};
use dora_reports::evidence::Finding;

use super::clients::{Alternating, Shards};
use crate::{ScenarioError, Trial, ha::CheckedLoad};

/// The other shards' keys were away for longer than it takes to promote the one replica.
pub const INTERRUPTED: &str = "other-shards-interrupted";
/// With `cluster-require-full-coverage` all stop from the moment in which the master counts as failed until its replica is promoted.
const GAP_MAX: Duration = Duration::from_secs(4);

/// The load on the other shards, and what it saw.
#[derive(Default)]
pub struct OtherShards {
    operations: Arc<Mutex<Vec<Operation>>>,
}

impl OtherShards {
    /// Two clients that append to these lists.
    pub async fn load(&self, cluster: &Sharded, lists: &[String]) -> Result<CheckedLoad, ScenarioError> {
        let shards = Shards::several(cluster, 0, 2).await?;
        let client = |shards| Box::new(Alternating { shards, lists: lists.to_vec() }) as Box<dyn Client>;
        let seen = Arc::clone(&self.operations);
        Ok(CheckedLoad {
            name: "other-shards",
            clients: shards.into_iter().map(client).collect(),
            generator: Box::new(Adds::default()),
            pace: Pace::default(),
            judge: Box::new(move |operations| {
                *seen.lock().unwrap_or_else(PoisonError::into_inner) = operations.to_vec();
                Checked { model: "other-shards", operations: operations.len() as u64, answer: decide(operations) }
            }),
        })
    }

    /// After the load: how long nothing was acknowledged there, and that nothing is lost. `present`: what the lists hold.
    pub fn report(&self, trial: &Trial, present: &BTreeSet<u64>) {
        let operations = self.operations.lock().unwrap_or_else(PoisonError::into_inner);
        trial.measure("other_shards_longest_gap", gap_ms(&operations), "ms");
        let acknowledged = operations.iter().filter(|operation| operation.is_ok()).filter_map(Operation::number);
        let lost = acknowledged.filter(|value| !present.contains(value)).count();
        trial.measure("other_shards_lost", Some(lost as f64), "operations");
        if lost > 0 {
            let message = format!("{lost} acknowledged writes to shards that were not struck are gone");
            trial.find(Finding::violation("other-shards-lost", message));
        }
    }
}

/// The longest time without an acknowledged write, from the first to the last operation.
fn gap_ms(operations: &[Operation]) -> Option<f64> {
    let ms = |ns: u64| ns as f64 / 1e6;
    let first = operations.iter().map(|operation| operation.invoked).min()?;
    let last = operations.iter().filter_map(|operation| operation.completed).max()?;
    Some(longest_gap(operations, ms(first), ms(last)))
}

fn decide(operations: &[Operation]) -> Answer {
    match gap_ms(operations) {
        None => Answer::Unknown("nothing was sent to the other shards".into()),
        Some(gap) if gap > GAP_MAX.as_secs_f64() * 1e3 => Answer::Violated {
            finding: INTERRUPTED,
            message: format!("nothing was acknowledged on the other shards for {:.1} s; {} s are allowed", gap / 1e3, GAP_MAX.as_secs()),
            witness: operations.iter().find(|operation| !operation.is_ok()).map(|first| format!("{:?}", first.outcome)).unwrap_or_default(),
        },
        Some(_) => Answer::Holds,
    }
}

#[cfg(test)]
mod tests {
    use dora_harness::history::Outcome;

    use super::*;

    fn history(away_ms: std::ops::Range<u64>) -> Vec<Operation> {
        (0..200_u64)
            .map(|n| {
                let outcome = if away_ms.contains(&(n * 50)) { Outcome::Fail("CLUSTERDOWN".into()) } else { Outcome::Ok };
                let (invoked, completed) = (n * 50_000_000, Some(n * 50_000_000 + 1_000_000));
                Operation { index: n, process: 0, f: "add".into(), value: n.into(), returned: n.into(), invoked, completed, outcome }
            })
            .collect()
    }

    #[test]
    fn a_long_interruption_is_found_and_a_short_one_is_allowed() {
        assert_eq!(decide(&history(2_000..4_000)), Answer::Holds);
        assert!(matches!(decide(&history(2_000..7_000)), Answer::Violated { finding: INTERRUPTED, .. }));
        assert!(matches!(decide(&[]), Answer::Unknown(_)));
    }
}
