//! Neo4j: a causal cluster of the last release whose clustering is free, and a single server of the current generation for
//! what current drivers expect.

mod bolt_one;
mod client;
mod cluster;
mod community;
pub mod domain;
mod modern;
mod pods;
mod routing;
mod routing_driver;

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use bolt_one::BoltOne;
pub use client::{Dialect, GraphClient, GraphError, Login, Rows, USER};
pub use cluster::{CausalCluster, CausalClusterRecord, LEADER};
pub use community::{CommunityRecord, CommunityServer};
pub use pods::{BOLT, BackupFiles, CONFIGURATION, HTTPS, TLS_CIPHERS, TLS_VERSIONS, cluster_users};
pub use routing::{Access, RoutingTable};
pub use routing_driver::{Answer, RoutingDriver};

use crate::{
    database::Cluster,
    engine::{Engine, EngineError},
    platform::{Part, Slot},
    topology::{Ground, GroundError, Member, Profile},
};

/// Cores of a cluster: the least that survives the loss of one.
pub const CORES: usize = 3;

/// This database's share of the platform.
#[derive(Debug, Default)]
pub struct Neo4jPart {
    /// The causal cluster.
    pub cluster: Slot<CausalCluster>,
    /// The single server.
    pub community: Slot<CommunityServer>,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    cluster: Option<CausalClusterRecord>,
    community: Option<CommunityRecord>,
}

/// Read replicas in a profile; `None` where it has no cluster.
pub const fn replicas(profile: Profile) -> Option<usize> {
    match profile {
        Profile::Development => None,
        Profile::Staging => Some(0),
        Profile::Production => Some(1),
    }
}

const fn has_community(profile: Profile) -> bool {
    !matches!(profile, Profile::Staging)
}

#[async_trait]
impl Part for Neo4jPart {
    fn member(&self) -> Member {
        Member::Neo4j
    }

    fn images(&self, profile: Profile) -> Vec<&'static str> {
        let cluster = replicas(profile).map(|_| pods::CLUSTER_IMAGE);
        let community = has_community(profile).then_some(pods::COMMUNITY_IMAGE);
        // A trial of accounts in a directory starts one beside the cluster.
        let directory = replicas(profile).map(|_| pods::DIRECTORY_IMAGE);
        cluster.into_iter().chain(community).chain(directory).collect()
    }

    async fn start(&self, ground: &Ground) -> Result<(), GroundError> {
        let cluster = async {
            if let Some(replicas) = replicas(ground.profile()) {
                let started = Box::pin(CausalCluster::start(ground, "", CORES, replicas, BackupFiles::new())).await?;
                self.cluster.put(Arc::new(started)).await;
            }
            Ok::<(), GroundError>(())
        };
        let community = async {
            if has_community(ground.profile()) {
                let started = Box::pin(CommunityServer::start(ground, "", BackupFiles::new())).await?;
                self.community.put(Arc::new(started)).await;
            }
            Ok(())
        };
        tokio::try_join!(cluster, community)?;
        Ok(())
    }

    async fn clusters(&self) -> Vec<Arc<dyn Cluster>> {
        let mut clusters: Vec<Arc<dyn Cluster>> = Vec::new();
        if let Some(cluster) = self.cluster.get().await {
            clusters.push(cluster);
        }
        if let Some(community) = self.community.get().await {
            clusters.push(community);
        }
        clusters
    }

    async fn clear(&self) -> Result<(), EngineError> {
        if let Some(cluster) = self.cluster.take().await {
            cluster.destroy().await?;
        }
        if let Some(community) = self.community.take().await {
            community.destroy().await?;
        }
        Ok(())
    }

    async fn save(&self) -> serde_json::Value {
        let saved = Saved {
            cluster: self.cluster.get().await.map(|cluster| cluster.record()),
            community: self.community.get().await.map(|community| community.record()),
        };
        if saved.cluster.is_none() && saved.community.is_none() {
            return serde_json::Value::Null;
        }
        // Plain structs of strings and numbers: there is nothing that could fail.
        serde_json::to_value(saved).unwrap_or_default()
    }

    async fn load(&self, engine: &Engine, saved: serde_json::Value) -> Result<(), GroundError> {
        let saved: Saved = serde_json::from_value(saved).map_err(|error| GroundError::database("neo4j", error))?;
        if let Some(record) = saved.cluster {
            self.cluster.put(Arc::new(CausalCluster::attach(engine, record))).await;
        }
        if let Some(record) = saved.community {
            self.community.put(Arc::new(CommunityServer::attach(engine, record))).await;
        }
        Ok(())
    }
}
