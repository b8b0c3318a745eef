//! A whole machine is gone.

use std::time::Duration;

use async_trait::async_trait;

use super::{
    Fault, FaultError, Firewall,
    firewall::{Rule, Verdict},
    probe::{Connection, Reaction, connection, reaction},
};
use crate::topology::Node;

/// Silence that lasts this long is no slow answer: on a bridge an answer takes microseconds.
const PROBE_LIMIT: Duration = Duration::from_millis(500);
/// Reading a table takes well under a second.
const EXEC_LIMIT: Duration = Duration::from_secs(10);

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
        let table = self.node.exec_in_pod(&["cat", "/proc/net/tcp", "/proc/net/tcp6"], &[], EXEC_LIMIT).await;
        if listens(&table.map_err(|error| error.to_string())?.stdout, self.port) {
            return Err("the process still listens".into());
        }
        match connection(self.node.socket(self.port), PROBE_LIMIT).await {
            Connection::Silent => Ok(()),
            other => Err(format!("a connection is {other:?}")),
        }
    }

    async fn heal(&self) -> Result<(), FaultError> {
        self.firewall.remove(&self.node).await?;
        Ok(self.node.start().await?)
    }

    fn healed_by(&self) -> String {
        format!("port {} reacts to a TLS hello", self.port)
    }

    async fn is_mended(&self) -> Result<(), String> {
        match reaction(self.node.socket(self.port), PROBE_LIMIT).await {
            Reaction::Reacted => Ok(()),
            other => Err(format!("the port is {other:?}")),
        }
    }
}

/// Whether `/proc/net/tcp` (proc(5)) has a listening socket (state 0A) on the port.
fn listens(table: &str, port: u16) -> bool {
    table.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, _remote, state) = (fields.next(), fields.next(), fields.next());
        state == Some("0A") && local.is_some_and(|local| local.ends_with(&format!(":{port:04X}")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_found_in_the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue\n   0: 00000000:1538 00000000:0000 0A 00000000:00000000\n   1: 0A0012C6:18EB 010012C6:D2F0 01 0";
        assert!(listens(table, 0x1538));
        assert!(!listens(table, 0x18EB), "an open connection is no listener");
    }
}
