//! Redis.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    database::Cluster,
    engine::{Engine, EngineError},
    platform::Part,
    topology::{Ground, GroundError, Member, Profile},
};

/// This database's share of the platform.
#[derive(Debug, Default)]
pub struct RedisPart {}

#[async_trait]
impl Part for RedisPart {
    fn member(&self) -> Member {
        Member::Redis
    }

    fn images(&self, _profile: Profile) -> Vec<&'static str> {
        Vec::new()
    }

    async fn start(&self, _ground: &Ground) -> Result<(), GroundError> {
        Ok(())
    }

    async fn clusters(&self) -> Vec<Arc<dyn Cluster>> {
        Vec::new()
    }

    async fn clear(&self) -> Result<(), EngineError> {
        Ok(())
    }

    async fn save(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    async fn load(&self, _engine: &Engine, _saved: serde_json::Value) -> Result<(), GroundError> {
        Ok(())
    }
}
