//! Keys in the slots that move, and what must become of them.

use std::collections::BTreeSet;

use dora_harness::{
    check::{Answer, Checked, Model, judge},
    database::redis::{Account, PORT, Shard, Sharded, ask},
    history::Operation,
    topology::Node,
    workload::{Client, Monotonic, Pace},
};
use dora_reports::evidence::Finding;
use redis::aio::MultiplexedConnection;

use super::clients::{Registers, Shards};
use crate::{ScenarioError, Trial, ha::CheckedLoad};

/// Slots that move.
pub const SLOTS_MOVED: usize = 400;
/// A command was not answered although both owners were there.
pub const REFUSED: &str = "refused-while-resharding";
/// A key that lay still is not there any more.
pub const KEYS_LOST: &str = "keys-lost";
/// Different slots among those that move, of the keys that are watched.
const TAGS: usize = 40;
/// Names that are tried for such tags: each has its slot among those that move with a chance of one in forty.
const CANDIDATES: usize = 4_000;
/// Keys that lie still in each of these slots.
const STILL_PER_TAG: u64 = 15;
/// Clients that write registers, and as many that read them.
const WRITERS: usize = 2;

/// Names for keys, half of them in slots that move.
#[derive(Debug, Clone)]
pub struct MovedKeys {
    tags: Vec<String>,
}

impl MovedKeys {
    /// Finds tags whose slots are among the first of this shard.
    pub async fn of(cluster: &Sharded, from: &Shard) -> Result<Self, ScenarioError> {
        let slots: BTreeSet<u16> = from.first_slots(SLOTS_MOVED).into_iter().collect();
        let candidates: Vec<String> = (0..CANDIDATES).map(|n| format!("t{n}")).collect();
        let found = slots_of(cluster, from, &candidates).await?;
        let tags: Vec<String> =
            candidates.into_iter().zip(found).filter(|(_, slot)| slots.contains(slot)).map(|(tag, _)| tag).take(TAGS).collect();
        if tags.is_empty() {
            return Err(ScenarioError::client("find keys in the slots that move", "no tag of those tried has its slot there"));
        }
        Ok(Self { tags })
    }

    fn tag(&self, number: u64) -> &str {
        &self.tags[usize::try_from(number).unwrap_or(0) % self.tags.len()]
    }

    /// The key of an insert: every second one is in a slot that moves.
    pub fn insert(&self, value: u64) -> String {
        if value.is_multiple_of(2) { format!("app:ha:ins:{{{}}}:{value}", self.tag(value / 2)) } else { format!("app:ha:ins:{value}") }
    }

    /// The value of an insert's key.
    pub fn value(key: &str) -> Option<u64> {
        key.strip_prefix("app:ha:ins:")?.rsplit(':').next()?.parse().ok()
    }

    /// A register in a slot that moves.
    pub fn register(&self, number: u64) -> String {
        format!("app:ha:{{{}}}:register:{number}", self.tag(number))
    }

    /// The keys that lie still in one of the slots.
    pub fn still_of(&self, tag: usize) -> Vec<String> {
        (0..STILL_PER_TAG).map(|n| format!("app:ha:{{{}}}:still:{n}", self.tags[tag % self.tags.len()])).collect()
    }

    fn still(&self) -> Vec<String> {
        (0..self.tags.len()).flat_map(|tag| self.still_of(tag)).collect()
    }

    /// Writes the keys that lie still, through their owner.
    pub async fn load_still(&self, cluster: &Sharded, owner: &Shard) -> Result<(), ScenarioError> {
        let mut connection = connect(cluster, owner, Account::App).await?;
        let mut pipeline = redis::pipe();
        for key in self.still() {
            pipeline.cmd("SET").arg(&key).arg(&key).ignore();
        }
        pipeline.query_async(&mut connection).await.map_err(|error| ScenarioError::client("write the keys that lie still", error))
    }

    /// The registers' load: who writes, who reads, and that every command is answered.
    pub async fn load(&self, cluster: &Sharded, redirections: u32) -> Result<CheckedLoad, ScenarioError> {
        let shards = Shards::several(cluster, redirections, 2 * WRITERS).await?;
        let client = |shards| Box::new(Registers { shards, keys: self.clone() }) as Box<dyn Client>;
        Ok(CheckedLoad {
            name: "registers",
            clients: shards.into_iter().map(client).collect(),
            generator: Box::new(Monotonic::new(WRITERS)),
            pace: Pace::default(),
            judge: Box::new(all_answered_and_monotonic),
        })
    }

    /// Every key that lay still is read through the driver's client.
    pub async fn check_still(&self, trial: &Trial, cluster: &Sharded) -> Result<(), ScenarioError> {
        let mut shards = Shards::of(cluster, super::target::REDIRECTIONS).await?;
        let mut lost = Vec::new();
        let keys = self.still();
        for key in &keys {
            let value: Result<Option<String>, _> = shards.ask(&["GET", key]).await;
            match value {
                Ok(value) if value.as_ref() == Some(key) => {}
                Ok(_) => lost.push(key.clone()),
                Err(outcome) => return Err(ScenarioError::client("read a key that lay still", format!("{outcome:?}"))),
            }
        }
        trial.measure("keys_read", Some(keys.len() as f64), "keys");
        trial.measure("keys_lost", Some(lost.len() as f64), "keys");
        if !lost.is_empty() {
            let message = format!("{} of {} keys that lay still in the slots that moved are gone", lost.len(), keys.len());
            lost.truncate(10);
            trial.find(Finding::violation(KEYS_LOST, message).with_witness(lost.join(", ")));
        }
        Ok(())
    }
}

/// How many keys a node holds in these slots.
pub async fn keys_in(cluster: &Sharded, owner: &Shard, slots: &[u16]) -> Result<u64, ScenarioError> {
    let mut connection = connect(cluster, owner, Account::Admin).await?;
    let mut pipeline = redis::pipe();
    for slot in slots {
        pipeline.cmd("CLUSTER").arg("COUNTKEYSINSLOT").arg(*slot);
    }
    let counts: Vec<u64> =
        pipeline.query_async(&mut connection).await.map_err(|error| ScenarioError::client("count the keys that moved", error))?;
    Ok(counts.iter().sum())
}

/// The slots of these names, by the word of a node.
pub async fn slots_of(cluster: &Sharded, at: &Shard, names: &[String]) -> Result<Vec<u16>, ScenarioError> {
    let mut connection = connect(cluster, at, Account::App).await?;
    let mut pipeline = redis::pipe();
    for name in names {
        pipeline.cmd("CLUSTER").arg("KEYSLOT").arg(name);
    }
    pipeline.query_async(&mut connection).await.map_err(|error| ScenarioError::client("ask for slots", error))
}

/// A connection to a shard's master itself.
pub async fn connect(cluster: &Sharded, shard: &Shard, account: Account) -> Result<MultiplexedConnection, ScenarioError> {
    let connected = cluster.access().connect(shard.master.socket(PORT), account).await;
    connected.map_err(|error| ScenarioError::client(format!("connect to {}", shard.master.name()), error))
}

/// All keys that match, master by master: one that two masters hold shows twice.
pub async fn scan(cluster: &Sharded, pattern: &str) -> Result<Vec<(Shard, Vec<String>)>, ScenarioError> {
    let mut all = Vec::new();
    for shard in cluster.shards().await.map_err(|error| ScenarioError::client("ask for the shards", error))? {
        let keys = scan_node(cluster, &shard.master, pattern).await?;
        all.push((shard, keys.into_iter().collect()));
    }
    Ok(all)
}

/// The keys that match and that one node, master or replica, holds itself.
pub async fn scan_node(cluster: &Sharded, node: &Node, pattern: &str) -> Result<BTreeSet<String>, ScenarioError> {
    let failed = |error: redis::RedisError| ScenarioError::client(format!("list the keys of {}", node.name()), error);
    let mut connection = cluster.access().connect(node.socket(PORT), Account::Admin).await.map_err(failed)?;
    // SCAN may name a key twice.
    let (mut keys, mut cursor) = (BTreeSet::new(), "0".to_owned());
    loop {
        let (next, found): (String, Vec<String>) =
            ask(&mut connection, &["SCAN", &cursor, "MATCH", pattern, "COUNT", "1000"]).await.map_err(failed)?;
        keys.extend(found);
        if next == "0" {
            return Ok(keys);
        }
        cursor = next;
    }
}

fn all_answered_and_monotonic(operations: &[Operation]) -> Checked {
    let checked = judge(Model::MonotonicReads, operations);
    let Some(refused) = operations.iter().find(|operation| operation.completed.is_some() && !operation.is_ok()) else { return checked };
    let count = operations.iter().filter(|operation| operation.completed.is_some() && !operation.is_ok()).count();
    let answer = Answer::Violated {
        finding: REFUSED,
        message: format!("{count} of {} commands on keys in the slots that moved were not carried out", operations.len()),
        witness: format!("{} {}: {:?}", refused.f, refused.value, refused.outcome),
    };
    Checked { answer, ..checked }
}

#[cfg(test)]
mod tests {
    use dora_harness::history::Outcome;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_tells_its_value() {
        let keys = MovedKeys { tags: vec!["t7".into()] };
        assert_eq!(keys.insert(4), "app:ha:ins:{t7}:4");
        for value in [4, 5] {
            assert_eq!(MovedKeys::value(&keys.insert(value)), Some(value));
        }
        assert_eq!(MovedKeys::value("app:ha:{t7}:still:3"), None);
    }

    #[test]
    fn a_command_that_was_not_carried_out_is_found() {
        let operation = |f: &'static str, value: serde_json::Value, at: u64, outcome: Outcome| Operation {
            index: at,
            process: u32::from(f == "read"),
            f: f.into(),
            value: value.clone(),
            returned: value,
            invoked: at,
            completed: Some(at + 1),
            outcome,
        };
        let good = vec![operation("write", json!([0, 1]), 0, Outcome::Ok), operation("read", json!([0, 1]), 10, Outcome::Ok)];
        assert_eq!(all_answered_and_monotonic(&good).answer, Answer::Holds);
        let refused = [good, vec![operation("read", json!([0, null]), 20, Outcome::Fail("MOVED 3 127.0.0.1:6379".into()))]].concat();
        assert!(matches!(all_answered_and_monotonic(&refused).answer, Answer::Violated { finding: REFUSED, .. }));
    }
}
