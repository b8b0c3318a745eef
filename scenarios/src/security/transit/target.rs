//! What a database has to tell the drivers, and defects that every database can have.

use std::time::Duration;

use async_trait::async_trait;
use dora_fixtures::assets;
use dora_harness::{
    engine::EngineError,
    patience::within,
    security::{ListeningSockets, Transport},
    topology::{Member, Node},
};

use crate::{ScenarioError, Trial};

/// A database whose listeners and links are probed.
#[async_trait]
pub trait TransitTarget: Send + Sync {
    /// Which part of the platform it is; its model has this name.
    fn member(&self) -> Member;

    /// Writes the text with the database's real clients wherever the database copies it to, reads it back there, and removes it.
    async fn write_canary(&self, text: &str) -> Result<(), ScenarioError>;

    /// Plants a defect.
    async fn sabotage(&self, trial: &Trial, id: &str) -> Result<(), ScenarioError>;

    /// Removes the defect, also one that was planted by half, and returns when every node has its role.
    async fn undo_sabotage(&self, trial: &Trial, id: &str) -> Result<(), ScenarioError>;
}

/// Puts the intended text back into one of a node's files. A file without the planted one is left as it is: a defect that was planted by half
/// did not come so far.
///
/// # Errors
/// [`ScenarioError`] when the file cannot be read or written.
pub(super) async fn restore(node: &Node, file: &str, planted: &str, intended: &str) -> Result<(), ScenarioError> {
    let files = node.get_files(file).await?;
    if files.iter().any(|(_, content)| is_planted(&String::from_utf8_lossy(content), planted, intended)) {
        node.edit_file(file, planted, intended).await?;
    }
    Ok(())
}

/// A defect that only leaves something out is a part of what is intended.
fn is_planted(text: &str, planted: &str, intended: &str) -> bool {
    text.contains(planted) && !(intended.contains(planted) && text.contains(intended))
}

/// Opening a port inside a node.
const EXEC_LIMIT: Duration = Duration::from_secs(10);

/// The defect of a port that nobody planned: something listens in the node that is not the database.
#[derive(Debug)]
pub struct ExtraPort {
    node: Node,
    port: u16,
    transport: Transport,
}

impl ExtraPort {
    /// On that node, for connections.
    pub fn new(node: Node, port: u16) -> Self {
        Self { node, port, transport: Transport::Tcp }
    }

    /// On that node, for datagrams.
    pub fn for_datagrams(node: Node, port: u16) -> Self {
        Self { node, port, transport: Transport::Udp }
    }

    /// Opens it.
    ///
    /// # Errors
    /// [`ScenarioError`] when it does not open.
    pub async fn open(&self) -> Result<(), ScenarioError> {
        self.switch("open", true).await
    }

    /// Closes it.
    ///
    /// # Errors
    /// [`ScenarioError`] when it does not close.
    pub async fn close(&self) -> Result<(), ScenarioError> {
        self.switch("close", false).await
    }

    async fn switch(&self, what: &str, expected: bool) -> Result<(), ScenarioError> {
        let script = assets::text("config/probe/listen.sh")?;
        let port = self.port.to_string();
        let transport = match self.transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        let command = ["sh", "-c", script, "listen", what, "0.0.0.0", &port, transport];
        let output = self.node.exec_in_pod(&command, &[], EXEC_LIMIT).await?;
        if output.code != 0 {
            return Err(ScenarioError::client(format!("{what} a port"), output.stderr));
        }
        within("the port's new state", EXEC_LIMIT, Duration::from_millis(100), || async {
            let state = self.is_open().await.map_err(|error| error.to_string())?;
            if state == expected { Ok(()) } else { Err(format!("listening: {state}")) }
        })
        .await?;
        Ok(())
    }

    async fn is_open(&self) -> Result<bool, EngineError> {
        let sockets = ListeningSockets::of(&self.node).await?;
        let open = match self.transport {
            Transport::Tcp => sockets.tcp,
            Transport::Udp => sockets.udp,
        };
        Ok(open.iter().any(|(_, port)| *port == self.port))
    }
}

/// Where a node finds the certificate of its authority.
pub(super) const AUTHORITY: &str = "/dora/tls/ca.crt";

/// Writes the authorities that a node trusts into one of its files: the run's own and a foreign one (`both`), or only its own. It takes effect
/// when the node reads the file.
///
/// # Errors
/// [`ScenarioError`].
pub async fn trust_both(trial: &Trial, node: &Node, file: &str, both: bool) -> Result<(), ScenarioError> {
    let own = trial.ground().authority().certificate();
    let text = if both { format!("{own}{}", trial.ground().foreign_authority().certificate()) } else { own.to_owned() };
    let (folder, name) = file.rsplit_once('/').unwrap_or(("/", file));
    node.put_files(folder, &[(name, text.as_bytes(), 0o644)]).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planted_text_is_told_from_the_intended_one_that_holds_it() {
        assert!(is_planted("mode: preferTLS\n", "mode: preferTLS", "mode: requireTLS"));
        assert!(!is_planted("mode: requireTLS\n", "mode: preferTLS", "mode: requireTLS"));
        assert!(is_planted("off: 1,2\n", "off: 1,2", "off: 1,2,3"));
        assert!(!is_planted("off: 1,2,3\n", "off: 1,2", "off: 1,2,3"), "the planted text is a part of the intended one");
        assert!(is_planted("[past]\n[client]\n", "[past]\n[client]\n", "[client]\n"));
        assert!(!is_planted("[client]\n", "[past]\n[client]\n", "[client]\n"));
    }
}
