//! The cases, and what sets them apart.

use std::time::Duration;

use crate::ha::Course;

/// What happens to the Cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// One master's process is ended.
    MasterKilled,
    /// Slots move from one master to another and back.
    Resharding,
    /// A master and its replica are ended, so that nobody has their slots.
    SlotOutage {
        /// What `cluster-require-full-coverage` says: whether all stop when some slots have no owner.
        full_coverage: bool,
    },
}

/// The nodes hold one that is silent for `cluster-node-timeout` (2 s) for failed when most masters agree; then each stops by itself.
const STOPS_WITHIN: Duration = Duration::from_secs(8);
/// Long enough to see that nothing comes back by itself.
const OUTAGE: Duration = Duration::from_secs(14);

/// With required coverage every shard stops.
const ALL_STOP: Course = Course::ceases(STOPS_WITHIN, OUTAGE);

impl Case {
    /// What is expected of the inserts.
    pub const fn course(self) -> Course {
        match self {
            Self::MasterKilled => Course::returns().noticed(),
            Self::Resharding => Course::continues(),
            Self::SlotOutage { full_coverage: true } => ALL_STOP,
            Self::SlotOutage { full_coverage: false } => Course::continues().lasting(OUTAGE),
        }
    }

    /// `cluster-require-full-coverage`; the platform's own setting is `yes`.
    pub const fn coverage(self) -> &'static str {
        if let Self::SlotOutage { full_coverage: false } = self { "no" } else { "yes" }
    }

    /// Which shard, in the order of slots, the inserts go to, where they go to one: the first is the one that is struck.
    pub const fn inserts_at(self) -> usize {
        if let Self::SlotOutage { .. } = self { 1 } else { 0 }
    }
}
