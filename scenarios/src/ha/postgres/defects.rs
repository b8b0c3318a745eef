//! How defects are planted and removed.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dora_fixtures::assets;
use dora_harness::{
    database::postgres::{PostgresCluster, connect},
    patience::within,
    topology::Node,
};
use tokio::{task::JoinSet, time::sleep};

use super::{line::CONNECT_LIMIT, pooler, sabotage, settings, target::run_script};
use crate::{Sabotage, ScenarioError};

/// How long something stays frozen. Longer than the objective after the fault; frozen for good, a proof would only wait for a redundancy
/// that cannot come.
const FROZEN_FOR: Duration = Duration::from_mins(1);
/// How long an etcd member stays down, for the same reason.
const DOWN_FOR: Duration = Duration::from_secs(45);
/// Patroni applies changed settings in its next round.
const SETTINGS_LIMIT: Duration = Duration::from_secs(30);

/// What is planted in a cluster at this moment.
pub struct Defects {
    cluster: Arc<PostgresCluster>,
    planted: Mutex<Option<String>>,
    /// What ends defects by itself; ended with the defects, lest it meddles with the next scenario.
    ends: Mutex<JoinSet<()>>,
}

fn find_primary(reason: String) -> ScenarioError {
    ScenarioError::client("find the primary", reason)
}

impl Defects {
    /// None yet.
    pub fn new(cluster: Arc<PostgresCluster>) -> Self {
        Self { cluster, planted: Mutex::default(), ends: Mutex::default() }
    }

    /// Whether this one is planted.
    pub fn has(&self, sabotage: &Sabotage) -> bool {
        self.planted.lock().unwrap_or_else(PoisonError::into_inner).as_deref() == Some(sabotage.id)
    }

    /// Plants a defect; those that a failover manager would notice by itself wait for [`Defects::plant_with_fault`].
    pub async fn plant(&self, id: &str) -> Result<(), ScenarioError> {
        *self.planted.lock().unwrap_or_else(PoisonError::into_inner) = Some(id.to_owned());
        let primary = self.cluster.primary().await.map_err(find_primary)?;
        let standbys: Vec<&Node> = self.cluster.servers().iter().filter(|server| server.name() != primary.name()).collect();
        if self.has(&sabotage::PATRONI_FROZEN) || self.has(&sabotage::STANDBYS_DEAF) {
            for standby in standbys {
                self.freeze(standby).await?;
            }
        } else if self.has(&sabotage::SYNCHRONOUS_MODE_OFF) || self.has(&sabotage::NO_SYNCHRONOUS_MODE) || self.has(&sabotage::SPLIT_BRAIN)
        {
            asynchronous(&self.cluster).await?;
        } else if self.has(&sabotage::PATRONI_PAUSED) {
            self.pause().await?;
        } else if self.has(&sabotage::POOL_PINNED) || self.has(&sabotage::LEADER_UNAWARE) {
            pooler::pin(&self.cluster, &primary).await?;
        } else if self.has(&sabotage::ALL_STANDBYS_AWAITED) || self.has(&sabotage::DEAD_STANDBY_AWAITED) {
            self.await_all(&standbys).await?;
        } else if self.has(&sabotage::ETCD_MEMBER_DOWN) {
            self.stop_etcd_follower().await?;
        } else if self.has(&sabotage::SESSION_POOLING) {
            pooler::pool_by_session(&self.cluster).await?;
        } else if self.has(&sabotage::FSYNC_OFF) {
            without_flushes(&self.cluster).await?;
        } else if self.has(&sabotage::NEVER_REWOUND) {
            settings::change(&self.cluster, settings::WITHOUT_REWIND).await?;
        } else if self.has(&sabotage::UNLOGGED) {
            run_script(&self.cluster, "schema/postgres/sabotage/unlogged.sql").await?;
        }
        Ok(())
    }

    /// Plants what has to come right before the fault.
    pub async fn plant_with_fault(&self) -> Result<(), ScenarioError> {
        let planted = [&sabotage::SPLIT_BRAIN, &sabotage::LEADER_FROZEN, &sabotage::LEADER_UNAWARE, &sabotage::DEAD_STANDBY_AWAITED];
        if planted.into_iter().any(|sabotage| self.has(sabotage)) {
            let primary = self.cluster.primary().await.map_err(find_primary)?;
            self.freeze(&primary).await?;
        }
        Ok(())
    }

    /// Removes whatever was planted.
    pub async fn remove(&self) -> Result<(), ScenarioError> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
        *self.planted.lock().unwrap_or_else(PoisonError::into_inner) = None;
        for member in self.cluster.etcd() {
            if !member.state().await?.running {
                member.start().await?;
            }
        }
        for server in self.cluster.servers() {
            self.cluster.freeze_patroni(server, false).await?;
        }
        pooler::restore(&self.cluster).await?;
        settings::restore(&self.cluster).await
    }

    fn end_after(&self, time: Duration, end: impl Future<Output = ()> + Send + 'static) {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).spawn(async move {
            sleep(time).await;
            end.await;
        });
    }

    async fn freeze(&self, server: &Node) -> Result<(), ScenarioError> {
        self.cluster.freeze_patroni(server, true).await?;
        let (cluster, server) = (Arc::clone(&self.cluster), server.clone());
        self.end_after(FROZEN_FOR, async move {
            // When it fails, removing the defects tries again and tells.
            let _ = cluster.freeze_patroni(&server, false).await;
        });
        Ok(())
    }

    async fn stop_etcd_follower(&self) -> Result<(), ScenarioError> {
        let asked = self.cluster.etcd_by_role().await.map_err(|reason| ScenarioError::client("ask etcd for its leader", reason))?;
        let Some(follower) = asked.1.first().cloned() else {
            return Err(ScenarioError::Missing("etcd has one member, so none can be down".to_owned()));
        };
        follower.kill().await?;
        self.end_after(DOWN_FOR, async move {
            // As above.
            let _ = follower.start().await;
        });
        Ok(())
    }

    async fn pause(&self) -> Result<(), ScenarioError> {
        settings::change(&self.cluster, settings::PAUSED).await?;
        for server in self.cluster.servers() {
            within("maintenance mode", SETTINGS_LIMIT, Duration::from_millis(250), || async {
                if self.cluster.is_paused(server).await? { Ok(()) } else { Err(format!("{} is not in it", server.name())) }
            })
            .await?;
        }
        Ok(())
    }

    async fn await_all(&self, standbys: &[&Node]) -> Result<(), ScenarioError> {
        settings::change(&self.cluster, settings::STRICT).await?;
        within("a primary that waits for every standby", SETTINGS_LIMIT, Duration::from_millis(250), || async {
            let names = self.cluster.synchronous_standby_names().await?;
            if standbys.iter().all(|standby| names.contains(standby.name())) { Ok(()) } else { Err(format!("it waits for {names}")) }
        })
        .await?;
        Ok(())
    }
}

/// Makes the cluster acknowledge without waiting for a standby.
pub async fn asynchronous(cluster: &PostgresCluster) -> Result<(), ScenarioError> {
    settings::change(cluster, settings::ASYNCHRONOUS).await?;
    within("a primary that waits for nobody", SETTINGS_LIMIT, Duration::from_millis(250), || async {
        let names = cluster.synchronous_standby_names().await?;
        if names.is_empty() { Ok(()) } else { Err(format!("it waits for {names}")) }
    })
    .await?;
    Ok(())
}

/// Lets every server run without flushing anything.
async fn without_flushes(cluster: &PostgresCluster) -> Result<(), ScenarioError> {
    settings::change(cluster, settings::WITHOUT_FLUSHES).await?;
    for server in cluster.servers() {
        within("a server that flushes nothing", SETTINGS_LIMIT, Duration::from_millis(250), || async {
            let mut connection = connect(&cluster.superuser_login(server), CONNECT_LIMIT).await.map_err(|error| error.to_string())?;
            let question = assets::text("schema/postgres/monitoring/flushes.sql").map_err(|error| error.to_string())?;
            let flushes: bool = sqlx::query_scalar(question).fetch_one(&mut connection).await.map_err(|error| error.to_string())?;
            if flushes { Err(format!("{} still flushes", server.name())) } else { Ok(()) }
        })
        .await?;
    }
    Ok(())
}
