//! A node is frozen.

use std::time::Duration;

use async_trait::async_trait;

use super::{
    Fault, FaultError,
    probe::{Reaction, reacts},
};
use crate::topology::Node;

/// A running server reacts to a hello within this time.
const PROBE_LIMIT: Duration = Duration::from_millis(500);

/// All processes of a node are frozen: its kernel still accepts connections and acknowledges bytes, and nobody reads them. Clients and peers
/// meet neither resets nor silence, only time-outs of their own.
#[derive(Debug, Clone)]
pub struct Pause {
    node: Node,
    role: String,
    port: u16,
}

impl Pause {
    /// `port` is the node's client port.
    pub fn new(node: Node, role: impl Into<String>, port: u16) -> Self {
        Self { node, role: role.into(), port }
    }
}

#[async_trait]
impl Fault for Pause {
    fn kind(&self) -> &'static str {
        "pause"
    }

    fn target(&self) -> String {
        format!("{} ({})", self.node.name(), self.role)
    }

    async fn inject(&self) -> Result<(), FaultError> {
        Ok(self.node.pause().await?)
    }

    fn confirmed_by(&self) -> String {
        format!("port {} accepts TCP connections and does not react to a TLS hello", self.port)
    }

    async fn is_broken(&self) -> Result<(), String> {
        reacts(self.node.socket(self.port), Reaction::Frozen, PROBE_LIMIT).await
    }

    async fn heal(&self) -> Result<(), FaultError> {
        if self.node.state().await?.paused {
            self.node.unpause().await?;
        }
        Ok(())
    }

    fn healed_by(&self) -> String {
        format!("port {} reacts to a TLS hello", self.port)
    }

    async fn is_mended(&self) -> Result<(), String> {
        reacts(self.node.socket(self.port), Reaction::Reacted, PROBE_LIMIT).await
    }
}
