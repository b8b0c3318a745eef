//! OpenBao, which stands for Vault: nodes that unseal themselves.

mod api;
mod cluster;
mod pki;
mod volume_keys;

use std::sync::Arc;

use async_trait::async_trait;
use dora_fixtures::topology::Topology;

pub use api::{Api, OpenbaoError, PORT, ServerState};
pub use cluster::{AUDIT_LOG, KV_MOUNT, Openbao, OpenbaoRecord};
pub use pki::{Issued, Pki, PkiError};
pub use volume_keys::VolumeKeys;

use crate::{
    database::Cluster,
    engine::{Engine, EngineError},
    platform::{Part, Slot},
    topology::{Ground, GroundError, Member},
};

/// OpenBao's share of the platform.
#[derive(Debug, Default)]
pub struct OpenbaoPart {
    /// The servers.
    pub server: Slot<Openbao>,
}

#[async_trait]
impl Part for OpenbaoPart {
    fn member(&self) -> Member {
        Member::Openbao
    }

    fn images(&self, _topology: &Topology) -> Vec<&'static str> {
        vec!["openbao"]
    }

    async fn start(&self, ground: &Ground) -> Result<(), GroundError> {
        let names = ground.topology().openbao.server.names("");
        self.server.put(Arc::new(Openbao::start(ground, &names).await?)).await;
        Ok(())
    }

    async fn clusters(&self) -> Vec<Arc<dyn Cluster>> {
        self.server.get().await.map(|server| server as Arc<dyn Cluster>).into_iter().collect()
    }

    async fn clear(&self) -> Result<(), EngineError> {
        match self.server.take().await {
            Some(server) => server.destroy().await,
            None => Ok(()),
        }
    }

    async fn save(&self) -> serde_json::Value {
        match self.server.get().await {
            // A record is made of texts and numbers: there is nothing that could fail to become JSON.
            Some(server) => serde_json::to_value(server.record()).unwrap_or_default(),
            None => serde_json::Value::Null,
        }
    }

    async fn load(&self, engine: &Engine, saved: serde_json::Value) -> Result<(), GroundError> {
        let record = serde_json::from_value(saved).map_err(|error| GroundError::database("openbao", error))?;
        let server = Openbao::attach(engine, record).map_err(|error| GroundError::database("openbao", error))?;
        self.server.put(Arc::new(server)).await;
        Ok(())
    }
}
