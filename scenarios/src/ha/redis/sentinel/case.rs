//! The cases, and what sets them apart.

use std::time::Duration;

use crate::ha::{Course, redis::each_node::Expected};

/// What happens to the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// The master's process is ended.
    MasterKilled,
    /// The master is frozen for longer than a failover takes.
    MasterPaused,
    /// The master reaches no other node; clients reach it.
    MasterIsolated {
        /// Whether `min-replicas-to-write` is in force.
        guarded: bool,
    },
    /// The master and one Sentinel are ended.
    SentinelLost,
    /// Two of three Sentinels are ended.
    SentinelsLost,
    /// A replica is ended.
    ReplicaLost,
    /// The Sentinels are told to change the master.
    Switchover,
}

/// A frozen or isolated master comes back when all the others have long agreed on another.
const ABSENCE: Duration = Duration::from_secs(12);
/// As long as this, nobody may begin a failover.
const QUIET: Duration = Duration::from_secs(8);
/// Replicas count as there for `min-replicas-max-lag` (3 s) after their last word, which came up to 1 s before; the master looks once a second.
const GUARD_TAKES_HOLD: Duration = Duration::from_secs(6);

impl Case {
    /// What is expected of writes.
    pub const fn course(self) -> Course {
        match self {
            Self::MasterKilled | Self::SentinelLost => Course::returns().noticed(),
            Self::MasterPaused => Course::returns().lasting(ABSENCE).noticed(),
            // Clients reach the isolated master, so all that they may notice is a gap.
            Self::MasterIsolated { .. } | Self::Switchover => Course::continues().lasting(ABSENCE).noticed(),
            Self::SentinelsLost | Self::ReplicaLost => Course::continues().lasting(QUIET),
        }
    }

    /// Whether masters without a connected replica refuse writes.
    pub const fn is_guarded(self) -> bool {
        !matches!(self, Self::MasterIsolated { guarded: false })
    }

    /// What clients that stay with the struck master meet; [`None`]: nobody watches, because it is dead or not struck.
    pub const fn old_master(self) -> Option<Expected> {
        match self {
            Self::MasterIsolated { guarded: true } => Some(Expected::Ceases(GUARD_TAKES_HOLD)),
            Self::MasterIsolated { guarded: false } => Some(Expected::GoesOn),
            Self::MasterPaused | Self::Switchover => Some(Expected::Anything),
            _ => None,
        }
    }

    /// How many writes of a client that stays with the struck master may be acknowledged and gone; 10 are sent in a second. [`None`]: the
    /// mode sets no bound.
    pub const fn old_master_lost_max(self) -> Option<u64> {
        match self {
            Self::MasterIsolated { guarded: true } => Some(GUARD_TAKES_HOLD.as_secs() * 10),
            Self::MasterPaused | Self::Switchover => Some(20),
            _ => None,
        }
    }

    /// Whether the counter and the lock are tried as well: where the master dies and its replicas hold what they acknowledged.
    pub const fn has_further_loads(self) -> bool {
        matches!(self, Self::MasterKilled)
    }

    /// How many servers it takes to be tried.
    pub const fn servers_min(self) -> usize {
        match self {
            Self::MasterIsolated { .. } | Self::MasterPaused | Self::ReplicaLost => 3,
            _ => 2,
        }
    }
}
