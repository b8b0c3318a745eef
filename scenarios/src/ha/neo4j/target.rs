//! The causal cluster as the driver of outages sees it.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_fixtures::queries::statements;
use dora_harness::{
    database::{
        Cluster as _,
        neo4j::{BOLT, CausalCluster, GraphClient, GraphError, LEADER},
    },
    patience::within,
    platform::all_healthy,
    topology::Node,
    workload::{Client, InsertClient},
};
use futures_util::future::join_all;

use super::{
    case::{self, Case},
    clients::{Inserter, Prober, parameters, statement},
    defect::{self, Defect},
    during, loads,
};
use crate::{
    ScenarioError, Trial,
    ha::{CheckedLoad, HaTarget, NodeProber, Strike, is_hit, lacking},
};

/// Time from one insert of a client to its next. A commit is a round of Raft with flushes in three virtual machines: it costs many times what
/// one of another database does.
const INSERT_EVERY: Duration = Duration::from_millis(200);
/// Questions that are not part of the load.
pub const QUESTION_LIMIT: Duration = Duration::from_secs(10);
/// A member is back and has caught up.
pub const HEALTH_LIMIT: Duration = Duration::from_secs(90);
/// How often that is asked.
pub const HEALTH_EVERY: Duration = Duration::from_millis(500);

/// The cluster, what befalls it, and what was planted.
pub struct Target {
    /// The cluster.
    pub cluster: Arc<CausalCluster>,
    /// What befalls it.
    pub case: Case,
    /// What was planted.
    pub defect: Option<Defect>,
}

impl Target {
    /// The trial's cluster.
    pub async fn of(trial: &Trial, case: Case) -> Result<Self, ScenarioError> {
        let cluster = trial.platform().neo4j.cluster.get().await;
        let cluster = cluster.ok_or_else(|| ScenarioError::Missing("the profile has no Neo4j cluster".into()))?;
        Ok(Self { cluster, case, defect: trial.sabotage.and_then(|sabotage| Defect::named(sabotage.id)) })
    }

    /// The core that leads.
    pub async fn leader(&self) -> Result<Node, ScenarioError> {
        self.cluster.leader().await.map_err(|error| ScenarioError::client("find the leader", error))
    }

    /// The other cores.
    pub fn followers(&self, leader: &Node) -> Vec<Node> {
        self.cluster.cores().iter().filter(|core| core.name() != leader.name()).cloned().collect()
    }

    /// The first core that does not lead: the one that planted defects of a follower take.
    pub async fn first_follower(&self) -> Result<Node, ScenarioError> {
        let leader = self.leader().await?;
        self.followers(&leader).into_iter().next().ok_or_else(|| ScenarioError::Missing("the cluster has one core".into()))
    }

    /// The read replica.
    pub fn replica(&self) -> Result<&Node, ScenarioError> {
        self.cluster.replicas().first().ok_or_else(|| ScenarioError::Missing("the profile has no read replica of Neo4j".into()))
    }

    /// Where replicas answer.
    pub fn replica_sockets(&self) -> Vec<SocketAddr> {
        self.cluster.replicas().iter().map(|replica| replica.socket(BOLT)).collect()
    }

    /// A connection to the leader.
    pub async fn at_leader(&self) -> Result<GraphClient, ScenarioError> {
        let leader = self.leader().await?;
        self.cluster.client_of(&leader, QUESTION_LIMIT).await.map_err(|error| ScenarioError::client("reach the leader", error))
    }

    /// `Ok` when every member has its role.
    pub async fn healthy(&self) -> Result<(), String> {
        all_healthy(&self.cluster.health().await)
    }

    /// Every value that a member holds itself.
    pub async fn values_at(&self, node: &Node) -> Result<Vec<u64>, ScenarioError> {
        let fail = |error: GraphError| ScenarioError::client(format!("read the set of inserts at {}", node.name()), error);
        let mut client = self.cluster.client_of(node, QUESTION_LIMIT).await.map_err(fail)?;
        let rows = client.ask(statement("inserts")?).await.map_err(fail)?;
        Ok(rows.iter().filter_map(|row| row["value"].as_u64()).collect())
    }

    /// Empties everything, and has every member plan every statement: the first of a kind compiles its plan, which is not for the
    /// clients' short limits.
    async fn empty(&self) -> Result<(), ScenarioError> {
        let fail = |error: GraphError| ScenarioError::client("empty the graph of the workloads", error);
        let mut client = self.at_leader().await?;
        for sentence in statements(statement("clear")?) {
            client.ask(sentence).await.map_err(fail)?;
        }
        for (load, count) in loads::REGISTERS {
            client.run(statement("registers")?, &parameters([("load", load.into()), ("count", count.into())])).await.map_err(fail)?;
        }
        client.run(statement("insert")?, &parameters([("value", (-1).into())])).await.map_err(fail)?;
        client.run(statement("claim")?, &parameters([("node", "".into())])).await.map_err(fail)?;
        let nowhere = parameters([("load", "".into()), ("key", 0.into()), ("value", 0.into())]);
        client.run(statement("write_register")?, &nowhere).await.map_err(fail)?;
        for member in self.cluster.members() {
            let mut client = self.cluster.client_of(member, QUESTION_LIMIT).await.map_err(fail)?;
            for question in ["epoch", "read_register", "read_and_say_where"] {
                client.run(statement(question)?, &nowhere).await.map_err(fail)?;
            }
        }
        client.ask(statement("remove_inserts")?).await.map_err(fail)?;
        Ok(())
    }
}

#[async_trait]
impl HaTarget for Target {
    async fn prepare(&self) -> Result<(), ScenarioError> {
        within("a healthy cluster", HEALTH_LIMIT, HEALTH_EVERY, || self.healthy()).await?;
        self.empty().await
    }

    fn insert_every(&self) -> Duration {
        INSERT_EVERY
    }

    async fn clients(&self, count: usize) -> Result<Vec<Box<dyn InsertClient>>, ScenarioError> {
        let client = |number| Ok(Box::new(Inserter::new(&self.cluster, number, self.defect)?) as Box<dyn InsertClient>);
        (0..count).map(client).collect()
    }

    async fn loads(&self) -> Result<Vec<CheckedLoad>, ScenarioError> {
        loads::loads(self)
    }

    async fn probers(&self) -> Result<Vec<NodeProber>, ScenarioError> {
        let prober =
            |core: &Node| Ok((core.name().to_owned(), Box::new(Prober::new(&self.cluster, core, self.defect)?) as Box<dyn Client>));
        self.cluster.cores().iter().map(prober).collect()
    }

    async fn strike(&self) -> Result<Strike, ScenarioError> {
        case::strike(self).await
    }

    async fn has_noticed(&self, hit: &[Node]) -> Result<(), String> {
        during::has_noticed(self, hit).await
    }

    async fn is_redundant(&self, _hit: &[Node]) -> Result<(), String> {
        self.healthy().await
    }

    async fn present(&self) -> Result<Vec<u64>, ScenarioError> {
        self.values_at(&self.leader().await?).await
    }

    async fn incomplete(&self, acknowledged: &BTreeSet<u64>) -> Result<Vec<(Node, Vec<u64>)>, ScenarioError> {
        // The leader's first: they have to reach every member.
        let leading = self.present().await?.into_iter().collect();
        let members: Vec<&Node> = self.cluster.members().collect();
        let answers = join_all(members.iter().map(|member| self.values_at(member))).await;
        let copies = members.into_iter().cloned().zip(answers).map(|(member, values)| Ok((member, values?.into_iter().collect())));
        Ok(lacking(acknowledged, &leading, copies.collect::<Result<Vec<_>, ScenarioError>>()?))
    }

    async fn check_during(&self, trial: &Trial, hit: &[Node]) -> Result<(), ScenarioError> {
        during::check(self, trial, hit).await
    }

    async fn sabotage(&self, _id: &str) -> Result<(), ScenarioError> {
        match self.defect {
            Some(defect) => defect::plant(self, defect).await,
            None => Ok(()),
        }
    }

    async fn undo_sabotage(&self, _id: &str) -> Result<(), ScenarioError> {
        match self.defect {
            Some(defect) => defect::remove(self, defect).await,
            None => Ok(()),
        }
    }
}

/// Whether a member says that it leads.
pub async fn leads(target: &Target, node: &Node) -> bool {
    target.cluster.role(node).await.as_deref().is_ok_and(|role| role == LEADER)
}

/// The members that were not hit.
pub fn survivors<'a>(target: &'a Target, hit: &[Node]) -> Vec<&'a Node> {
    target.cluster.cores().iter().filter(|core| !is_hit(hit, core)).collect()
}
