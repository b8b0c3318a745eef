//! The replicated set as a target.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_harness::{
    database::{
        Cluster as _,
        redis::{Account, PORT, Replicated, SENTINEL_PORT, Switchover, ask},
    },
    fault::{Fault, Kill, Partition, Pause, Together},
    patience::within,
    platform::all_healthy,
    topology::Node,
    workload::{InsertClient, Invocation, Pace, Rhythm},
};
use dora_reports::evidence::Finding;
use futures_util::future::try_join_all;
use redis::aio::MultiplexedConnection;
use serde_json::json;
use tokio::time::sleep;

use super::{
    Case,
    roles::{masters, replica},
    sabotage::{self, CLIENT_PINNED, COUNTER_RESET, FORCED_FAILOVER, LIST_EMPTIED, RESOURCE_CARELESS, SURVIVORS_STALL},
};
use crate::{
    ScenarioError, Trial,
    ha::{
        CheckedLoad, HaTarget, Strike, is_hit, lacking, outage,
        redis::{
            counter::bounded_fall_back,
            each_node::{self, EachNode, Expected},
            fenced_lock,
            master::{Appender, Counting, Master},
        },
    },
};

/// The list that the clients append to.
const LIST: &str = "app:ha:inserts";
/// The counter.
const COUNTER: &str = "app:ha:counter";
/// A master was chosen although those who could agree on it were gone.
const FAILOVER_WITHOUT_MAJORITY: &str = "failover-without-majority";
/// Increments of one client per second.
const COUNT_EVERY: Duration = Duration::from_millis(50);
/// An ordered failover is over by then.
const FORCED_LIMIT: Duration = Duration::from_secs(10);
/// How much longer a planted stall takes than one may.
const STALL_BEYOND: Duration = Duration::from_secs(5);

/// Carries the case out.
pub async fn run(trial: &Trial, case: Case) -> Result<(), ScenarioError> {
    let target = Target::of(trial, case).await?;
    let outcome = outage(trial, &target, case.course()).await;
    // Whatever came of it, the set is handed back with its guard.
    sabotage::set_guard(&target.set, sabotage::guard(&target.set)).await.ok();
    outcome
}

/// The trial's set, a replica of which will be killed: for a scenario over several databases.
pub async fn replica_killed(trial: &Trial) -> Result<Box<dyn HaTarget + '_>, ScenarioError> {
    Ok(Box::new(Target::of(trial, Case::ReplicaLost).await?))
}

/// Removes what clients inserted.
pub async fn forget_inserts(trial: &Trial) -> Result<(), ScenarioError> {
    let mut master = Target::of(trial, Case::ReplicaLost).await?.master().await?;
    ask::<()>(&mut master, &["DEL", LIST]).await.map_err(|error| ScenarioError::client("remove the inserts", error))
}

struct Target<'a> {
    trial: &'a Trial,
    case: Case,
    set: Arc<Replicated>,
    each_node: EachNode,
}

impl<'a> Target<'a> {
    async fn of(trial: &'a Trial, case: Case) -> Result<Self, ScenarioError> {
        let set = trial.platform().redis.replicated.get().await;
        let set = set.ok_or_else(|| ScenarioError::Missing("there is no Redis set under Sentinel in this run".into()))?;
        let servers = set.servers().len();
        if servers < case.servers_min() {
            return Err(ScenarioError::Missing(format!("the set has {servers} servers, and this needs {}", case.servers_min())));
        }
        Ok(Self { trial, case, set, each_node: EachNode::expecting(case.old_master().unwrap_or(Expected::Anything)) })
    }

    async fn master(&self) -> Result<MultiplexedConnection, ScenarioError> {
        self.set.connect(Account::App).await.map_err(|error| ScenarioError::client("connect to the master", error))
    }

    async fn master_node(&self) -> Result<Node, ScenarioError> {
        self.set.master().await.map_err(|error| ScenarioError::client("find the master", error))
    }

    fn is_sabotaged_by(&self, id: &str) -> bool {
        self.trial.is_sabotaged_by(id)
    }

    fn sentinels(&self, count: usize) -> Vec<Node> {
        self.set.sentinels().nodes().iter().take(count).cloned().collect()
    }

    /// The values of a list on the master.
    async fn values(&self, list: &str) -> Result<Vec<u64>, ScenarioError> {
        let mut master = self.master().await?;
        ask(&mut master, &["LRANGE", list, "0", "-1"]).await.map_err(|error| ScenarioError::client("read a list", error))
    }

    /// The inserted values that a server holds itself.
    async fn held_by(&self, server: Node) -> Result<(Node, BTreeSet<u64>), ScenarioError> {
        let read = async {
            let mut connection = self.set.access().connect(server.socket(PORT), Account::App).await?;
            ask::<Vec<u64>>(&mut connection, &["LRANGE", LIST, "0", "-1"]).await
        };
        let held = read.await.map_err(|error| ScenarioError::client(format!("read the list of {}", server.name()), error))?;
        Ok((server, held.into_iter().collect()))
    }

    /// Acts that are planted while the fault lasts.
    async fn act(&self, hit: &[Node]) -> Result<(), ScenarioError> {
        if self.is_sabotaged_by(SURVIVORS_STALL) {
            let survivors: Vec<&Node> = self.set.servers().iter().filter(|server| !is_hit(hit, server)).collect();
            try_join_all(survivors.iter().map(|node| node.pause())).await?;
            sleep(Duration::from_millis(self.trial.promise.sustained_gap_ms_max()?) + STALL_BEYOND).await;
            try_join_all(survivors.iter().map(|node| node.unpause())).await?;
        }
        if self.is_sabotaged_by(FORCED_FAILOVER) {
            let before = self.master_node().await?;
            self.set.sentinels().order_failover().await.map_err(|error| ScenarioError::client("order a failover", error))?;
            let changed = || async {
                let masters = masters(&self.set).await;
                if masters.iter().any(|node| node.name() != before.name()) { Ok(()) } else { Err("no other server is a master") }
            };
            within("the ordered failover", FORCED_LIMIT, Duration::from_millis(100), changed).await?;
        }
        for (id, key) in [(LIST_EMPTIED, LIST), (COUNTER_RESET, COUNTER)] {
            if self.is_sabotaged_by(id) {
                ask::<()>(&mut self.master().await?, &["DEL", key]).await.map_err(|error| ScenarioError::client("remove a key", error))?;
            }
        }
        Ok(())
    }

    /// With most Sentinels gone nobody may have been promoted, and the one left must know that it cannot.
    async fn check_no_failover(&self, hit: &[Node]) -> Result<(), ScenarioError> {
        let agreed =
            self.set.sentinels().can_agree().await.map_err(|error| ScenarioError::client("ask the Sentinel that is left", error))?;
        match agreed {
            Ok(()) => {
                let names: Vec<&str> = hit.iter().map(Node::name).collect();
                let message =
                    format!("although {} are gone, the Sentinel that is left says that a failover could be agreed on", names.join(", "));
                self.trial.find(Finding::violation("majority-still-there", message));
            }
            Err(refusal) => self.trial.note("role", format!("the Sentinel that is left: {refusal}")),
        }
        let masters = masters(&self.set).await;
        let names: Vec<&str> = masters.iter().map(Node::name).collect();
        self.trial.measure("masters", Some(masters.len() as f64), "nodes");
        let before = self.each_node.struck();
        if names.len() == 1 && before.as_deref() == names.first().copied() {
            return Ok(());
        }
        let message =
            format!("without a majority of Sentinels the master changed from {} to {}", before.unwrap_or_default(), names.join(", "));
        self.trial.find(Finding::violation(FAILOVER_WITHOUT_MAJORITY, message));
        Ok(())
    }
}

#[async_trait]
impl HaTarget for Target<'_> {
    async fn prepare(&self) -> Result<(), ScenarioError> {
        let guard = if self.case.is_guarded() { sabotage::guard(&self.set) } else { 0 };
        sabotage::set_guard(&self.set, guard).await?;
        let mut master = self.master().await?;
        let keys = ["DEL", LIST, COUNTER, each_node::LIST, fenced_lock::LOCK, fenced_lock::TOKENS];
        ask::<()>(&mut master, &keys).await.map_err(|error| ScenarioError::client("remove the keys of an earlier trial", error))?;
        if self.case.has_further_loads()
            && let Some(cluster) = self.trial.platform().redis.sharded.get().await
        {
            fenced_lock::clear(&cluster).await?;
        }
        Ok(())
    }

    async fn clients(&self, count: usize) -> Result<Vec<Box<dyn InsertClient>>, ScenarioError> {
        let fixed = if self.is_sabotaged_by(CLIENT_PINNED) { Some(self.master_node().await?.socket(PORT)) } else { None };
        let mut clients: Vec<Box<dyn InsertClient>> = Vec::new();
        for client in 0..count {
            let master = match fixed {
                Some(address) => Master::at(&self.set, address).await?,
                None => Master::by_sentinels(&self.set, client).await?,
            };
            clients.push(Box::new(Appender { master, list: LIST }));
        }
        Ok(clients)
    }

    async fn loads(&self) -> Result<Vec<CheckedLoad>, ScenarioError> {
        if self.case.old_master().is_some() {
            return Ok(vec![self.each_node.load(&self.set)]);
        }
        if !self.case.has_further_loads() {
            return Ok(Vec::new());
        }
        // One client that counts every 50 ms: a second's loss is twenty increments.
        let lost_max = self.trial.promise.loss_window_ms_max()?.div_ceil(COUNT_EVERY.as_millis() as u64);
        let mut loads = vec![CheckedLoad {
            name: "counter",
            clients: vec![Box::new(Counting { master: Master::by_sentinels(&self.set, 0).await?, key: COUNTER })],
            generator: Box::new(|_client| Invocation { f: "add", value: json!(1) }),
            pace: Pace { rhythm: Rhythm::Closed(COUNT_EVERY), limit: Duration::from_secs(2) },
            judge: Box::new(move |operations| bounded_fall_back(operations, lost_max)),
        }];
        if let Some(cluster) = self.trial.platform().redis.sharded.get().await {
            loads.push(fenced_lock::load(&self.set, &cluster, !self.is_sabotaged_by(RESOURCE_CARELESS)).await?);
        } else {
            let message = "there is no Redis Cluster that could hold the guarded resource, so the lock was not tried";
            self.trial.find(Finding::note("lock-not-tried", message));
        }
        Ok(loads)
    }

    async fn strike(&self) -> Result<Strike, ScenarioError> {
        let master = self.master_node().await?;
        self.each_node.strikes(self.trial, &master);
        let killed = |node: &Node, role: &str, port: u16| Box::new(Kill::new(node.clone(), role, port)) as Box<dyn Fault>;
        let Strike { fault, hit } = match self.case {
            Case::MasterKilled => Strike { fault: killed(&master, "master", PORT), hit: vec![master] },
            Case::MasterPaused => Strike { fault: Box::new(Pause::new(master.clone(), "master", PORT)), hit: vec![master] },
            Case::MasterIsolated { .. } => {
                let fault = Partition::isolate(&master, &self.set.nodes()).on_port(PORT);
                Strike { fault: Box::new(fault), hit: vec![master] }
            }
            Case::SentinelLost => {
                let sentinel = self.sentinels(1);
                let mut faults: Vec<_> = sentinel.iter().map(|node| killed(node, "Sentinel", SENTINEL_PORT)).collect();
                faults.push(killed(&master, "master", PORT));
                Strike { fault: Box::new(Together::new(faults)), hit: std::iter::once(master).chain(sentinel).collect() }
            }
            Case::SentinelsLost => {
                let most = self.set.sentinels().nodes().len() / 2 + 1;
                let hit = self.sentinels(most);
                let faults = hit.iter().map(|node| killed(node, "Sentinel", SENTINEL_PORT)).collect();
                Strike { fault: Box::new(Together::new(faults)), hit }
            }
            Case::ReplicaLost => {
                let node = replica(&self.set, &master).ok_or_else(|| ScenarioError::Missing("the set has no replica".into()))?;
                Strike { fault: killed(&node, "replica", PORT), hit: vec![node] }
            }
            Case::Switchover => Strike { fault: Box::new(Switchover::new(Arc::clone(&self.set), master.clone())), hit: vec![master] },
        };
        Ok(Strike { fault: self.each_node.noting(self.trial, fault), hit })
    }

    async fn has_noticed(&self, hit: &[Node]) -> Result<(), String> {
        match self.case {
            Case::SentinelsLost => match self.set.sentinels().can_agree().await? {
                Ok(()) => Err("the Sentinel that is left still counts on the others".into()),
                Err(_no_quorum) => Ok(()),
            },
            Case::ReplicaLost => {
                let whole = self
                    .set
                    .health()
                    .await
                    .into_iter()
                    .filter(|node| hit.iter().all(|lost| lost.name() != node.node))
                    .all(|node| node.healthy);
                if whole { Err("the master still counts on the replica".into()) } else { Ok(()) }
            }
            _ => match hit.first() {
                Some(node) => self.set.sentinels().have_noticed_loss(node.address()).await,
                None => Ok(()),
            },
        }
    }

    async fn is_redundant(&self, _hit: &[Node]) -> Result<(), String> {
        all_healthy(&self.set.health().await)
    }

    async fn present(&self) -> Result<Vec<u64>, ScenarioError> {
        self.values(LIST).await
    }

    async fn incomplete(&self, acknowledged: &BTreeSet<u64>) -> Result<Vec<(Node, Vec<u64>)>, ScenarioError> {
        let master = self.master_node().await?;
        // The master first: what it holds by then has to reach the others.
        let (_, leading) = self.held_by(master.clone()).await?;
        let replicas = self.set.servers().iter().filter(|server| server.name() != master.name()).cloned();
        Ok(lacking(acknowledged, &leading, try_join_all(replicas.map(|replica| self.held_by(replica))).await?))
    }

    async fn check_during(&self, _trial: &Trial, hit: &[Node]) -> Result<(), ScenarioError> {
        self.act(hit).await?;
        match self.case {
            Case::SentinelsLost => self.check_no_failover(hit).await,
            _ => Ok(()),
        }
    }

    async fn check_further(&self, trial: &Trial, hit: &[Node]) -> Result<(), ScenarioError> {
        if self.case.old_master().is_none() {
            return Ok(());
        }
        let present: BTreeSet<u64> = self.values(each_node::LIST).await?.into_iter().collect();
        self.each_node.report(trial, &present, self.case.old_master_lost_max());
        // Back among the others, it must follow the new master and not lead beside it.
        let returned: Vec<String> =
            masters(&self.set).await.iter().filter(|node| is_hit(hit, node)).map(|node| node.name().to_owned()).collect();
        if !returned.is_empty() {
            let message = format!("{} came back and is a master", returned.join(", "));
            trial.find(Finding::violation("old-master-still-master", message));
        }
        Ok(())
    }

    async fn sabotage(&self, id: &str) -> Result<(), ScenarioError> {
        sabotage::plant(&self.set, id).await
    }

    async fn undo_sabotage(&self, id: &str) -> Result<(), ScenarioError> {
        sabotage::undo(&self.set, id).await
    }
}
