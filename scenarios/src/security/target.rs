//! What a database has to tell the driver.

use std::net::SocketAddr;

use async_trait::async_trait;
use dora_harness::{security::StartTls, topology::Node};

use crate::ScenarioError;

/// A port that clients connect to.
#[derive(Debug, Clone)]
pub struct Listener {
    /// The node.
    pub node: Node,
    /// The port.
    pub port: u16,
    /// What comes before the handshake.
    pub start: StartTls,
}

/// A database whose client ports are probed.
#[async_trait]
pub trait TlsTarget: Send + Sync {
    /// Every client port of every node (of all its clusters).
    async fn listeners(&self) -> Result<Vec<Listener>, ScenarioError>;

    /// Connects with the database's real client over TLS, logs in and asks for something small. The client verifies the chain
    /// against `authority` (PEM) and the certificate against the IP address that it connects to. The error is the client's own.
    async fn connect(&self, listener: &Listener, address: SocketAddr, authority: &str) -> Result<(), String>;

    /// The same without TLS.
    async fn connect_plaintext(&self, listener: &Listener) -> Result<(), String>;

    /// Plants a defect.
    async fn sabotage(&self, id: &str) -> Result<(), ScenarioError>;

    /// Removes the defect.
    async fn undo_sabotage(&self, id: &str) -> Result<(), ScenarioError>;
}
