//! This database's share of the platform.

use std::sync::Arc;

use async_trait::async_trait;
use dora_fixtures::topology::Topology;
use serde::{Deserialize, Serialize};

use super::{Credentials, Plan, PostgresCluster, boot};
use crate::{
    database::Cluster,
    engine::{Engine, EngineError},
    platform::{Part, Slot},
    security::Identity,
    topology::{Ground, GroundError, Member, Node, NodeRecord},
};

/// One cluster, or none yet.
#[derive(Debug, Default)]
pub struct PostgresPart {
    cluster: Slot<PostgresCluster>,
}

impl PostgresPart {
    /// The cluster that is there.
    pub async fn cluster(&self) -> Option<Arc<PostgresCluster>> {
        self.cluster.get().await
    }

    /// Starts another cluster and puts it in the place of the one that was there, which the caller has destroyed.
    ///
    /// # Errors
    /// [`GroundError`]; the place is empty then.
    pub async fn start_as(&self, ground: &Ground, plan: Plan) -> Result<Arc<PostgresCluster>, GroundError> {
        self.cluster.take().await;
        let cluster = Arc::new(boot::start(ground, plan).await?);
        self.cluster.put(Arc::clone(&cluster)).await;
        Ok(cluster)
    }
}

/// A cluster as data.
#[derive(Serialize, Deserialize)]
struct Saved {
    etcd: Vec<NodeRecord>,
    servers: Vec<NodeRecord>,
    pooler: NodeRecord,
    credentials: Credentials,
    authority: String,
    identity: Identity,
}

#[async_trait]
impl Part for PostgresPart {
    fn member(&self) -> Member {
        Member::Postgres
    }

    fn images(&self, _topology: &Topology) -> Vec<&'static str> {
        vec!["base", "postgres", "etcd", "pgbouncer"]
    }

    async fn start(&self, ground: &Ground) -> Result<(), GroundError> {
        self.start_as(ground, Plan::default()).await?;
        Ok(())
    }

    async fn clusters(&self) -> Vec<Arc<dyn Cluster>> {
        self.cluster.get().await.into_iter().map(|cluster| cluster as Arc<dyn Cluster>).collect()
    }

    async fn clear(&self) -> Result<(), EngineError> {
        match self.cluster.take().await {
            Some(cluster) => cluster.destroy().await,
            None => Ok(()),
        }
    }

    async fn save(&self) -> serde_json::Value {
        let Some(cluster) = self.cluster.get().await else { return serde_json::Value::Null };
        let records = |nodes: &[Node]| nodes.iter().map(Node::record).collect();
        let saved = Saved {
            etcd: records(&cluster.etcd),
            servers: records(&cluster.servers),
            pooler: cluster.pooler.record(),
            credentials: cluster.credentials.clone(),
            authority: cluster.authority.clone(),
            identity: cluster.identity.clone(),
        };
        // Strings, numbers and lists only: nothing in it can fail to become JSON.
        serde_json::to_value(saved).unwrap_or_default()
    }

    async fn load(&self, engine: &Engine, saved: serde_json::Value) -> Result<(), GroundError> {
        let saved: Saved = serde_json::from_value(saved).map_err(|error| GroundError::database("postgres", error))?;
        let attach = |records: Vec<NodeRecord>| records.into_iter().map(|record| Node::attach(engine, record)).collect();
        let cluster = PostgresCluster {
            etcd: attach(saved.etcd),
            servers: attach(saved.servers),
            pooler: Node::attach(engine, saved.pooler),
            credentials: saved.credentials,
            authority: saved.authority,
            identity: saved.identity,
        };
        self.cluster.put(Arc::new(cluster)).await;
        Ok(())
    }
}
