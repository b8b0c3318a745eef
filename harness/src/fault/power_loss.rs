//! A node loses its power, and with it everything that was not flushed to the disk.

use std::time::Duration;

use async_trait::async_trait;
use dora_fixtures::assets;
use tokio::time::sleep;

use super::{
    Fault, FaultError,
    disk_trouble::reaches_power,
    life::{WHOLE_LIMIT, whole},
    probe::{Connection, Reaction, connection, reacts},
};
use crate::topology::{Node, POWER};

/// The file that tells the node's next start that the power was lost.
pub const POWER_WAS_CUT: &str = "/dora/fault/power-was-cut";
/// The data directory of every node.
const DATA: &str = "/dora/data";
/// A short command in a node.
const EXEC_LIMIT: Duration = Duration::from_secs(15);
/// How long a port may take to show what it does.
const PROBE_LIMIT: Duration = Duration::from_secs(1);
/// What the witnesses say before, and what is written to them right before the loss. Of equal length, as they are overwritten in place.
const BEFORE: &str = "before";
const AFTER: &str = "latest";

/// All processes of a node die with SIGKILL, and before they are started again the data files are what they were at their last flush. Two
/// witnesses say whether that came true: a word that was flushed right before must be there, one that was not must not. Only on a node with
/// [`crate::topology::Equipment::power`], and only for programs that use the C library: Go's (etcd, `InfluxDB`) do not.
#[derive(Debug, Clone)]
pub struct PowerLoss {
    node: Node,
    role: String,
    port: u16,
    /// How long before the loss the disk confirms flushes without carrying them out.
    lies_for: Option<Duration>,
}

impl PowerLoss {
    /// The disk keeps what was flushed. `port` is the node's client port.
    pub fn new(node: Node, role: impl Into<String>, port: u16) -> Self {
        Self { node, role: role.into(), port, lies_for: None }
    }

    /// The disk has confirmed flushes for so long without carrying them out: what they flushed is lost, too.
    pub fn of_a_lying_disk(node: Node, role: impl Into<String>, port: u16, lies_for: Duration) -> Self {
        Self { node, role: role.into(), port, lies_for: Some(lies_for) }
    }

    async fn say(&self, word: &str, which: &str) -> Result<(), FaultError> {
        let script = assets::text("config/fault/power-witnesses.sh")?;
        self.node.exec_ok(&["bash", "-s", "--", DATA, word, which], script.as_bytes(), EXEC_LIMIT).await?;
        Ok(())
    }

    async fn put(&self, path: &str, text: &str) -> Result<(), FaultError> {
        let (directory, file) = path.rsplit_once('/').unwrap_or(("/", path));
        Ok(self.node.put_files(directory, &[(file, text.as_bytes(), 0o644)]).await?)
    }

    /// What the witnesses have to say after the loss.
    fn testimony(&self) -> (&'static str, &'static str) {
        (if self.lies_for.is_some() { BEFORE } else { AFTER }, BEFORE)
    }
}

#[async_trait]
impl Fault for PowerLoss {
    fn kind(&self) -> &'static str {
        if self.lies_for.is_some() { "lost-fsync" } else { "power-loss" }
    }

    fn target(&self) -> String {
        format!("{} ({})", self.node.name(), self.role)
    }

    async fn prepare(&self) -> Result<(), FaultError> {
        reaches_power(&self.node).await?;
        self.say(BEFORE, "both").await?;
        // A port that serves: the witnesses have nothing to say yet.
        let port = super::Kill::new(self.node.clone(), self.role.clone(), self.port);
        whole(&port, WHOLE_LIMIT).await
    }

    async fn inject(&self) -> Result<(), FaultError> {
        if let Some(lies_for) = self.lies_for {
            self.put(POWER.1, "lying\n").await?;
            sleep(lies_for).await;
        }
        self.say(AFTER, "").await?;
        self.node.kill().await?;
        self.put(POWER_WAS_CUT, "").await
    }

    fn confirmed_by(&self) -> String {
        format!("port {} refuses TCP connections", self.port)
    }

    async fn is_broken(&self) -> Result<(), String> {
        match connection(self.node.socket(self.port), PROBE_LIMIT).await {
            Connection::Refused => Ok(()),
            Connection::Accepted => Err("the port still accepts".into()),
            Connection::Silent => Err("the port is silent, which is not what a killed process does".into()),
        }
    }

    async fn heal(&self) -> Result<(), FaultError> {
        self.put(POWER.1, "").await?;
        Ok(self.node.start().await?)
    }

    fn healed_by(&self) -> String {
        let (flushed, unflushed) = self.testimony();
        let tells = |word: &str| if word == AFTER { "is there" } else { "is gone" };
        format!(
            "port {} reacts to a TLS hello; a word that was flushed right before the loss {}, one that was not {}",
            self.port,
            tells(flushed),
            tells(unflushed)
        )
    }

    async fn is_mended(&self) -> Result<(), String> {
        reacts(self.node.socket(self.port), Reaction::Reacted, PROBE_LIMIT).await?;
        let (flushed, unflushed) = self.testimony();
        for (file, expected) in [(".dora-flushed", flushed), (".dora-unflushed", unflushed)] {
            let said = self.node.exec(&["cat", &format!("{DATA}/{file}")], &[], EXEC_LIMIT).await.map_err(|error| error.to_string())?;
            if said.stdout.trim() != expected {
                return Err(format!("{file} says `{}` and not `{expected}`: the disk did not behave as ordered", said.stdout.trim()));
            }
        }
        Ok(())
    }
}
