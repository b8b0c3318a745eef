//! A node is stopped and started again at once.

use std::time::Duration;

use async_trait::async_trait;
use tokio::{net::TcpStream, sync::Mutex, time::timeout};

use super::{
    Fault, FaultError,
    probe::{Reaction, reacts},
};
use crate::topology::Node;

/// How long a port may take to show what it does.
const PROBE_LIMIT: Duration = Duration::from_secs(1);

/// A graceful stop and a start right after it. The proof is a connection that was open before: it does not outlive its server.
#[derive(Debug)]
pub struct Restart {
    node: Node,
    role: String,
    port: u16,
    grace: Duration,
    witness: Mutex<Option<TcpStream>>,
}

impl Restart {
    /// `port` is the node's client port; SIGKILL follows after `grace`.
    pub fn new(node: Node, role: impl Into<String>, port: u16, grace: Duration) -> Self {
        Self { node, role: role.into(), port, grace, witness: Mutex::new(None) }
    }
}

#[async_trait]
impl Fault for Restart {
    fn kind(&self) -> &'static str {
        "restart"
    }

    fn target(&self) -> String {
        format!("{} ({})", self.node.name(), self.role)
    }

    async fn prepare(&self) -> Result<(), FaultError> {
        super::life::whole(self, super::life::WHOLE_LIMIT).await?;
        let address = self.node.socket(self.port);
        let opened = timeout(PROBE_LIMIT, TcpStream::connect(address)).await;
        let Ok(Ok(stream)) = opened else {
            return Err(FaultError::Other(format!("failed to open the connection to {address} that shall witness the restart")));
        };
        // A server that closes it by itself would be taken for one that restarts.
        if ended(&stream) {
            return Err(FaultError::Other(format!("{address} closes a silent connection at once, so none can witness the restart")));
        }
        *self.witness.lock().await = Some(stream);
        Ok(())
    }

    async fn inject(&self) -> Result<(), FaultError> {
        self.node.stop(self.grace).await?;
        Ok(self.node.start().await?)
    }

    fn confirmed_by(&self) -> String {
        format!("a connection to port {}, opened before, was closed by the node", self.port)
    }

    async fn is_broken(&self) -> Result<(), String> {
        match &*self.witness.lock().await {
            Some(stream) if ended(stream) => Ok(()),
            Some(_) => Err("the connection from before is still open".into()),
            None => Err("no connection was open before".into()),
        }
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

/// Whether the other side ended the connection.
fn ended(stream: &TcpStream) -> bool {
    match stream.try_read(&mut [0_u8; 64]) {
        Ok(0) => true,
        Ok(_greeting) => false,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}
