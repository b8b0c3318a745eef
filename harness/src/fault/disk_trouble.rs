//! A node's flushes to disk are slow, or fail.

use std::time::Duration;

use async_trait::async_trait;
use dora_fixtures::assets;

use super::{Fault, FaultError};
use crate::topology::{DISK, Node};

/// Flushes in a slow disk's time; the longest delay is ten seconds.
const EXEC_LIMIT: Duration = Duration::from_secs(40);
/// A flush that takes longer than this without a fault cannot be told from a slow one.
const PROMPT_MAX: Duration = Duration::from_millis(200);
/// Delays that can be told from a busy disk, and that a probe can wait for.
const DELAY_MS: std::ops::RangeInclusive<u128> = 250..=10_000;

/// What is wrong with the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// Every flush takes longer.
    Slow(Duration),
    /// Every flush fails with an input/output error.
    Failing,
}

/// `fsync` and its like take longer, or fail with `EIO`, for all processes of a node. Only on a node that was started with
/// [`crate::topology::Equipment::disk_faults`], and only for programs that use the C library: Go's (etcd, `InfluxDB`) do not.
#[derive(Debug, Clone)]
pub struct DiskTrouble {
    node: Node,
    role: String,
    trouble: Trouble,
}

impl DiskTrouble {
    /// A slow disk: every flush takes `delay` longer.
    pub fn slow(node: Node, role: impl Into<String>, delay: Duration) -> Self {
        Self { node, role: role.into(), trouble: Trouble::Slow(delay) }
    }

    /// A failing disk: every flush ends with `EIO`.
    pub fn failing(node: Node, role: impl Into<String>) -> Self {
        Self { node, role: role.into(), trouble: Trouble::Failing }
    }

    async fn demand(&self, text: &str) -> Result<(), FaultError> {
        let (directory, file) = DISK.1.rsplit_once('/').unwrap_or(("/", DISK.1));
        Ok(self.node.put_files(directory, &[(file, text.as_bytes(), 0o644)]).await?)
    }

    /// A flush by the database's user, with the libraries of the node's main process.
    async fn flush(&self) -> Result<Result<Duration, String>, String> {
        let script = assets::text("config/fault/time-a-flush.sh").map_err(|error| error.to_string())?;
        let output = self.node.exec(&["bash", "-s", "--", "/dora/data"], script.as_bytes(), EXEC_LIMIT).await;
        let words = output.map_err(|error| error.to_string())?.stdout;
        match words.trim().parse() {
            Ok(microseconds) => Ok(Ok(Duration::from_micros(microseconds))),
            Err(_) => Ok(Err(words.trim().to_owned())),
        }
    }
}

/// Refuses nodes whose processes do not go through the library.
async fn reaches(node: &Node, library: &str, what: &str, equip: &str) -> Result<(), FaultError> {
    let unsupported = |why: String| Err(FaultError::Unsupported { what: format!("{what} on {}", node.name()), why });
    if ["etcd", "influxdb", "influxdb-cluster", "openbao"].contains(&node.image()) {
        return unsupported("its program is written in Go and calls the kernel without the C library".into());
    }
    let maps = node.exec(&["cat", "/proc/1/maps"], &[], EXEC_LIMIT).await?;
    if maps.stdout.contains(library) {
        return Ok(());
    }
    unsupported(format!("it was started without {library}; start it with `dora up --equip {}={equip}`", node.name()))
}

pub(super) async fn reaches_power(node: &Node) -> Result<(), FaultError> {
    reaches(node, crate::topology::POWER.0, "losing what was not flushed", "power").await
}

pub(super) async fn reaches_clock(node: &Node) -> Result<(), FaultError> {
    reaches(node, crate::topology::CLOCK.0, "setting the clock apart", "clock").await
}

#[async_trait]
impl Fault for DiskTrouble {
    fn kind(&self) -> &'static str {
        match self.trouble {
            Trouble::Slow(_) => "slow-disk",
            Trouble::Failing => "fsync-error",
        }
    }

    fn target(&self) -> String {
        format!("disk of {} ({})", self.node.name(), self.role)
    }

    async fn prepare(&self) -> Result<(), FaultError> {
        if let Trouble::Slow(delay) = self.trouble
            && !DELAY_MS.contains(&delay.as_millis())
        {
            let why = format!("a delay of {} ms is not usable; give one from 250 to 10000 ms", delay.as_millis());
            return Err(FaultError::Other(why));
        }
        reaches(&self.node, DISK.0, "disturbing the disk", "fsync").await?;
        super::life::whole(self, super::life::WHOLE_LIMIT).await
    }

    async fn inject(&self) -> Result<(), FaultError> {
        match self.trouble {
            Trouble::Slow(delay) => self.demand(&format!("delay {}\n", delay.as_millis())).await,
            Trouble::Failing => self.demand("error\n").await,
        }
    }

    fn confirmed_by(&self) -> String {
        match self.trouble {
            Trouble::Slow(delay) => format!("a block that the database's user writes is flushed only after {} ms", delay.as_millis()),
            Trouble::Failing => "the flush of a block that the database's user writes fails with an input/output error".into(),
        }
    }

    async fn is_broken(&self) -> Result<(), String> {
        match (self.trouble, self.flush().await?) {
            (Trouble::Slow(delay), Ok(took)) if took >= delay => Ok(()),
            (Trouble::Failing, Err(words)) if words.contains("Input/output error") => Ok(()),
            (_, Ok(took)) => Err(format!("a flush takes {} ms", took.as_millis())),
            (_, Err(words)) => Err(words),
        }
    }

    async fn heal(&self) -> Result<(), FaultError> {
        self.demand("").await?;
        if !self.node.state().await?.running {
            // Some databases end themselves when a flush fails, and rightly so.
            self.node.start().await?;
        }
        Ok(())
    }

    fn healed_by(&self) -> String {
        format!("a block that the database's user writes is flushed within {} ms", PROMPT_MAX.as_millis())
    }

    async fn is_mended(&self) -> Result<(), String> {
        match self.flush().await? {
            Ok(took) if took < PROMPT_MAX => Ok(()),
            Ok(took) => Err(format!("a flush takes {} ms", took.as_millis())),
            Err(words) => Err(words),
        }
    }
}
