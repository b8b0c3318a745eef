//! Neo4j: the leader of the causal cluster is killed.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_harness::{
    database::{
        Cluster as _,
        neo4j::{BOLT, CausalCluster, Dialect, GraphClient, GraphError, LEADER},
    },
    fault::Kill,
    history::Outcome,
    patience::within,
    platform::{Platform, all_healthy},
    topology::Node,
    workload::InsertClient,
};
use futures_util::future::join_all;
use serde_json::{Map, Value, json};

use super::{Course, HaTarget, Strike, is_hit, outage};
use crate::{Database, Pillar, Sabotage, Scenario, ScenarioError};

const FOLLOWER_DOWN: &str = "follower-already-down";
/// A client that waits longer for a connection or an answer looks for another leader.
const CLIENT_LIMIT: Duration = Duration::from_millis(1500);
/// Questions that are not part of the load.
const QUESTION_LIMIT: Duration = Duration::from_secs(10);
/// A member is back and has caught up.
const HEALTH_LIMIT: Duration = Duration::from_secs(90);

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "ha/neo4j/leader-killed",
    title: "Neo4j: the leader of the cluster is killed",
    pillar: Pillar::Ha,
    database: Database::Neo4j,
    clauses: &["HA-NEO-1"],
    goal: "The remaining cores elect a new leader that takes writes in time, no acknowledged write is lost, and the killed core and the read replica catch up.",
    method: &[
        "four clients ask a core for its routing table and insert at the leader that it names, each insert a transaction of its own",
        "the leader is killed with SIGKILL; that its Bolt port is dead confirms it",
        "the four clocks are taken; the killed core is started again on its data",
        "every member says its role and holds every value; the set is read at the leader and compared with what was acknowledged",
    ],
    does_not_show: &[
        "a leader that is paused or cut off instead of killed",
        "causal consistency through bookmarks",
        "clustering of releases newer than 3.3",
    ],
    needs_high_availability: true,
    deadline: Duration::from_secs(240),
    sabotages: &[Sabotage {
        id: FOLLOWER_DOWN,
        what: "one follower is stopped before, so that the leader's death leaves no majority",
        expects: "recovery-too-late",
    }],
    run: |trial| Box::pin(async move { outage(trial, &Target::of(trial.platform()).await?, Course::returns()).await }),
}];

struct Target {
    cluster: Arc<CausalCluster>,
}

impl Target {
    async fn of(platform: &Platform) -> Result<Self, ScenarioError> {
        let cluster =
            platform.neo4j.cluster.get().await.ok_or_else(|| ScenarioError::Missing("the profile has no Neo4j cluster".into()))?;
        Ok(Self { cluster })
    }

    async fn leader(&self) -> Result<Node, ScenarioError> {
        self.cluster.leader().await.map_err(|error| ScenarioError::client("find the leader", error))
    }

    async fn at_leader(&self) -> Result<GraphClient, ScenarioError> {
        let leader = self.leader().await?;
        self.cluster.client_of(&leader, QUESTION_LIMIT).await.map_err(|error| ScenarioError::client("reach the leader", error))
    }

    async fn healthy(&self) -> Result<(), String> {
        all_healthy(&self.cluster.health().await)
    }

    async fn values_at(&self, node: &Node) -> Result<u64, GraphError> {
        let mut client = self.cluster.client_of(node, QUESTION_LIMIT).await?;
        let rows = client.ask("MATCH (n:Insert) RETURN count(n) AS number").await?;
        rows.first().and_then(|row| row["number"].as_u64()).ok_or_else(|| GraphError::Broken("no number".into()))
    }
}

#[async_trait]
impl HaTarget for Target {
    async fn prepare(&self) -> Result<(), ScenarioError> {
        let fail = |error: GraphError| ScenarioError::client("empty the set of inserts", error);
        let mut client = self.at_leader().await?;
        client.ask("MATCH (n:Insert) DETACH DELETE n").await.map_err(fail)?;
        client.ask("CREATE INDEX ON :Insert(value)").await.map_err(fail)?;
        // The first statement of a kind compiles its plan: not under the clients' short limits.
        client.run(INSERT, &Map::from_iter([("value".to_owned(), json!(-1))])).await.map_err(fail)?;
        client.ask("MATCH (n:Insert) DELETE n").await.map_err(fail)?;
        Ok(())
    }

    async fn clients(&self, count: usize) -> Result<Vec<Box<dyn InsertClient>>, ScenarioError> {
        let client = |index| {
            Box::new(RoutedInserter { cluster: Arc::clone(&self.cluster), connection: None, router: index }) as Box<dyn InsertClient>
        };
        Ok((0..count).map(client).collect())
    }

    async fn strike(&self) -> Result<Strike, ScenarioError> {
        let node = self.leader().await?;
        let fault = Box::new(Kill::new(node.clone(), "leader", BOLT));
        Ok(Strike { fault, hit: vec![node] })
    }

    async fn has_noticed(&self, hit: &[Node]) -> Result<(), String> {
        let survivors: Vec<&Node> = self.cluster.cores().iter().filter(|core| !is_hit(hit, core)).collect();
        let roles = join_all(survivors.iter().map(|core| self.cluster.role(core))).await;
        if roles.iter().any(|role| role.as_deref().is_ok_and(|role| role == LEADER)) {
            return Ok(());
        }
        Err("no survivor says that it leads".into())
    }

    async fn is_redundant(&self, _hit: &[Node]) -> Result<(), String> {
        self.healthy().await?;
        let leader = self.cluster.leader().await.map_err(|error| error.to_string())?;
        // Inserts go on meanwhile: the others must have what the leader had when it was asked first.
        let least = self.values_at(&leader).await.map_err(|error| error.to_string())?;
        for member in self.cluster.members() {
            let there = self.values_at(member).await.map_err(|error| format!("{}: {error}", member.name()))?;
            if there < least {
                return Err(format!("{} holds {there} of {least} values", member.name()));
            }
        }
        Ok(())
    }

    async fn present(&self) -> Result<Vec<u64>, ScenarioError> {
        let rows = self
            .at_leader()
            .await?
            .ask("MATCH (n:Insert) RETURN n.value AS value")
            .await
            .map_err(|error| ScenarioError::client("read the set of inserts", error))?;
        Ok(rows.iter().filter_map(|row| row["value"].as_u64()).collect())
    }

    async fn sabotage(&self, _id: &str) -> Result<(), ScenarioError> {
        let leader = self.leader().await?;
        let follower = self.cluster.cores().iter().find(|core| core.name() != leader.name());
        let follower = follower.ok_or_else(|| ScenarioError::Missing("the cluster has one core".into()))?;
        follower.kill().await?;
        Ok(())
    }

    async fn undo_sabotage(&self, _id: &str) -> Result<(), ScenarioError> {
        for core in self.cluster.cores() {
            if !core.state().await?.running {
                core.start().await?;
            }
        }
        within("a healthy cluster", HEALTH_LIMIT, Duration::from_millis(500), || self.healthy()).await?;
        Ok(())
    }
}

const INSERT: &str = "CREATE (:Insert {value: $value})";

/// A client with routing of its own, as this protocol's drivers have it: ask any core who writes, go there.
struct RoutedInserter {
    cluster: Arc<CausalCluster>,
    connection: Option<GraphClient>,
    router: usize,
}

impl RoutedInserter {
    /// The connection that it has, or one to the leader, through the routing table of the next core in turn.
    async fn connected(&mut self) -> Result<GraphClient, GraphError> {
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        let cores = self.cluster.cores();
        let router = &cores[self.router % cores.len()];
        self.router += 1;
        let writer: SocketAddr = self.cluster.writer_by(router, CLIENT_LIMIT).await?;
        GraphClient::connect(Dialect::Three, writer, &self.cluster.login(CLIENT_LIMIT)).await
    }
}

#[async_trait]
impl InsertClient for RoutedInserter {
    async fn insert(&mut self, value: u64) -> Outcome {
        let parameters = Map::from_iter([("value".to_owned(), Value::from(value))]);
        // Taken out while in use: an insert that is cut off must not leave half an exchange to the next one.
        let mut connection = match self.connected().await {
            Ok(connection) => connection,
            Err(error) => return Outcome::Fail(error.to_string()),
        };
        match connection.run(INSERT, &parameters).await {
            Ok(_) => {
                self.connection = Some(connection);
                Outcome::Ok
            }
            Err(error) if error.is_surely_not_applied() => Outcome::Fail(error.to_string()),
            Err(error) => Outcome::Unknown(error.to_string()),
        }
    }
}
