//! The cluster as the driver of outages sees it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_fixtures::assets;
use dora_harness::{
    database::{
        Cluster as _,
        postgres::{AccessError, Login, PostgresCluster, SERVER_PORT, connect},
    },
    patience::within,
    platform::all_healthy,
    topology::Node,
    workload::{Client, InsertClient},
};
use dora_reports::evidence::Finding;
use tokio::time::timeout;

use super::{
    super::{Course, HaTarget, Strike, outage},
    case::Case,
    inserts::inserters,
    line::CONNECT_LIMIT,
    probe::probers,
    sabotage,
};
use crate::{ScenarioError, Trial};

/// Preparing and reading the set.
const STATEMENT_LIMIT: Duration = Duration::from_secs(20);
/// Redundancy before the fault, and after a sabotage was undone.
const HEALTHY_LIMIT: Duration = Duration::from_mins(1);
/// A follower that streams has everything after this.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(15);

/// The cluster of the platform.
pub async fn cluster_of(trial: &Trial) -> Result<Arc<PostgresCluster>, ScenarioError> {
    trial.platform().postgres.cluster().await.ok_or_else(|| ScenarioError::Missing("there is no PostgreSQL cluster".to_owned()))
}

/// A whole scenario.
pub async fn carry_out(trial: &Trial, case: Case, course: Course) -> Result<(), ScenarioError> {
    outage(trial, &PostgresHa { cluster: cluster_of(trial).await?, case }, course).await
}

/// Waits until every node has its role.
pub async fn healthy(cluster: &PostgresCluster) -> Result<(), ScenarioError> {
    within("every node's role", HEALTHY_LIMIT, Duration::from_millis(250), || async { all_healthy(&cluster.health().await) }).await?;
    Ok(())
}

/// Runs a script of several statements on the primary.
pub async fn run_script(cluster: &PostgresCluster, path: &str) -> Result<(), ScenarioError> {
    let failed = |reason: String| ScenarioError::client(format!("run {path}"), reason);
    let mut connection = cluster.primary_connection().await.map_err(failed)?;
    timeout(STATEMENT_LIMIT, sqlx::raw_sql(assets::text(path)?).execute(&mut connection))
        .await
        .map_err(|_elapsed| failed(AccessError::Deadline(STATEMENT_LIMIT).to_string()))?
        .map_err(|error| failed(error.to_string()))?;
    Ok(())
}

/// The inserted values that a server (or whoever the pooler leads to) holds.
pub async fn values_on(login: &Login) -> Result<Vec<u64>, ScenarioError> {
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

struct PostgresHa {
    cluster: Arc<PostgresCluster>,
    case: Case,
}

#[async_trait]
impl HaTarget for PostgresHa {
    async fn prepare(&self) -> Result<(), ScenarioError> {
        healthy(&self.cluster).await?;
        for path in ["schema/postgres/inserts/prepare.sql", "schema/postgres/probe/prepare.sql"] {
            run_script(&self.cluster, path).await?;
        }
        Ok(())
    }

    async fn clients(&self, count: usize) -> Result<Vec<Box<dyn InsertClient>>, ScenarioError> {
        inserters(&self.cluster, count)
    }

    async fn probers(&self) -> Result<Vec<(String, Box<dyn Client>)>, ScenarioError> {
        probers(&self.cluster)
    }

    async fn strike(&self) -> Result<Strike, ScenarioError> {
        self.case.strike(&self.cluster).await
    }

    async fn has_noticed(&self, hit: &[Node]) -> Result<(), String> {
        self.case.has_noticed(&self.cluster, hit).await
    }

    async fn is_redundant(&self, _hit: &[Node]) -> Result<(), String> {
        all_healthy(&self.cluster.health().await)
    }

    async fn present(&self) -> Result<Vec<u64>, ScenarioError> {
        let primary = self.cluster.primary().await.map_err(|reason| ScenarioError::client("find the primary", reason))?;
        values_on(&self.cluster.application_login(primary.socket(SERVER_PORT))).await
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
        let expected: BTreeSet<u64> = values_on(&self.cluster.application_login(primary.socket(SERVER_PORT))).await?.into_iter().collect();
        let is_server = |node: &&Node| self.cluster.servers().iter().any(|server| server.name() == node.name());
        for victim in hit.iter().filter(is_server) {
            let returned = self.cluster.application_login(victim.socket(SERVER_PORT));
            let equal = within("the returned node's rows", CATCH_UP_LIMIT, Duration::from_millis(250), || async {
                let held: BTreeSet<u64> = values_on(&returned).await.map_err(|error| error.to_string())?.into_iter().collect();
                if held == expected { Ok(()) } else { Err(format!("{} of {} values", held.len(), expected.len())) }
            });
            match equal.await {
                Ok(()) => trial.note("role", format!("{} holds all {} values itself", victim.name(), expected.len())),
                Err(deadline) => {
                    trial.find(Finding::violation("returned-node-incomplete", format!("{} holds {}", victim.name(), deadline.last)));
                }
            }
        }
        Ok(())
    }

    async fn sabotage(&self, id: &str) -> Result<(), ScenarioError> {
        sabotage::plant(&self.cluster, id).await
    }

    async fn undo_sabotage(&self, _id: &str) -> Result<(), ScenarioError> {
        sabotage::remove(&self.cluster).await?;
        healthy(&self.cluster).await
    }
}
