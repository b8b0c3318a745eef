//! The cluster as the driver sees it, one value for each case.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use dora_harness::{
    database::{
        Cluster as _,
        influxdb::{Consistency, Influx, InfluxError, PORT},
    },
    fault::{Fault, Kill, NodeLoss, Partition, Pause, Together},
    platform::all_healthy,
    topology::Node,
    workload::InsertClient,
};

use super::{
    batches::{self, Manner},
    clients::{Inserter, Writer},
    during,
    set::{LEDGER, Set, failed, make_databases, others},
    struck::Struck,
};
use crate::{
    ScenarioError, Trial,
    ha::{CheckedLoad, HaTarget, Strike},
};

/// What is done to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// SIGKILL to a node.
    Killed,
    /// A node is frozen.
    Paused,
    /// A node is cut from the others; clients still reach it.
    Isolated,
    /// SIGKILL to the leader of the meta nodes.
    MetaLeaderKilled,
    /// Two of three nodes are gone, in silence.
    TwoLost,
    /// SIGKILL to all nodes.
    AllKilled,
}

/// What clients do, and what a sabotage changes of it.
#[derive(Debug, Clone, Copy)]
pub struct Habits {
    /// The database that they write to.
    pub database: &'static str,
    /// The consistency that they ask for.
    pub level: Consistency,
    /// Whether they know no node but the one that will be struck.
    pub pinned: bool,
    /// Whether they leave a point out of every batch.
    pub cut: bool,
}

/// A cluster that is struck.
pub struct Points {
    /// The cluster.
    pub influx: Arc<Influx>,
    /// What is done to it.
    pub case: Case,
    measurement: Set,
    habits: Mutex<Habits>,
    /// Who was struck when.
    pub struck: Arc<Struck>,
}

impl Points {
    /// The trial's cluster.
    pub async fn of(trial: &Trial, case: Case) -> Result<Self, ScenarioError> {
        let cluster = trial.platform().influxdb.cluster.get().await;
        let influx = cluster.ok_or_else(|| ScenarioError::Missing("no InfluxDB cluster was started".into()))?;
        let habits = Habits { database: LEDGER, level: Consistency::Quorum, pinned: false, cut: false };
        Ok(Self { influx, case, measurement: Set::fresh(LEDGER, "inserts"), habits: Mutex::new(habits), struck: Arc::default() })
    }

    /// What clients do.
    pub fn habits(&self) -> Habits {
        *self.habits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what clients do from now on.
    pub fn change(&self, change: impl FnOnce(&mut Habits)) {
        change(&mut self.habits.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The set of this trial.
    pub fn set(&self) -> Set {
        Set { database: self.habits().database, ..self.measurement.clone() }
    }

    /// The node that a fault of one data node hits. Which one does not matter to quorum writes, all are equal; where there is only one copy, it
    /// is the node that has it.
    pub async fn doomed(&self) -> Result<Node, ScenarioError> {
        let nodes = self.influx.nodes();
        let last = nodes.last().cloned().ok_or_else(|| ScenarioError::Missing("the InfluxDB cluster has no nodes".into()))?;
        let database = self.habits().database;
        if database == LEDGER {
            return Ok(last);
        }
        let owners =
            self.influx.owners(&nodes[0], database, &self.measurement.measurement).await.map_err(failed("ask who has the only copy"))?;
        Ok(owners.into_iter().next().unwrap_or(last))
    }

    /// Whom a node that answers takes for the leader of the meta nodes.
    pub async fn meta_leader(&self) -> Result<Node, ScenarioError> {
        for node in self.influx.nodes() {
            if let Ok(Some(leader)) = self.influx.meta_leader(&node).await {
                return Ok(leader);
            }
        }
        Err(ScenarioError::client("ask for the leader of the meta nodes", "no node knows of one"))
    }

    /// What each node holds of the set.
    pub async fn holdings(&self) -> Result<Vec<(Node, BTreeMap<u64, u64>)>, InfluxError> {
        let set = self.set();
        let mut holdings = Vec::new();
        for node in self.influx.nodes() {
            let held = set.held_by(&self.influx.owner(&node)?).await?;
            holdings.push((node, held));
        }
        Ok(holdings)
    }

    /// Whether a value that one node lacks is one whose last copy a killed node took with it: a majority has it all the same.
    fn died_with_its_writer(&self, value: u64, holdings: &[(Node, BTreeMap<u64, u64>)]) -> bool {
        let holders = holdings.iter().filter(|(_, held)| held.contains_key(&value)).count();
        self.struck.is_at_a_kill(value) && holders > holdings.len() / 2
    }

    fn lacks(
        &self,
        holdings: &[(Node, BTreeMap<u64, u64>)],
        acknowledged: &BTreeSet<u64>,
        counts: impl Fn(bool) -> bool,
    ) -> Vec<(Node, Vec<u64>)> {
        let missing = |held: &BTreeMap<u64, u64>| -> Vec<u64> {
            let absent = acknowledged.iter().filter(|value| !held.contains_key(value));
            absent.copied().filter(|value| counts(self.died_with_its_writer(*value, holdings))).collect()
        };
        let lacks = holdings.iter().map(|(node, held)| (node.clone(), missing(held)));
        lacks.filter(|(_, values)| !values.is_empty()).collect()
    }
}

#[async_trait]
impl HaTarget for Points {
    async fn prepare(&self) -> Result<(), ScenarioError> {
        make_databases(&self.influx).await
    }

    async fn clients(&self, count: usize) -> Result<Vec<Box<dyn InsertClient>>, ScenarioError> {
        let (habits, nodes) = (self.habits(), self.known_nodes().await?);
        let mut clients: Vec<Box<dyn InsertClient>> = Vec::with_capacity(count);
        for first in 0..count {
            let writer = Writer::new(&self.influx, &nodes, first, habits.level).map_err(failed("make a client"))?;
            clients.push(Box::new(Inserter { writer, set: self.set(), struck: Arc::clone(&self.struck) }));
        }
        Ok(clients)
    }

    async fn loads(&self) -> Result<Vec<CheckedLoad>, ScenarioError> {
        // Where every node is struck, no read is of a node that stayed.
        if self.case == Case::AllKilled {
            return Ok(Vec::new());
        }
        let habits = self.habits();
        let manner = Manner { level: habits.level, cut: habits.cut };
        let nodes = self.known_nodes().await?;
        let load = batches::load(&self.influx, &nodes, habits.database, manner, Arc::clone(&self.struck));
        Ok(vec![load.map_err(failed("make a client for batches"))?])
    }

    async fn strike(&self) -> Result<Strike, ScenarioError> {
        let (nodes, role) = (self.influx.nodes(), self.influx.form().role());
        let kill = |node: &Node| Box::new(Kill::new(node.clone(), role, PORT)) as Box<dyn Fault>;
        let (fault, hit): (Box<dyn Fault>, Vec<Node>) = match self.case {
            Case::Killed => {
                let node = self.doomed().await?;
                (kill(&node), vec![node])
            }
            Case::Paused => {
                let node = self.doomed().await?;
                (Box::new(Pause::new(node.clone(), role, PORT)), vec![node])
            }
            Case::Isolated => {
                let node = self.doomed().await?;
                (Box::new(Partition::isolate(&node, &nodes).on_port(PORT)), vec![node])
            }
            Case::MetaLeaderKilled => {
                let node = self.meta_leader().await?;
                (Box::new(Kill::new(node.clone(), "leader of the meta nodes", PORT)), vec![node])
            }
            Case::TwoLost => {
                let hit = others(&nodes, &nodes[..1]);
                let lose = |node: &Node| Box::new(NodeLoss::new(node.clone(), role, PORT)) as Box<dyn Fault>;
                (Box::new(Together::new(hit.iter().map(lose).collect())), hit)
            }
            Case::AllKilled => (Box::new(Together::new(nodes.iter().map(kill).collect())), nodes),
        };
        self.struck.note_away(&hit);
        if !matches!(self.case, Case::Paused | Case::Isolated) {
            self.struck.note_kill();
        }
        Ok(Strike { fault, hit })
    }

    async fn has_noticed(&self, hit: &[Node]) -> Result<(), String> {
        self.struck.note_dead();
        during::has_noticed(self, hit).await
    }

    async fn is_redundant(&self, _hit: &[Node]) -> Result<(), String> {
        all_healthy(&self.influx.health().await)?;
        if self.case == Case::MetaLeaderKilled {
            self.meta_leader().await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    async fn incomplete(&self, acknowledged: &BTreeSet<u64>) -> Result<Vec<(Node, Vec<u64>)>, ScenarioError> {
        let holdings = self.holdings().await.map_err(failed("read the set of each node"))?;
        Ok(self.lacks(&holdings, acknowledged, |died_with_its_writer| !died_with_its_writer))
    }

    async fn present(&self) -> Result<Vec<u64>, ScenarioError> {
        // There is no quorum read: a value counts as present when any node holds it, and `incomplete` asks each alone.
        let holdings = self.holdings().await.map_err(failed("read the set"))?;
        Ok(holdings.into_iter().flat_map(|(_, held)| held.into_keys()).collect::<BTreeSet<u64>>().into_iter().collect())
    }

    async fn check_during(&self, trial: &Trial, hit: &[Node]) -> Result<(), ScenarioError> {
        during::check(self, trial, hit).await
    }

    async fn check_further(&self, trial: &Trial, _hit: &[Node]) -> Result<(), ScenarioError> {
        during::tidy_up(self).await?;
        let holdings = self.holdings().await.map_err(failed("read the set of each node"))?;
        let all: BTreeSet<u64> = holdings.iter().flat_map(|(_, held)| held.keys().copied()).collect();
        let short: BTreeSet<u64> =
            self.lacks(&holdings, &all, |died_with_its_writer| died_with_its_writer).into_iter().flat_map(|(_, values)| values).collect();
        trial.measure("copies_short_at_the_kill", Some(short.len() as f64), "values");
        Ok(())
    }

    async fn sabotage(&self, id: &str) -> Result<(), ScenarioError> {
        self.plant(id).await
    }

    async fn undo_sabotage(&self, id: &str) -> Result<(), ScenarioError> {
        self.uproot(id).await
    }
}

impl Points {
    /// The nodes that clients know.
    async fn known_nodes(&self) -> Result<Vec<Node>, ScenarioError> {
        if self.habits().pinned { Ok(vec![self.doomed().await?]) } else { Ok(self.influx.nodes()) }
    }
}
