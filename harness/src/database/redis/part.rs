//! Redis' share of the platform.

use std::sync::Arc;

use async_trait::async_trait;
use dora_fixtures::topology::Topology;
use serde::{Deserialize, Serialize};

use super::{
    replicated::{Replicated, ReplicatedPlan, ReplicatedState},
    sharded::{Sharded, ShardedState},
};
use crate::{
    database::Cluster,
    engine::{Engine, EngineError},
    platform::{Part, Slot},
    topology::{Ground, GroundError, Member},
};

/// This database's share of the platform.
#[derive(Debug, Default)]
pub struct RedisPart {
    /// Master, replicas, Sentinels.
    pub replicated: Slot<Replicated>,
    /// The nodes of the Cluster.
    pub sharded: Slot<Sharded>,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    replicated: Option<ReplicatedState>,
    sharded: Option<ShardedState>,
}

impl RedisPart {
    async fn start_sharded(&self, ground: &Ground) -> Result<(), GroundError> {
        if ground.topology().redis.cluster.count() > 0 {
            self.sharded.put(Arc::new(Sharded::start(ground).await?)).await;
        }
        Ok(())
    }
}

#[async_trait]
impl Part for RedisPart {
    fn member(&self) -> Member {
        Member::Redis
    }

    fn images(&self, _topology: &Topology) -> Vec<&'static str> {
        vec!["redis"]
    }

    async fn start(&self, ground: &Ground) -> Result<(), GroundError> {
        let plan = ReplicatedPlan::default();
        let (replicated, sharded) = tokio::join!(Replicated::start(ground, &plan), self.start_sharded(ground));
        self.replicated.put(Arc::new(replicated?)).await;
        sharded
    }

    async fn clusters(&self) -> Vec<Arc<dyn Cluster>> {
        let mut clusters: Vec<Arc<dyn Cluster>> = Vec::new();
        if let Some(replicated) = self.replicated.get().await {
            clusters.push(replicated);
        }
        if let Some(sharded) = self.sharded.get().await {
            clusters.push(sharded);
        }
        clusters
    }

    async fn clear(&self) -> Result<(), EngineError> {
        if let Some(replicated) = self.replicated.take().await {
            replicated.destroy().await?;
        }
        if let Some(sharded) = self.sharded.take().await {
            sharded.destroy().await?;
        }
        Ok(())
    }

    async fn save(&self) -> serde_json::Value {
        let saved = Saved {
            replicated: self.replicated.get().await.map(|set| set.state()),
            sharded: self.sharded.get().await.map(|cluster| cluster.state()),
        };
        if saved.replicated.is_none() && saved.sharded.is_none() {
            return serde_json::Value::Null;
        }
        // Names, numbers and texts: nothing in it that JSON cannot hold.
        serde_json::to_value(saved).unwrap_or_default()
    }

    async fn load(&self, engine: &Engine, saved: serde_json::Value) -> Result<(), GroundError> {
        let saved: Saved = serde_json::from_value(saved).map_err(|error| GroundError::database(Replicated::NAME, error))?;
        if let Some(state) = saved.replicated {
            self.replicated.put(Arc::new(Replicated::attach(engine, state))).await;
        }
        if let Some(state) = saved.sharded {
            self.sharded.put(Arc::new(Sharded::attach(engine, state))).await;
        }
        Ok(())
    }
}
