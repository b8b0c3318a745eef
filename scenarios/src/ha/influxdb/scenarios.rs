//! All of them, in the order in which they run.

use super::{handoff, levels, outages, replication};
use crate::Scenario;

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[
    outages::DATA_NODE_KILLED,
    outages::DATA_NODE_PAUSED,
    outages::DATA_NODE_ISOLATED,
    outages::META_LEADER_KILLED,
    levels::CONSISTENCY_LEVELS,
    outages::TWO_DATA_NODES_LOST,
    handoff::HINTED_HANDOFF,
    outages::ALL_NODES_KILLED,
    replication::REMOTE_DOWN,
    replication::SOURCE_DOWN,
    replication::BOTH_DOWN,
];
