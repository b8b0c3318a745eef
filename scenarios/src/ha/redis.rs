//! Redis: the master is killed, and the Sentinels promote a replica.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_harness::{
    database::{
        Cluster as _,
        redis::{Account, PORT, Replicated, ask, connection_limits},
    },
    fault::Kill,
    history::Outcome,
    patience::within,
    platform::all_healthy,
    topology::Node,
    workload::InsertClient,
};
use redis::{ErrorKind, RedisError, aio::MultiplexedConnection, sentinel::SentinelClient};

use super::{Course, HaTarget, Strike, outage};
use crate::{Database, Pillar, Sabotage, Scenario, ScenarioError, Trial};

/// The list that the clients append to: a value that was written twice shows twice.
const SET: &str = "app:ha:inserts";
/// More Sentinels than there are.
const UNREACHABLE_QUORUM: &str = "4";
const QUORUM_UNREACHABLE: &str = "quorum-unreachable";
const HEALTH_LIMIT: Duration = Duration::from_secs(60);

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "ha/redis/master-killed",
    title: "Redis: Sentinel promotes a replica when the master is killed",
    pillar: Pillar::Ha,
    database: Database::Redis,
    clauses: &["HA-RDS-1"],
    goal: "Clients that ask the Sentinels write again soon after the master's death, and replication's loss of acknowledged writes stays within its bound.",
    method: &[
        "four clients ask the Sentinels for the master, and each appends a value of its own to a list every 50 ms; none retries",
        "the master is ended with SIGKILL; that its port refuses connections confirms it",
        "detection is the first Sentinel that holds the master for objectively down, or names another",
        "after ten seconds on the new master the killed node is started again and has to return as a replica",
        "the list is read from the master and compared with what was acknowledged",
    ],
    does_not_show: &[
        "the loss of a whole machine or of the network, where peers get no reset",
        "an election while a second node is down",
        "that nothing can be lost: replication is asynchronous, the loss is measured and bounded",
    ],
    needs_high_availability: true,
    deadline: Duration::from_secs(240),
    sabotages: &[Sabotage {
        id: QUORUM_UNREACHABLE,
        what: "every Sentinel wants four Sentinels to agree that the master is down, and there are three",
        expects: "recovery-too-late",
    }],
    run: |trial| Box::pin(async move { outage(trial, &Target::of(trial).await?, Course::returns()).await }),
}];

struct Target {
    set: Arc<Replicated>,
}

impl Target {
    async fn of(trial: &Trial) -> Result<Self, ScenarioError> {
        let set = trial.platform().redis.replicated.get().await;
        set.map(|set| Self { set }).ok_or_else(|| ScenarioError::Missing("there is no Redis set under Sentinel in this run".into()))
    }

    async fn master(&self) -> Result<MultiplexedConnection, ScenarioError> {
        self.set.connect(Account::App).await.map_err(|error| ScenarioError::client("connect to the master", error))
    }
}

#[async_trait]
impl HaTarget for Target {
    async fn prepare(&self) -> Result<(), ScenarioError> {
        let mut master = self.master().await?;
        ask::<()>(&mut master, &["DEL", SET]).await.map_err(|error| ScenarioError::client("empty the list", error))
    }

    async fn clients(&self, count: usize) -> Result<Vec<Box<dyn InsertClient>>, ScenarioError> {
        let sentinels = self.set.sentinel_addresses();
        (0..count)
            .map(|index| {
                // Every client has another Sentinel first, as applications that are told a list in any order.
                let mut order: Vec<SocketAddr> = sentinels.clone();
                order.rotate_left(index % sentinels.len().max(1));
                let discovery = self.set.access().sentinel_client(&order, Account::App);
                let discovery = discovery.map_err(|error| ScenarioError::client("make a Sentinel client", error))?;
                Ok(Box::new(Appender { discovery, connection: None }) as Box<dyn InsertClient>)
            })
            .collect()
    }

    async fn strike(&self) -> Result<Strike, ScenarioError> {
        let node = self.set.master().await.map_err(|error| ScenarioError::client("find the master", error))?;
        let fault = Box::new(Kill::new(node.clone(), "master", PORT));
        Ok(Strike { fault, hit: vec![node] })
    }

    async fn has_noticed(&self, hit: &[Node]) -> Result<(), String> {
        match hit.first() {
            Some(node) => self.set.has_noticed_loss(node.address()).await,
            None => Ok(()),
        }
    }

    async fn is_redundant(&self, _hit: &[Node]) -> Result<(), String> {
        all_healthy(&self.set.health().await)
    }

    async fn present(&self) -> Result<Vec<u64>, ScenarioError> {
        let mut master = self.master().await?;
        ask(&mut master, &["LRANGE", SET, "0", "-1"]).await.map_err(|error| ScenarioError::client("read the list", error))
    }

    async fn sabotage(&self, _id: &str) -> Result<(), ScenarioError> {
        self.set.set_on_sentinels("quorum", UNREACHABLE_QUORUM).await.map_err(|error| ScenarioError::client("raise the quorum", error))
    }

    async fn undo_sabotage(&self, _id: &str) -> Result<(), ScenarioError> {
        let quorum = self.set.quorum().to_string();
        self.set.set_on_sentinels("quorum", &quorum).await.map_err(|error| ScenarioError::client("restore the quorum", error))?;
        let healthy = || async { all_healthy(&self.set.health().await) };
        Ok(within("health after the sabotage", HEALTH_LIMIT, Duration::from_millis(250), healthy).await?)
    }
}

/// An application that looks its master up when it has no connection.
struct Appender {
    discovery: SentinelClient,
    connection: Option<MultiplexedConnection>,
}

#[async_trait]
impl InsertClient for Appender {
    async fn insert(&mut self, value: u64) -> Outcome {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => match self.discovery.get_async_connection_with_config(&connection_limits()).await {
                Ok(connection) => connection,
                // Nothing was sent that could have been applied.
                Err(error) => return Outcome::Fail(error.to_string()),
            },
        };
        match ask::<u64>(&mut connection, &["RPUSH", SET, &value.to_string()]).await {
            Ok(_length) => {
                self.connection = Some(connection);
                Outcome::Ok
            }
            // A connection that failed once is given up, so that the next value finds the new master.
            Err(error) if was_refused(&error) => Outcome::Fail(error.to_string()),
            Err(error) => Outcome::Unknown(error.to_string()),
        }
    }
}

/// Whether the server itself declined (READONLY, NOREPLICAS, LOADING, …): then the value was not written.
fn was_refused(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::AuthenticationFailed)
}
