//! A node is stopped as an administrator does it.

use std::time::Duration;

use async_trait::async_trait;

use super::{
    Fault, FaultError,
    probe::{Connection, Reaction, meets, reacts},
};
use crate::topology::Node;

/// How long a port may take to show what it does.
const PROBE_LIMIT: Duration = Duration::from_secs(1);

/// SIGTERM to the main process, SIGKILL after a grace: the node may say goodbye to its peers.
#[derive(Debug, Clone)]
pub struct Stop {
    node: Node,
    role: String,
    port: u16,
    grace: Duration,
}

impl Stop {
    /// `port` is the node's client port.
    pub fn new(node: Node, role: impl Into<String>, port: u16, grace: Duration) -> Self {
        Self { node, role: role.into(), port, grace }
    }
}

#[async_trait]
impl Fault for Stop {
    fn kind(&self) -> &'static str {
        "stop"
    }

    fn target(&self) -> String {
        format!("{} ({})", self.node.name(), self.role)
    }

    async fn inject(&self) -> Result<(), FaultError> {
        Ok(self.node.stop(self.grace).await?)
    }

    fn confirmed_by(&self) -> String {
        format!("port {} refuses TCP connections", self.port)
    }

    async fn is_broken(&self) -> Result<(), String> {
        meets(self.node.socket(self.port), Connection::Refused, PROBE_LIMIT).await
    }

    async fn heal(&self) -> Result<(), FaultError> {
        Ok(self.node.start().await?)
    }

    fn healed_by(&self) -> String {
        format!("port {} reacts to a TLS hello", self.port)
    }

    async fn is_mended(&self) -> Result<(), String> {
        reacts(self.node.socket(self.port), Reaction::Reacted, PROBE_LIMIT).await
    }
}
