//! The whole platform: one part for each database, started side by side.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use dora_fixtures::topology::Topology;
use futures_util::future::join_all;
use tokio::sync::{Mutex, RwLock};

use crate::{
    database::{Cluster, influxdb::InfluxdbPart, mongodb::MongodbPart, neo4j::Neo4jPart, postgres::PostgresPart, redis::RedisPart},
    engine::{Engine, EngineError},
    network::{NetworkError, Policy, Zones},
    security::TlsProber,
    service::openbao::OpenbaoPart,
    topology::{Ground, GroundError, Member, NodeHealth, Profile},
};

/// A place for a cluster that can be taken away and replaced while others hold on to what they have.
#[derive(Debug)]
pub struct Slot<C>(RwLock<Option<Arc<C>>>);

impl<C> Default for Slot<C> {
    fn default() -> Self {
        Self(RwLock::new(None))
    }
}

impl<C> Slot<C> {
    /// What is in it.
    pub async fn get(&self) -> Option<Arc<C>> {
        self.0.read().await.clone()
    }

    /// Puts a cluster in and returns what was there.
    pub async fn put(&self, cluster: Arc<C>) -> Option<Arc<C>> {
        self.0.write().await.replace(cluster)
    }

    /// Empties it.
    pub async fn take(&self) -> Option<Arc<C>> {
        self.0.write().await.take()
    }
}

/// One database's share of the platform.
#[async_trait]
pub trait Part: Send + Sync {
    /// Which one.
    fn member(&self) -> Member;

    /// The images that it needs for these nodes, by name in the catalogue.
    fn images(&self, topology: &Topology) -> Vec<&'static str>;

    /// Starts its clusters and returns when every node has its role; also after [`Part::clear`].
    async fn start(&self, ground: &Ground) -> Result<(), GroundError>;

    /// Its clusters that are there.
    async fn clusters(&self) -> Vec<Arc<dyn Cluster>>;

    /// Removes all its clusters with their data.
    async fn clear(&self) -> Result<(), EngineError>;

    /// Everything that another process needs to use the clusters, secrets included.
    async fn save(&self) -> serde_json::Value;

    /// The reverse of [`Part::save`].
    async fn load(&self, engine: &Engine, saved: serde_json::Value) -> Result<(), GroundError>;
}

/// All parts. Those that were not asked for stay empty.
#[derive(Default)]
pub struct Platform {
    /// PostgreSQL.
    pub postgres: PostgresPart,
    /// Neo4j.
    pub neo4j: Neo4jPart,
    /// MongoDB.
    pub mongodb: MongodbPart,
    /// InfluxDB.
    pub influxdb: InfluxdbPart,
    /// Redis.
    pub redis: RedisPart,
    /// OpenBao.
    pub openbao: OpenbaoPart,
    prober: RwLock<Option<TlsProber>>,
    zones: Mutex<Option<Arc<Zones>>>,
}

impl std::fmt::Debug for Platform {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Platform").finish_non_exhaustive()
    }
}

impl Platform {
    /// The part of that name.
    pub fn part(&self, member: Member) -> &dyn Part {
        match member {
            Member::Postgres => &self.postgres,
            Member::Neo4j => &self.neo4j,
            Member::Mongodb => &self.mongodb,
            Member::Influxdb => &self.influxdb,
            Member::Redis => &self.redis,
            Member::Openbao => &self.openbao,
        }
    }

    /// The images that these members need, without duplicates.
    ///
    /// # Errors
    /// [`GroundError::Topology`] when the profile's file cannot be used.
    pub fn images(&self, members: &[Member], profile: Profile) -> Result<Vec<&'static str>, GroundError> {
        let topology = profile.topology()?;
        let mut names: Vec<&str> = members.iter().flat_map(|member| self.part(*member).images(topology)).collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// Starts these members side by side, the slow starters first in the engine's queue.
    ///
    /// # Errors
    /// The first failure; what had been started is the caller's (the run's) to remove.
    pub async fn start(&self, ground: &Ground, members: &[Member]) -> Result<(), GroundError> {
        let ordered: Vec<Member> = Member::ALL.into_iter().filter(|member| members.contains(member)).collect();
        let starts = ordered.iter().map(|member| async move { self.part(*member).start(ground).await });
        futures_util::future::try_join_all(starts).await?;
        Ok(())
    }

    /// Removes one part and starts it anew on empty data.
    ///
    /// # Errors
    /// [`GroundError`].
    pub async fn replace(&self, ground: &Ground, member: Member) -> Result<(), GroundError> {
        let part = self.part(member);
        part.clear().await?;
        part.start(ground).await
    }

    /// A prober inside the run's network, started when first asked for.
    ///
    /// # Errors
    /// [`GroundError`] when its pod does not start.
    pub async fn prober(&self, ground: &Ground) -> Result<TlsProber, GroundError> {
        let mut prober = self.prober.write().await;
        if let Some(prober) = &*prober {
            return Ok(prober.clone());
        }
        let started = ground.prober().await?;
        *prober = Some(started.clone());
        Ok(started)
    }

    /// The run's zones with a seat in each, laid when first asked for.
    ///
    /// # Errors
    /// [`NetworkError`] when a network, the router or a seat does not start.
    pub async fn zones(&self, ground: &Ground, policy: &Policy) -> Result<Arc<Zones>, NetworkError> {
        let mut zones = self.zones.lock().await;
        if let Some(zones) = &*zones {
            return Ok(Arc::clone(zones));
        }
        let laid = Arc::new(Zones::lay(ground, policy).await?);
        *zones = Some(Arc::clone(&laid));
        Ok(laid)
    }

    /// Every cluster that is there.
    pub async fn clusters(&self) -> Vec<Arc<dyn Cluster>> {
        let mut clusters = Vec::new();
        for member in Member::ALL {
            clusters.extend(self.part(member).clusters().await);
        }
        clusters
    }

    /// Whether every node of one part has its role.
    pub async fn part_health(&self, member: Member) -> Vec<NodeHealth> {
        let clusters = self.part(member).clusters().await;
        join_all(clusters.iter().map(|cluster| cluster.health())).await.into_iter().flatten().collect()
    }

    /// Whether every node has its role.
    pub async fn health(&self) -> Vec<NodeHealth> {
        join_all(Member::ALL.map(|member| self.part_health(member))).await.into_iter().flatten().collect()
    }

    /// All parts as data, secrets included.
    pub async fn save(&self) -> BTreeMap<String, serde_json::Value> {
        let mut saved = BTreeMap::new();
        for member in Member::ALL {
            let value = self.part(member).save().await;
            if !value.is_null() {
                saved.insert(member.name().to_owned(), value);
            }
        }
        saved
    }

    /// The reverse of [`Platform::save`].
    ///
    /// # Errors
    /// [`GroundError`] when the data are not what a part saved.
    pub async fn load(engine: &Engine, mut saved: BTreeMap<String, serde_json::Value>) -> Result<Self, GroundError> {
        let platform = Self::default();
        for member in Member::ALL {
            if let Some(value) = saved.remove(member.name()) {
                platform.part(member).load(engine, value).await?;
            }
        }
        Ok(platform)
    }
}

/// What is unhealthy, in one line; [`Ok`] when nothing is and there is something.
///
/// # Errors
/// The unhealthy nodes and what they said.
pub fn all_healthy(health: &[NodeHealth]) -> Result<(), String> {
    if health.is_empty() {
        return Err("no node is there".into());
    }
    let sick: Vec<String> = health
        .iter()
        .filter(|node| !node.healthy)
        .map(|node| format!("{} is {} instead of {}", node.node, node.observed, node.expected))
        .collect();
    if sick.is_empty() { Ok(()) } else { Err(sick.join("; ")) }
}
