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
use dora_fixtures::topology::Topology;
use serde::{Deserialize, Serialize};

pub use bolt_one::BoltOne;
pub use client::{Dialect, GraphClient, GraphError, Login, Rows, USER, cypher};
pub use cluster::{CausalCluster, CausalClusterRecord, LEADER};
pub use community::{CommunityRecord, CommunityServer};
pub use pods::{BOLT, BackupFiles, CONFIGURATION, HTTPS, TLS_CIPHERS, TLS_VERSIONS, cluster_users};
pub use routing::{Access, RoutingTable};
pub use routing_driver::{Answer, RoutingDriver};

use crate::{
    database::Cluster,
    engine::{Engine, EngineError},
    platform::{Part, Slot},
    topology::{Ground, GroundError, Member},
};

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

#[async_trait]
impl Part for Neo4jPart {
    fn member(&self) -> Member {
        Member::Neo4j
    }

    fn images(&self, topology: &Topology) -> Vec<&'static str> {
        let mut images = Vec::new();
        if topology.neo4j.core.count() > 0 {
            // A trial of accounts in a directory starts one beside the cluster.
            images.extend([pods::CLUSTER_IMAGE, pods::DIRECTORY_IMAGE]);
        }
        if topology.neo4j.community.count() > 0 {
            images.push(pods::COMMUNITY_IMAGE);
        }
        images
    }

    async fn start(&self, ground: &Ground) -> Result<(), GroundError> {
        let kinds = &ground.topology().neo4j;
        let cluster = async {
            if kinds.core.count() > 0 {
                let started = Box::pin(CausalCluster::start(ground, "", BackupFiles::new())).await?;
                self.cluster.put(Arc::new(started)).await;
            }
            Ok::<(), GroundError>(())
        };
        let community = async {
            if kinds.community.count() > 0 {
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
