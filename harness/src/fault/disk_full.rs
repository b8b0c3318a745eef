//! A node's data volume is full.

use std::time::Duration;

use async_trait::async_trait;
use dora_fixtures::assets;

use super::{Fault, FaultError};
use crate::topology::Node;

/// The data directory of every node.
const DATA: &str = "/dora/data";
/// Filling memory takes well under a second.
const EXEC_LIMIT: Duration = Duration::from_secs(30);
/// What a probe writes beyond what is free.
const STEP_BYTES: u64 = 1 << 20;
/// The exit code of the script for a file system that is not of limited size.
const NOT_LIMITED: i64 = 3;

/// The data volume is filled but for a rest. Only on a node whose data directory has a size of its own
/// ([`crate::topology::Equipment::data_bytes_max`]): the engine's disk is never filled.
#[derive(Debug, Clone)]
pub struct DiskFull {
    node: Node,
    role: String,
    leave_bytes: u64,
}

impl DiskFull {
    /// Leaves so many bytes free.
    pub fn new(node: Node, role: impl Into<String>, leave_bytes: u64) -> Self {
        Self { node, role: role.into(), leave_bytes }
    }

    async fn try_to_write(&self, bytes: u64) -> Result<String, String> {
        let script = assets::text("config/fault/try-to-write.sh").map_err(|error| error.to_string())?;
        let command = ["sh", "-s", "--", DATA, &bytes.to_string()];
        let output = self.node.exec(&command, script.as_bytes(), EXEC_LIMIT).await.map_err(|error| error.to_string())?;
        Ok(output.stdout.trim().to_owned())
    }
}

#[async_trait]
impl Fault for DiskFull {
    fn kind(&self) -> &'static str {
        "disk-full"
    }

    fn target(&self) -> String {
        format!("data of {} ({}) but for {} KiB", self.node.name(), self.role, self.leave_bytes >> 10)
    }

    async fn inject(&self) -> Result<(), FaultError> {
        let script = assets::text("config/fault/fill.sh")?;
        let output = self.node.exec(&["sh", "-s", "--", DATA, &self.leave_bytes.to_string()], script.as_bytes(), EXEC_LIMIT).await?;
        match output.code {
            0 => Ok(()),
            NOT_LIMITED => Err(FaultError::Unsupported {
                what: format!("filling the data volume of {}", self.node.name()),
                why: format!(
                    "{}; start the node with a data directory of limited size (`dora up --equip {}=disk:1024`)",
                    output.stderr.trim(),
                    self.node.name()
                ),
            }),
            _ => Err(FaultError::Other(format!("failed to fill {DATA} of {}: {}", self.node.name(), output.stderr.trim()))),
        }
    }

    fn confirmed_by(&self) -> String {
        format!("the database's user cannot write {} KiB: no space left on device", (self.leave_bytes + STEP_BYTES) >> 10)
    }

    async fn is_broken(&self) -> Result<(), String> {
        match self.try_to_write(self.leave_bytes + STEP_BYTES).await?.as_str() {
            "full" => Ok(()),
            other => Err(format!("an attempt to write ended with `{other}`")),
        }
    }

    async fn heal(&self) -> Result<(), FaultError> {
        // The database may have ended on the full disk; the file goes where it can be reached, and the node is started.
        if !self.node.state().await?.running {
            self.node.start().await?;
        }
        self.node.exec(&["rm", "-f", &format!("{DATA}/.dora-filler")], &[], EXEC_LIMIT).await?;
        Ok(())
    }

    fn healed_by(&self) -> String {
        format!("the database's user can write {} KiB", (self.leave_bytes + STEP_BYTES) >> 10)
    }

    async fn is_mended(&self) -> Result<(), String> {
        match self.try_to_write(self.leave_bytes + STEP_BYTES).await?.as_str() {
            "written" => Ok(()),
            other => Err(format!("an attempt to write ended with `{other}`")),
        }
    }
}
