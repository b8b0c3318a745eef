//! A node has hardly any memory left.

use std::time::Duration;

use async_trait::async_trait;
use dora_fixtures::assets;

use super::{Fault, FaultError, firewall::random_id};
use crate::topology::Node;

/// Starting and ending a process takes well under a second.
const EXEC_LIMIT: Duration = Duration::from_secs(20);
/// Beside what is to be left free: the database's own need changes while it is looked at.
const SLACK_BYTES: u64 = 16 << 20;

/// A process beside the database takes the memory of the node's limit but a rest. The database is throttled by reclaim, refused, or ended by
/// the kernel: that is for the scenario to see.
#[derive(Debug, Clone)]
pub struct MemoryPressure {
    node: Node,
    role: String,
    leave_bytes: u64,
    id: String,
}

impl MemoryPressure {
    /// Leaves so many bytes of the node's limit.
    pub fn new(node: Node, role: impl Into<String>, leave_bytes: u64) -> Self {
        Self { node, role: role.into(), leave_bytes, id: random_id() }
    }

    /// Under the name of an earlier fault, to heal what another process injected.
    #[must_use]
    pub fn named(self, id: &str) -> Self {
        Self { id: id.to_owned(), ..self }
    }

    /// What the taking process is called.
    fn process(&self) -> String {
        format!("dora-{}", self.id)
    }

    /// Bytes of the limit that are free, by the kernel's figures of the node's group.
    async fn free(&self) -> Result<u64, String> {
        let used = self.node.memory().await.map_err(|error| error.to_string())?.bytes;
        Ok(u64::try_from(self.node.memory_limit_bytes()).unwrap_or_default().saturating_sub(used))
    }
}

#[async_trait]
impl Fault for MemoryPressure {
    fn kind(&self) -> &'static str {
        "memory-pressure"
    }

    fn target(&self) -> String {
        format!("{} ({}) has {} MiB left", self.node.name(), self.role, self.leave_bytes >> 20)
    }

    async fn inject(&self) -> Result<(), FaultError> {
        let bytes = self.free().await.map_err(FaultError::Other)?.saturating_sub(self.leave_bytes).to_string();
        let script = assets::text("config/fault/take-memory.sh")?;
        self.node.exec(&["bash", "-s", "--", &self.process(), &bytes], script.as_bytes(), EXEC_LIMIT).await?;
        Ok(())
    }

    fn confirmed_by(&self) -> String {
        format!("by the kernel's figures no more than {} MiB of the node's limit are free", (self.leave_bytes + SLACK_BYTES) >> 20)
    }

    async fn is_broken(&self) -> Result<(), String> {
        let free = self.free().await?;
        if free <= self.leave_bytes + SLACK_BYTES { Ok(()) } else { Err(format!("{} MiB are free", free >> 20)) }
    }

    async fn heal(&self) -> Result<(), FaultError> {
        if self.node.state().await?.running {
            let script = assets::text("config/fault/give-memory-back.sh")?;
            self.node.exec(&["sh", "-s", "--", &self.process()], script.as_bytes(), EXEC_LIMIT).await?;
            return Ok(());
        }
        // The kernel chose the database itself.
        Ok(self.node.start().await?)
    }

    fn healed_by(&self) -> String {
        format!("by the kernel's figures more than {} MiB of the node's limit are free", (self.leave_bytes + SLACK_BYTES) >> 20)
    }

    async fn is_mended(&self) -> Result<(), String> {
        if !self.node.state().await.map_err(|error| error.to_string())?.running {
            return Err("the node does not run".into());
        }
        let free = self.free().await?;
        if free > self.leave_bytes + SLACK_BYTES { Ok(()) } else { Err(format!("only {} MiB are free", free >> 20)) }
    }
}
