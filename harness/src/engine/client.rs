//! The connection to the container engine.

use std::{sync::Arc, time::Duration};

use bollard::Docker;
use tokio::time::{sleep, timeout};

use super::{EngineError, kept_logs::KeptLogs};
use crate::places::{Held, Places, Rank};

/// How many containers are created at the same time: more only queue up inside the engine, and a queue here knows who must go first.
const CREATE_SLOTS: usize = 6;
/// How long the first of those who ask in the same moment waits for the others, so that the order and not chance decides who is first.
const GATHER: Duration = Duration::from_millis(100);

/// A cheap handle of the container engine; clones share one connection pool.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(super) docker: Docker,
    pub(super) starts: Places,
    /// Set where the logs of nodes are kept.
    pub(super) kept_logs: Option<Arc<KeptLogs>>,
}

/// What the engine says of itself.
#[derive(Debug, Clone)]
pub struct EngineInfo {
    /// The engine's version.
    pub version: String,
    /// The kernel's release.
    pub kernel: String,
    /// The architecture, such as `x86_64`.
    pub architecture: String,
    /// Processors that containers may use.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
}

impl Engine {
    /// Connects through testcontainers' configuration (so `DOCKER_HOST` works as its users expect) and asks for an answer.
    ///
    /// # Errors
    /// [`EngineError::Unreachable`] where nothing answers within 5 s.
    pub async fn connect() -> Result<Self, EngineError> {
        let docker = testcontainers::core::client::docker_client_instance()
            .await
            .map_err(|error| EngineError::Unreachable { reason: error.to_string() })?;
        match timeout(Duration::from_secs(5), docker.ping()).await {
            Ok(Ok(_)) => Ok(Self { docker, starts: Places::new(CREATE_SLOTS), kept_logs: None }),
            Ok(Err(error)) => Err(EngineError::Unreachable { reason: error.to_string() }),
            Err(_elapsed) => Err(EngineError::Unreachable { reason: "no answer within 5 s".into() }),
        }
    }

    /// Waits for a place among the starts; it is free again when this is dropped.
    pub(crate) async fn start_place(&self, rank: Rank) -> Held {
        if self.starts.taken() == 0 {
            sleep(GATHER).await;
        }
        self.starts.wait(rank, 1).await
    }

    /// Asks the engine what it is.
    ///
    /// # Errors
    /// Any [`EngineError`] of the request.
    pub async fn info(&self) -> Result<EngineInfo, EngineError> {
        let info = self.docker.info().await.map_err(|e| EngineError::request("describe itself", e))?;
        Ok(EngineInfo {
            version: info.server_version.unwrap_or_default(),
            kernel: info.kernel_version.unwrap_or_default(),
            architecture: info.architecture.unwrap_or_default(),
            cpus: info.ncpu.unwrap_or_default().try_into().unwrap_or_default(),
            memory_bytes: info.mem_total.unwrap_or_default().try_into().unwrap_or_default(),
        })
    }
}
