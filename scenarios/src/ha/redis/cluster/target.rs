//! The Cluster as a target.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use dora_harness::{
    database::{
        Cluster as _,
        redis::{Account, PORT, Resharding, Shard, Sharded, ask},
    },
    fault::{Fault, Kill, Together},
    platform::all_healthy,
    topology::Node,
    workload::InsertClient,
};
use dora_reports::evidence::Finding;
use futures_util::future::try_join_all;

use super::{
    Case, KEYS_DROPPED, REDIRECTIONS_IGNORED,
    clients::{KeyInserter, ListAppender, Shards},
    moved_keys::{MovedKeys, SLOTS_MOVED, connect, keys_in, scan, scan_node, slots_of},
    other_shards::OtherShards,
    sabotage,
};
use crate::{
    ScenarioError, Trial,
    ha::{CheckedLoad, HaTarget, Strike, is_hit, lacking, outage},
};

/// How often a command is sent on to the node that an answer names.
pub const REDIRECTIONS: u32 = 5;
/// The keys of inserts, where each has its own.
const INSERTED: &str = "app:ha:ins:*";
/// Somebody answers for slots whose owners are gone.
const ORPHANS_SERVED: &str = "orphaned-slot-served";

/// Carries the case out.
pub async fn run(trial: &Trial, case: Case) -> Result<(), ScenarioError> {
    let target = Target::of(trial, case).await?;
    let outcome = outage(trial, &target, case.course()).await;
    // Whatever came of it, the Cluster is handed back as it is configured.
    sabotage::set_coverage(&target.cluster, Case::MasterKilled.coverage()).await.ok();
    outcome
}

struct Target<'a> {
    trial: &'a Trial,
    case: Case,
    cluster: Arc<Sharded>,
    /// As they were at the beginning, in the order of their slots.
    shards: Vec<Shard>,
    /// A list in each of them.
    lists: Vec<String>,
    keys: MovedKeys,
    other_shards: OtherShards,
}

impl<'a> Target<'a> {
    async fn of(trial: &'a Trial, case: Case) -> Result<Self, ScenarioError> {
        let cluster = trial.platform().redis.sharded.get().await;
        let cluster = cluster.ok_or_else(|| ScenarioError::Missing("there is no Redis Cluster in this run".into()))?;
        let shards = cluster.shards().await.map_err(|error| ScenarioError::client("ask for the shards", error))?;
        let Some(first) = shards.first() else { return Err(ScenarioError::client("find a shard", "no slot has an owner")) };
        let keys = MovedKeys::of(&cluster, first).await?;
        let names: Vec<String> = (0..100).map(|n| format!("app:ha:list:{n}")).collect();
        let slots = slots_of(&cluster, first, &names).await?;
        let list_in = |shard: &Shard| names.iter().zip(&slots).find(|(_, slot)| shard.owns(**slot)).map(|(name, _)| name.clone());
        let lists: Vec<String> = shards.iter().filter_map(list_in).collect();
        if lists.len() != shards.len() || shards.len() < 2 {
            return Err(ScenarioError::client("find a key in every shard", format!("{} of {} have one", lists.len(), shards.len())));
        }
        Ok(Self { trial, case, cluster, shards, lists, keys, other_shards: OtherShards::default() })
    }

    fn struck(&self) -> &Shard {
        &self.shards[0]
    }

    fn redirections(&self) -> u32 {
        if self.trial.is_sabotaged_by(REDIRECTIONS_IGNORED) { 0 } else { REDIRECTIONS }
    }

    /// The values of lists, read through the driver's client.
    async fn values(&self, lists: &[String]) -> Result<Vec<u64>, ScenarioError> {
        let mut shards = Shards::of(&self.cluster, REDIRECTIONS).await?;
        let mut values = Vec::new();
        for list in lists {
            let read: Result<Vec<u64>, _> = shards.ask(&["LRANGE", list, "0", "-1"]).await;
            values.extend(read.map_err(|outcome| ScenarioError::client("read a list", format!("{outcome:?}")))?);
        }
        Ok(values)
    }

    /// The inserted values that a node, master or replica, holds itself.
    async fn held_by(&self, node: Node) -> Result<(Node, BTreeSet<u64>), ScenarioError> {
        if self.case == Case::Resharding {
            let keys = scan_node(&self.cluster, &node, INSERTED).await?;
            return Ok((node, keys.iter().filter_map(|key| MovedKeys::value(key)).collect()));
        }
        let list = &self.lists[self.case.inserts_at()];
        let read = async {
            let mut connection = self.cluster.access().connect(node.socket(PORT), Account::App).await?;
            // Without this a replica sends clients on to its master.
            ask::<()>(&mut connection, &["READONLY"]).await?;
            ask::<Vec<u64>>(&mut connection, &["LRANGE", list, "0", "-1"]).await
        };
        let held = read.await.map_err(|error| ScenarioError::client(format!("read the list of {}", node.name()), error))?;
        Ok((node, held.into_iter().collect()))
    }

    /// Whether inserts go to this shard, whoever of its nodes leads it now.
    fn has_inserts(&self, shard: &Shard) -> bool {
        let before = &self.shards[self.case.inserts_at()];
        let is_of_it = std::iter::once(&before.master).chain(&before.replicas).any(|node| node.name() == shard.master.name());
        self.case == Case::Resharding || is_of_it
    }

    /// The slots' new owner has their keys.
    async fn check_moved(&self) -> Result<(), ScenarioError> {
        let moved = keys_in(&self.cluster, &self.shards[1], &self.struck().first_slots(SLOTS_MOVED)).await?;
        self.trial.measure("keys_moved", Some(moved as f64), "keys");
        if moved == 0 {
            self.trial.find(Finding::unconfirmed("no-keys-moved", "the slots that moved had no keys, so nothing was tried"));
        }
        if self.trial.is_sabotaged_by(KEYS_DROPPED) {
            let mut owner = connect(&self.cluster, &self.shards[1], Account::App).await?;
            for key in self.keys.still_of(0) {
                ask::<()>(&mut owner, &["DEL", &key]).await.map_err(|error| ScenarioError::client("drop a key", error))?;
            }
        }
        Ok(())
    }

    /// What the nodes that are left say of the slots that nobody has, and of their own.
    async fn check_orphans(&self, hit: &[Node]) -> Result<(), ScenarioError> {
        for (shard, list) in self.shards.iter().zip(&self.lists).skip(1) {
            let state = self.cluster.cluster_field(&shard.master, "cluster_state").await;
            let state = state.map_err(|error| ScenarioError::client("ask for the state of the Cluster", error))?;
            let mut connection = connect(&self.cluster, shard, Account::App).await?;
            let orphan: redis::RedisResult<u64> = ask(&mut connection, &["LLEN", &self.lists[0]]).await;
            let own: redis::RedisResult<u64> = ask(&mut connection, &["LLEN", list]).await;
            let told = |answer: &redis::RedisResult<u64>| answer.as_ref().map_or_else(ToString::to_string, |_| "answered".to_owned());
            self.trial.note(
                "role",
                format!("{}: Cluster {state}; a key without owner: {}; its own key: {}", shard.master.name(), told(&orphan), told(&own)),
            );
            if orphan.is_ok() {
                let names: Vec<&str> = hit.iter().map(Node::name).collect();
                let message = format!("{} answers for a key whose owners {} are gone", shard.master.name(), names.join(", "));
                self.trial.find(Finding::violation(ORPHANS_SERVED, message));
            }
        }
        Ok(())
    }
}

#[async_trait]
impl HaTarget for Target<'_> {
    async fn prepare(&self) -> Result<(), ScenarioError> {
        sabotage::set_coverage(&self.cluster, self.case.coverage()).await?;
        for (shard, keys) in scan(&self.cluster, "app:ha:*").await? {
            let mut connection = connect(&self.cluster, &shard, Account::App).await?;
            for key in keys {
                let removed = ask::<()>(&mut connection, &["DEL", &key]).await;
                removed.map_err(|error| ScenarioError::client("remove the keys of an earlier trial", error))?;
            }
        }
        if self.case == Case::Resharding { self.keys.load_still(&self.cluster, self.struck()).await } else { Ok(()) }
    }

    async fn clients(&self, count: usize) -> Result<Vec<Box<dyn InsertClient>>, ScenarioError> {
        let redirections = if self.case == Case::Resharding { self.redirections() } else { 0 };
        let client = |shards| -> Box<dyn InsertClient> {
            match self.case {
                Case::Resharding => Box::new(KeyInserter { shards, keys: self.keys.clone() }),
                case => Box::new(ListAppender { shards, list: self.lists[case.inserts_at()].clone() }),
            }
        };
        Ok(Shards::several(&self.cluster, redirections, count).await?.into_iter().map(client).collect())
    }

    async fn loads(&self) -> Result<Vec<CheckedLoad>, ScenarioError> {
        Ok(match self.case {
            Case::MasterKilled => vec![self.other_shards.load(&self.cluster, &self.lists[1..]).await?],
            Case::Resharding => vec![self.keys.load(&self.cluster, self.redirections()).await?],
            Case::SlotOutage { .. } => Vec::new(),
        })
    }

    async fn strike(&self) -> Result<Strike, ScenarioError> {
        let killed = |node: &Node, role: &str| Box::new(Kill::new(node.clone(), role, PORT)) as Box<dyn Fault>;
        let struck = self.struck();
        Ok(match self.case {
            Case::MasterKilled => Strike { fault: killed(&struck.master, "master of a shard"), hit: vec![struck.master.clone()] },
            Case::Resharding => {
                let fault = Resharding::new(Arc::clone(&self.cluster), struck.clone(), self.shards[1].clone(), SLOTS_MOVED);
                Strike { fault: Box::new(fault), hit: Vec::new() }
            }
            Case::SlotOutage { .. } => {
                let hit: Vec<Node> = std::iter::once(&struck.master).chain(&struck.replicas).cloned().collect();
                let faults = hit.iter().map(|node| killed(node, "node of one shard")).collect();
                Strike { fault: Box::new(Together::new(faults)), hit }
            }
        })
    }

    async fn has_noticed(&self, hit: &[Node]) -> Result<(), String> {
        if hit.is_empty() {
            return Ok(());
        }
        let witness = &self.shards[1].master;
        let shards = self.cluster.shards_at(witness).await.map_err(|error| error.to_string())?;
        if shards.iter().any(|shard| shard.master.name() == self.struck().master.name()) {
            return Err(format!("{} does not hold {} for failed", witness.name(), self.struck().master.name()));
        }
        Ok(())
    }

    async fn is_redundant(&self, _hit: &[Node]) -> Result<(), String> {
        all_healthy(&self.cluster.health().await)
    }

    async fn present(&self) -> Result<Vec<u64>, ScenarioError> {
        if self.case == Case::Resharding {
            let keys = scan(&self.cluster, INSERTED).await?;
            return Ok(keys.iter().flat_map(|(_, keys)| keys).filter_map(|key| MovedKeys::value(key)).collect());
        }
        self.values(&self.lists[self.case.inserts_at()..=self.case.inserts_at()]).await
    }

    async fn incomplete(&self, acknowledged: &BTreeSet<u64>) -> Result<Vec<(Node, Vec<u64>)>, ScenarioError> {
        let mut incomplete = Vec::new();
        let shards = self.cluster.shards().await.map_err(|error| ScenarioError::client("ask for the shards", error))?;
        for shard in shards.into_iter().filter(|shard| self.has_inserts(shard)) {
            // The master first: what it holds by then has to reach its replicas.
            let (_, leading) = self.held_by(shard.master).await?;
            let copies = try_join_all(shard.replicas.into_iter().map(|replica| self.held_by(replica))).await?;
            incomplete.extend(lacking(acknowledged, &leading, copies));
        }
        Ok(incomplete)
    }

    async fn check_during(&self, _trial: &Trial, hit: &[Node]) -> Result<(), ScenarioError> {
        match self.case {
            Case::MasterKilled => Ok(()),
            Case::Resharding => self.check_moved().await,
            Case::SlotOutage { .. } => self.check_orphans(hit).await,
        }
    }

    async fn check_further(&self, trial: &Trial, hit: &[Node]) -> Result<(), ScenarioError> {
        match self.case {
            Case::MasterKilled => {
                let present: BTreeSet<u64> = self.values(&self.lists[1..]).await?.into_iter().collect();
                self.other_shards.report(trial, &present);
                let shards = self.cluster.shards().await.map_err(|error| ScenarioError::client("ask for the shards", error))?;
                let led: Vec<&str> = shards.iter().filter(|shard| is_hit(hit, &shard.master)).map(|shard| shard.master.name()).collect();
                if !led.is_empty() {
                    trial.note("role", format!("{} is a master again", led.join(", ")));
                }
                Ok(())
            }
            Case::Resharding => self.keys.check_still(trial, &self.cluster).await,
            Case::SlotOutage { .. } => Ok(()),
        }
    }

    async fn sabotage(&self, id: &str) -> Result<(), ScenarioError> {
        sabotage::plant(&self.cluster, &self.shards, id).await
    }

    async fn undo_sabotage(&self, id: &str) -> Result<(), ScenarioError> {
        sabotage::undo(&self.cluster, &self.shards, id).await
    }
}
