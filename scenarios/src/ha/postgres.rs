//! `PostgreSQL`: the primary is killed.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_fixtures::assets;
use dora_harness::{
    database::{
        Cluster as _,
        postgres::{AccessError, Login, POOLER_PORT, PostgresCluster, SERVER_PORT, connect},
    },
    fault::Kill,
    history::Outcome,
    patience::within,
    platform::all_healthy,
    topology::Node,
    workload::InsertClient,
};
use dora_reports::evidence::Finding;
use sqlx::PgConnection;
use tokio::time::{sleep, timeout};

use super::{Course, HaTarget, Strike, is_hit, outage};
use crate::{Database, Pillar, Sabotage, Scenario, ScenarioError, Trial};

/// Nobody takes over.
const FROZEN: &str = "patroni-frozen";
/// From the planting, which is some seconds before the kill.
const FROZEN_FOR: Duration = Duration::from_mins(1);

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "ha/postgres/primary-killed",
    title: "PostgreSQL: the primary is killed under load",
    pillar: Pillar::Ha,
    database: Database::Postgres,
    clauses: &["HA-PG-3"],
    goal: "Patroni promotes a synchronous standby in time, no acknowledged write is lost, and the old primary comes back as a replica.",
    method: &[
        "four clients insert numbered rows through PgBouncer, one connection each, no retries",
        "the primary's container is killed with SIGKILL; its port confirms the death",
        "detection is the first survivor whose Patroni names another leader",
        "the killed node is started again and must follow the new primary",
        "all rows are read from the new primary and compared with what was acknowledged; the returned node must hold the same rows",
    ],
    does_not_show: &[
        "a paused, partitioned or disk-full primary, or a planned switchover",
        "the loss of the node's whole network address, after which clients meet silence instead of resets",
        "the loss of etcd",
        "at every instant between the kill and the end that no two primaries were writable; it is asked before and after",
    ],
    needs_high_availability: true,
    deadline: Duration::from_mins(4),
    sabotages: &[Sabotage {
        id: FROZEN,
        what: "Patroni is frozen for a minute on every standby, so that none is promoted in time",
        expects: "recovery-too-late",
    }],
    run: |trial| {
        Box::pin(async move {
            let missing = || ScenarioError::Missing("there is no PostgreSQL cluster".to_owned());
            let cluster = trial.platform().postgres.cluster().await.ok_or_else(missing)?;
            outage(trial, &PostgresHa { cluster }, Course::returns()).await
        })
    },
}];

/// A client that cannot connect by then has failed; the next value tries again.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// Preparing and reading the set.
const STATEMENT_LIMIT: Duration = Duration::from_secs(20);
/// Redundancy before the fault, and after a sabotage was undone.
const HEALTHY_LIMIT: Duration = Duration::from_mins(1);
/// A follower that streams has everything after this.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(15);

struct PostgresHa {
    cluster: Arc<PostgresCluster>,
}

impl PostgresHa {
    async fn healthy(&self) -> Result<(), ScenarioError> {
        within("every node's role", HEALTHY_LIMIT, Duration::from_millis(250), || async { all_healthy(&self.cluster.health().await) })
            .await?;
        Ok(())
    }

    async fn values_on(&self, login: &Login) -> Result<Vec<u64>, ScenarioError> {
        let question = assets::text("schema/postgres/inserts/present.sql")?;
        let read = async {
            let mut connection = connect(login, CONNECT_LIMIT).await?;
            Ok::<Vec<i64>, AccessError>(sqlx::query_scalar(question).fetch_all(&mut connection).await?)
        };
        let values = timeout(STATEMENT_LIMIT, read)
            .await
            .map_err(|_elapsed| ScenarioError::client("read the inserted values", AccessError::Deadline(STATEMENT_LIMIT)))?
            .map_err(|error| ScenarioError::client("read the inserted values", error))?;
        // Inserted as non-negative numbers; anything else is reported as a phantom.
        Ok(values.into_iter().map(|value| u64::try_from(value).unwrap_or(u64::MAX)).collect())
    }
}

#[async_trait]
impl HaTarget for PostgresHa {
    async fn prepare(&self) -> Result<(), ScenarioError> {
        self.healthy().await?;
        let failed = |reason: String| ScenarioError::client("prepare the set of values", reason);
        let script = assets::text("schema/postgres/inserts/prepare.sql")?;
        let mut connection = self.cluster.primary_connection().await.map_err(failed)?;
        timeout(STATEMENT_LIMIT, sqlx::raw_sql(script).execute(&mut connection))
            .await
            .map_err(|_elapsed| failed(AccessError::Deadline(STATEMENT_LIMIT).to_string()))?
            .map_err(|error| failed(error.to_string()))?;
        Ok(())
    }

    async fn clients(&self, count: usize) -> Result<Vec<Box<dyn InsertClient>>, ScenarioError> {
        let login = self.cluster.application_login(self.cluster.pooler().socket(POOLER_PORT));
        let statement = assets::text("schema/postgres/inserts/insert.sql")?;
        Ok((0..count).map(|_| Box::new(Inserter { login: login.clone(), statement, connection: None }) as Box<dyn InsertClient>).collect())
    }

    async fn strike(&self) -> Result<Strike, ScenarioError> {
        let node = self.cluster.primary().await.map_err(|reason| ScenarioError::client("find the primary", reason))?;
        let fault = Box::new(Kill::new(node.clone(), "primary", SERVER_PORT));
        Ok(Strike { fault, hit: vec![node] })
    }

    async fn has_noticed(&self, hit: &[Node]) -> Result<(), String> {
        let survivors = self.cluster.servers().iter().filter(|server| !is_hit(hit, server));
        let mut last = "no survivor".to_owned();
        for survivor in survivors {
            match self.cluster.patroni_view(survivor).await {
                Ok(view) => match view.iter().find(|member| member.role == "leader" && member.state == "running") {
                    Some(leader) if hit.iter().all(|node| node.name() != leader.name) => return Ok(()),
                    _ => last = format!("{} knows no other leader", survivor.name()),
                },
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn is_redundant(&self, _hit: &[Node]) -> Result<(), String> {
        all_healthy(&self.cluster.health().await)
    }

    async fn present(&self) -> Result<Vec<u64>, ScenarioError> {
        let primary = self.cluster.primary().await.map_err(|reason| ScenarioError::client("find the primary", reason))?;
        self.values_on(&self.cluster.application_login(primary.socket(SERVER_PORT))).await
    }

    async fn check_further(&self, trial: &Trial, hit: &[Node]) -> Result<(), ScenarioError> {
        let primary = match self.cluster.primary().await {
            Ok(primary) => primary,
            Err(reason) if reason.contains("both primary") => {
                trial.find(Finding::violation("two-primaries", reason));
                return Ok(());
            }
            Err(reason) => return Err(ScenarioError::client("find the primary", reason)),
        };
        let expected: BTreeSet<u64> =
            self.values_on(&self.cluster.application_login(primary.socket(SERVER_PORT))).await?.into_iter().collect();
        let Some(victim) = hit.first() else { return Ok(()) };
        let returned = self.cluster.application_login(victim.socket(SERVER_PORT));
        let equal = within("the returned node's rows", CATCH_UP_LIMIT, Duration::from_millis(250), || async {
            let held: BTreeSet<u64> = self.values_on(&returned).await.map_err(|error| error.to_string())?.into_iter().collect();
            if held == expected { Ok(()) } else { Err(format!("{} of {} values", held.len(), expected.len())) }
        });
        match equal.await {
            Ok(()) => trial.note("role", format!("{} holds all {} values itself", victim.name(), expected.len())),
            Err(deadline) => {
                trial.find(Finding::violation("returned-node-incomplete", format!("{} holds {}", victim.name(), deadline.last)));
            }
        }
        Ok(())
    }

    async fn sabotage(&self, _id: &str) -> Result<(), ScenarioError> {
        let primary = self.cluster.primary().await.map_err(|reason| ScenarioError::client("find the primary", reason))?;
        for standby in self.cluster.servers().iter().filter(|server| server.name() != primary.name()) {
            self.cluster.freeze_patroni(standby, true).await?;
            let (cluster, standby) = (Arc::clone(&self.cluster), standby.clone());
            // Longer than the objective after the kill; frozen for good, the proof would only wait for a redundancy that cannot come.
            tokio::spawn(async move {
                sleep(FROZEN_FOR).await;
                // When it fails, undoing the sabotage tries again and tells.
                let _ = cluster.freeze_patroni(&standby, false).await;
            });
        }
        Ok(())
    }

    async fn undo_sabotage(&self, _id: &str) -> Result<(), ScenarioError> {
        for server in self.cluster.servers() {
            self.cluster.freeze_patroni(server, false).await?;
        }
        self.healthy().await
    }
}

/// Inserts through the pooler; a new connection after every error.
struct Inserter {
    login: Login,
    statement: &'static str,
    connection: Option<PgConnection>,
}

#[async_trait]
impl InsertClient for Inserter {
    async fn insert(&mut self, value: u64) -> Outcome {
        // Taken out for the time of the insert: one that is cut off takes its connection along.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => match connect(&self.login, CONNECT_LIMIT).await {
                Ok(connection) => connection,
                Err(error) => return Outcome::Fail(error.to_string()),
            },
        };
        // Values count the inserts of one run, far below 2^63.
        let bound = i64::try_from(value).unwrap_or(i64::MAX);
        match sqlx::query(self.statement).bind(bound).execute(&mut connection).await {
            Ok(_done) => {
                self.connection = Some(connection);
                Outcome::Ok
            }
            Err(error) if was_refused(&error) => Outcome::Fail(error.to_string()),
            Err(error) => Outcome::Unknown(error.to_string()),
        }
    }
}

/// Errors that say that the statement was not carried out. All others leave it open.
fn was_refused(error: &sqlx::Error) -> bool {
    let Some(database) = error.as_database_error() else { return false };
    // 25006: read-only transaction. 57P03: the server is starting up. Class 53: no resources for a connection.
    let refused = database.code().is_some_and(|code| code == "25006" || code == "57P03" || code.starts_with("53"));
    // The pooler's own word for "no server took it".
    refused || database.message().contains("server login has been failing") || database.message().contains("query_wait_timeout")
}
