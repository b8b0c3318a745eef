//! A node's main process gets a signal.

use std::time::Duration;

use async_trait::async_trait;

use super::{
    Fault, FaultError, Signal,
    probe::{Connection, Reaction, connection, reacts},
};
use crate::topology::Node;

/// How long a port may take to show what it does.
const PROBE_LIMIT: Duration = Duration::from_secs(1);

/// A signal to a node's main process; with SIGKILL all processes of the node end: a process crash. The pod keeps its address,
/// so peers and clients get resets, not silence.
#[derive(Debug, Clone)]
pub struct Kill {
    node: Node,
    role: String,
    port: u16,
    signal: Signal,
}

impl Kill {
    /// SIGKILL. `port` is the node's client port: what it does is the probe, and that goes over the network.
    pub fn new(node: Node, role: impl Into<String>, port: u16) -> Self {
        Self { node, role: role.into(), port, signal: Signal::Kill }
    }

    /// Another signal. After [`Signal::Stop`] the port still accepts, and nobody reacts.
    #[must_use]
    pub fn signal(self, signal: Signal) -> Self {
        Self { signal, ..self }
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

    async fn prepare(&self) -> Result<(), FaultError> {
        if self.signal == Signal::Cont {
            return Err(FaultError::Other("SIGCONT breaks nothing; it is how SIGSTOP is healed".into()));
        }
        super::life::whole(self, super::life::WHOLE_LIMIT).await
    }

    async fn inject(&self) -> Result<(), FaultError> {
        Ok(self.node.signal(self.signal.name()).await?)
    }

    fn confirmed_by(&self) -> String {
        if self.signal == Signal::Stop {
            format!("port {} accepts TCP connections and does not react to a TLS hello", self.port)
        } else {
            format!("port {} refuses TCP connections", self.port)
        }
    }

    async fn is_broken(&self) -> Result<(), String> {
        let address = self.node.socket(self.port);
        if self.signal == Signal::Stop {
            return reacts(address, Reaction::Frozen, PROBE_LIMIT).await;
        }
        match connection(address, PROBE_LIMIT).await {
            Connection::Refused => Ok(()),
            Connection::Accepted => Err("the port still accepts".into()),
            Connection::Silent => Err("the port is silent, which is not what a killed process does".into()),
        }
    }

    async fn heal(&self) -> Result<(), FaultError> {
        if self.signal == Signal::Stop && self.node.state().await?.running {
            return Ok(self.node.signal(Signal::Cont.name()).await?);
        }
        Ok(self.node.start().await?)
    }

    fn healed_by(&self) -> String {
        format!("port {} reacts to a TLS hello", self.port)
    }

    async fn is_mended(&self) -> Result<(), String> {
        reacts(self.node.socket(self.port), Reaction::Reacted, PROBE_LIMIT).await
    }
}
