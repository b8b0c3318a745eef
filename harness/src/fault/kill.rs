//! A node's processes end at once.

use async_trait::async_trait;

use super::{Fault, FaultError};
use crate::topology::Node;

/// SIGKILL to all processes of a node: a process crash. The pod keeps its address, so peers and clients get resets, not
/// silence.
#[derive(Debug, Clone)]
pub struct Kill {
    node: Node,
    role: String,
    port: u16,
}

impl Kill {
    /// `port` is the node's client port: whether it accepts connections is the probe, and that goes over the network.
    pub fn new(node: Node, role: impl Into<String>, port: u16) -> Self {
        Self { node, role: role.into(), port }
    }
}

#[async_trait]
impl Fault for Kill {
    fn kind(&self) -> &'static str {
        "kill"
    }

    fn target(&self) -> String {
        format!("{} ({})", self.node.name(), self.role)
    }

    async fn inject(&self) -> Result<(), FaultError> {
        Ok(self.node.kill().await?)
    }

    fn confirmed_by(&self) -> String {
        format!("port {} refuses TCP connections", self.port)
    }

    async fn is_broken(&self) -> Result<(), String> {
        if self.node.accepts(self.port).await { Err("the port still accepts".into()) } else { Ok(()) }
    }

    async fn heal(&self) -> Result<(), FaultError> {
        Ok(self.node.start().await?)
    }

    fn healed_by(&self) -> String {
        format!("port {} accepts TCP connections", self.port)
    }

    async fn is_mended(&self) -> Result<(), String> {
        if self.node.accepts(self.port).await { Ok(()) } else { Err("the port refuses".into()) }
    }
}
