//! Connections are reset.

use std::time::Duration;

use async_trait::async_trait;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Mutex,
    time::timeout,
};

use super::{
    Fault, FaultError, Firewall,
    firewall::{Rule, Verdict},
    probe::{Connection, Reaction, listens, meets, reacts},
};
use crate::topology::Node;

/// A reset comes back at once.
const PROBE_LIMIT: Duration = Duration::from_secs(1);

/// A node's port resets every connection, new and established, while the process behind it lives: what a firewall or a dying proxy does. What
/// comes over the pod's own loopback is left alone.
#[derive(Debug)]
pub struct ConnectionReset {
    node: Node,
    role: String,
    port: u16,
    firewall: Firewall,
    witness: Mutex<Option<TcpStream>>,
}

impl ConnectionReset {
    /// Resets what belongs to `port`.
    pub fn new(node: Node, role: impl Into<String>, port: u16) -> Self {
        let rules = vec![Rule::loopback(Verdict::Pass), Rule::port(port, Verdict::Reset)];
        Self { node, role: role.into(), port, firewall: Firewall::with(rules.clone(), rules), witness: Mutex::new(None) }
    }

    /// Under the name of an earlier fault, to heal what another process injected.
    #[must_use]
    pub fn named(self, id: &str) -> Self {
        Self { firewall: self.firewall.named(id), ..self }
    }

    /// Whether the connection from before was reset.
    async fn established_is_reset(&self) -> Result<(), String> {
        let mut witness = self.witness.lock().await;
        let Some(stream) = witness.as_mut() else { return Err("no connection was open before".into()) };
        if stream.write_all(b"\0").await.is_err() {
            return Ok(());
        }
        match timeout(PROBE_LIMIT, stream.read(&mut [0_u8; 64])).await {
            Ok(Err(_reset)) => Ok(()),
            Ok(Ok(_)) => Err("the established connection was answered or closed, not reset".into()),
            Err(_elapsed) => Err("the established connection is silent, not reset".into()),
        }
    }
}

#[async_trait]
impl Fault for ConnectionReset {
    fn kind(&self) -> &'static str {
        "connection-reset"
    }

    fn target(&self) -> String {
        format!("port {} of {} ({})", self.port, self.node.name(), self.role)
    }

    async fn prepare(&self) -> Result<(), FaultError> {
        super::life::whole(self, super::life::WHOLE_LIMIT).await?;
        let address = self.node.socket(self.port);
        match timeout(PROBE_LIMIT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                *self.witness.lock().await = Some(stream);
                Ok(())
            }
            _ => Err(FaultError::Other(format!("failed to open the connection to {address} that shall witness the reset"))),
        }
    }

    async fn inject(&self) -> Result<(), FaultError> {
        self.firewall.put(&self.node).await
    }

    fn confirmed_by(&self) -> String {
        format!("port {} refuses, a connection from before is reset, and the process still listens", self.port)
    }

    async fn is_broken(&self) -> Result<(), String> {
        meets(self.node.socket(self.port), Connection::Refused, PROBE_LIMIT).await?;
        if !listens(&self.node, self.port).await? {
            return Err("the process does not listen any more".into());
        }
        self.established_is_reset().await
    }

    async fn heal(&self) -> Result<(), FaultError> {
        self.firewall.remove(&self.node).await?;
        *self.witness.lock().await = None;
        Ok(())
    }

    fn healed_by(&self) -> String {
        format!("port {} reacts to a TLS hello", self.port)
    }

    async fn is_mended(&self) -> Result<(), String> {
        reacts(self.node.socket(self.port), Reaction::Reacted, PROBE_LIMIT).await
    }
}
