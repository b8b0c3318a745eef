//! A whole machine is gone.

use std::time::Duration;

use async_trait::async_trait;

use super::{
    Fault, FaultError, Firewall,
    firewall::{Rule, Verdict},
    probe::{Connection, Reaction, listens, meets, reacts},
};
use crate::topology::Node;

/// Silence that lasts this long is no slow answer: on a bridge an answer takes microseconds.
const PROBE_LIMIT: Duration = Duration::from_millis(500);

/// The pod is cut off and its database killed: peers and clients meet silence, not resets, as when a machine loses its power.
#[derive(Debug, Clone)]
pub struct NodeLoss {
    node: Node,
    role: String,
    port: u16,
    firewall: Firewall,
}

impl NodeLoss {
    /// `port` is the node's client port.
    pub fn new(node: Node, role: impl Into<String>, port: u16) -> Self {
        let rules = vec![Rule::loopback(Verdict::Pass), Rule::all(Verdict::Drop)];
        Self { node, role: role.into(), port, firewall: Firewall::with(rules.clone(), rules) }
    }

    /// Under the name of an earlier fault, to heal what another process injected.
    #[must_use]
    pub fn named(self, id: &str) -> Self {
        Self { firewall: self.firewall.named(id), ..self }
    }
}

#[async_trait]
impl Fault for NodeLoss {
    fn kind(&self) -> &'static str {
        "node-loss"
    }

    fn target(&self) -> String {
        format!("{} ({})", self.node.name(), self.role)
    }

    async fn inject(&self) -> Result<(), FaultError> {
        // First the silence: a kill before it would send the resets that a lost machine cannot send.
        self.firewall.put(&self.node).await?;
        Ok(self.node.kill().await?)
    }

    fn confirmed_by(&self) -> String {
        format!("port {} is silent, and the pod's own table of sockets has no listener on it", self.port)
    }

    async fn is_broken(&self) -> Result<(), String> {
        if listens(&self.node, self.port).await? {
            return Err("the process still listens".into());
        }
        meets(self.node.socket(self.port), Connection::Silent, PROBE_LIMIT).await
    }

    async fn heal(&self) -> Result<(), FaultError> {
        self.firewall.remove(&self.node).await?;
        Ok(self.node.start().await?)
    }

    fn healed_by(&self) -> String {
        format!("port {} reacts to a TLS hello", self.port)
    }

    async fn is_mended(&self) -> Result<(), String> {
        reacts(self.node.socket(self.port), Reaction::Reacted, PROBE_LIMIT).await
    }
}
