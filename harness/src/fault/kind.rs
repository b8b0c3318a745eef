//! The faults by name, and which of them this machine can do.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Firewall, firewall::Rule, firewall::Verdict, traffic};
use crate::topology::Node;

/// Trying out takes well under a second.
const EXEC_LIMIT: Duration = Duration::from_secs(10);

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// [`super::Kill`].
    Kill,
    /// [`super::Pause`].
    Pause,
    /// [`super::Stop`].
    Stop,
    /// [`super::Restart`].
    Restart,
    /// [`super::NodeLoss`].
    NodeLoss,
    /// [`super::ProcessKill`].
    ProcessKill,
    /// [`super::Partition::isolate`].
    Isolation,
    /// [`super::Partition::between`].
    Partition,
    /// [`super::Partition::bridge`].
    Bridge,
    /// [`super::Latency`].
    Latency,
    /// [`super::Loss`].
    Loss,
    /// [`super::ConnectionReset`].
    ConnectionReset,
    /// [`super::Bandwidth`].
    Bandwidth,
    /// [`super::NameLoss`].
    NameLoss,
    /// [`super::CpuPressure`].
    CpuPressure,
    /// [`super::MemoryPressure`].
    MemoryPressure,
    /// [`super::DiskFull`].
    DiskFull,
    /// [`super::DiskTrouble::slow`].
    SlowDisk,
    /// [`super::DiskTrouble::failing`].
    FsyncError,
    /// [`super::PowerLoss::new`].
    PowerLoss,
    /// [`super::PowerLoss::of_a_lying_disk`].
    LostFsync,
    /// [`super::ClockSkew`].
    ClockSkew,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::Kill,
        Self::Pause,
        Self::Stop,
        Self::Restart,
        Self::NodeLoss,
        Self::ProcessKill,
        Self::Isolation,
        Self::Partition,
        Self::Bridge,
        Self::Latency,
        Self::Loss,
        Self::ConnectionReset,
        Self::Bandwidth,
        Self::NameLoss,
        Self::CpuPressure,
        Self::MemoryPressure,
        Self::DiskFull,
        Self::SlowDisk,
        Self::FsyncError,
        Self::PowerLoss,
        Self::LostFsync,
        Self::ClockSkew,
    ];

    /// The name on the command line and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::NodeLoss => "node-loss",
            Self::ProcessKill => "process-kill",
            Self::Isolation => "isolation",
            Self::Partition => "partition",
            Self::Bridge => "bridge",
            Self::Latency => "latency",
            Self::Loss => "loss",
            Self::ConnectionReset => "connection-reset",
            Self::Bandwidth => "bandwidth",
            Self::NameLoss => "name-loss",
            Self::CpuPressure => "cpu-pressure",
            Self::MemoryPressure => "memory-pressure",
            Self::DiskFull => "disk-full",
            Self::SlowDisk => "slow-disk",
            Self::FsyncError => "fsync-error",
            Self::PowerLoss => "power-loss",
            Self::LostFsync => "lost-fsync",
            Self::ClockSkew => "clock-skew",
        }
    }

    /// What it does, in one line, with its options.
    pub const fn summary(self) -> &'static str {
        match self {
            Self::Kill => "a signal (--signal, KILL) to the node's main process; peers get resets",
            Self::Pause => "all processes frozen; connections are accepted and nobody answers",
            Self::Stop => "stopped as an administrator does it (--grace, 10 s)",
            Self::Restart => "stopped and started at once (--grace)",
            Self::NodeLoss => "cut off and killed; peers meet silence",
            Self::ProcessKill => "a signal to processes inside the node (--process TEXT, --signal)",
            Self::Isolation => "cut from all nodes (--clients: from clients, too; --cut deaf or mute: one way)",
            Self::Partition => "cut from some nodes (--peers A,B; --clients; --cut); several nodes are one side",
            Self::Bridge => "two sides (--node A,B --peers C,D) reach each other only through a node (--bridge E; --clients; --cut)",
            Self::Latency => "what leaves takes longer (--delay, --jitter; --peers: only to these)",
            Self::Loss => "a share of what arrives is lost (--share)",
            Self::ConnectionReset => "connections to the port are reset, established ones too",
            Self::Bandwidth => "what leaves is limited (--kbit)",
            Self::NameLoss => "peers' names are not found any more (--peers)",
            Self::CpuPressure => "hardly any processor time (--cpus)",
            Self::MemoryPressure => "hardly any memory left (--leave)",
            Self::DiskFull => "hardly any room in the data volume (--leave); needs a node with equipment `disk`",
            Self::SlowDisk => "flushes take longer (--delay); needs a node with equipment `fsync`",
            Self::FsyncError => "flushes fail with EIO; needs a node with equipment `fsync`",
            Self::PowerLoss => "killed, and what was not flushed is gone; needs a node with equipment `power`",
            Self::LostFsync => "the disk lies about flushes for a time (--delay), then power loss; needs a node with equipment `power`",
            Self::ClockSkew => "the wall clock is wrong (--skew); needs a node with equipment `clock`",
        }
    }

    /// Whether this machine can do it, tried out in a pod that has no other use.
    ///
    /// # Errors
    /// Why not.
    pub async fn available(self, pod: &Node) -> Result<(), String> {
        match self {
            Self::NodeLoss | Self::Isolation | Self::Partition | Self::Bridge | Self::NameLoss => try_rules(pod, Verdict::Drop).await,
            Self::Loss => try_rules(pod, Verdict::DropShare(0.5)).await,
            Self::ConnectionReset => try_rules(pod, Verdict::Reset).await,
            Self::Latency => match try_discipline(pod, &traffic::delay(50, 0)).await {
                Ok(()) => Ok(()),
                Err(netem) => try_rules(pod, Verdict::Queue(4242)).await.map_err(|queue| format!("netem: {netem}; NFQUEUE: {queue}")),
            },
            Self::Bandwidth => try_discipline(pod, &traffic::rate(1_000_000)).await,
            _ => Ok(()),
        }
    }
}

/// Puts a rule in and takes it out again.
async fn try_rules(pod: &Node, verdict: Verdict) -> Result<(), String> {
    // For a port that nobody uses, so that the pod stays reachable even if it is not taken out.
    let firewall = Firewall::with(vec![Rule::port(9, verdict)], Vec::new());
    let put = firewall.put(pod).await;
    firewall.remove(pod).await.map_err(|error| error.to_string())?;
    put.map_err(|error| error.to_string())
}

async fn try_discipline(pod: &Node, lines: &str) -> Result<(), String> {
    let set = traffic::apply(pod, "the discipline", lines).await;
    let cleared = pod.exec_in_pod(&["tc", "qdisc", "del", "dev", "eth0", "root"], &[], EXEC_LIMIT).await;
    cleared.map_err(|error| error.to_string())?;
    set.map_err(|error| error.to_string())
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Nothing has that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no fault `{0}`; `dora fault list` shows them")]
pub struct UnknownKind(String);

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_are_those_of_the_stored_form() {
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
        }
    }
}
