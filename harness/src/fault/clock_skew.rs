//! A node's clock is wrong.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use dora_fixtures::assets;

use super::{Fault, FaultError, disk_trouble::reaches_clock};
use crate::topology::{CLOCK, Node};

/// Asking for the time takes well under a second.
const EXEC_LIMIT: Duration = Duration::from_secs(10);
/// How far a clock may be from what is expected of it: the way to the node and back, and the library's second of memory.
const TOLERANCE_S: i64 = 2;

/// The wall clock of all processes of a node is set apart from the machine's; their monotonic clock stays true. Only on a node that was
/// started with [`crate::topology::Equipment::clock`], and only for programs that use the C library: Go's (etcd, `InfluxDB`) do not.
#[derive(Debug, Clone)]
pub struct ClockSkew {
    node: Node,
    role: String,
    seconds: i64,
}

impl ClockSkew {
    /// Sets the clock forward by so many seconds, or back where they are negative.
    pub fn new(node: Node, role: impl Into<String>, seconds: i64) -> Self {
        Self { node, role: role.into(), seconds }
    }

    async fn demand(&self, text: &str) -> Result<(), FaultError> {
        let (directory, file) = CLOCK.1.rsplit_once('/').unwrap_or(("/", CLOCK.1));
        Ok(self.node.put_files(directory, &[(file, text.as_bytes(), 0o644)]).await?)
    }

    /// How far the node's clock is from the harness's, in seconds.
    async fn apart(&self) -> Result<i64, String> {
        let script = assets::text("config/fault/tell-time.sh").map_err(|error| error.to_string())?;
        let output = self.node.exec_ok(&["sh", "-s"], script.as_bytes(), EXEC_LIMIT).await.map_err(|error| error.to_string())?;
        let theirs: i64 = output.trim().parse().map_err(|_| format!("the node's clock says `{}`", output.trim()))?;
        let ours = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?.as_secs();
        Ok(theirs - i64::try_from(ours).unwrap_or(i64::MAX))
    }

    async fn is_apart_by(&self, seconds: i64) -> Result<(), String> {
        let apart = self.apart().await?;
        if (apart - seconds).abs() <= TOLERANCE_S { Ok(()) } else { Err(format!("the node's clock is {apart} s apart")) }
    }
}

#[async_trait]
impl Fault for ClockSkew {
    fn kind(&self) -> &'static str {
        "clock-skew"
    }

    fn target(&self) -> String {
        format!("clock of {} ({}) {:+} s", self.node.name(), self.role, self.seconds)
    }

    async fn prepare(&self) -> Result<(), FaultError> {
        if self.seconds.abs() <= 2 * TOLERANCE_S {
            return Err(FaultError::Other(format!("{} s cannot be told from the way to the node; give more than 4 s", self.seconds)));
        }
        reaches_clock(&self.node).await?;
        super::life::whole(self, super::life::WHOLE_LIMIT).await
    }

    async fn inject(&self) -> Result<(), FaultError> {
        self.demand(&format!("{:+}\n", self.seconds)).await
    }

    fn confirmed_by(&self) -> String {
        "a process started beside the database tells a time that is as far from the harness's".into()
    }

    async fn is_broken(&self) -> Result<(), String> {
        self.is_apart_by(self.seconds).await
    }

    async fn heal(&self) -> Result<(), FaultError> {
        self.demand("+0\n").await
    }

    fn healed_by(&self) -> String {
        "a process started beside the database tells the harness's time".into()
    }

    async fn is_mended(&self) -> Result<(), String> {
        self.is_apart_by(0).await
    }
}
