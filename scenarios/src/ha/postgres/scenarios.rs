//! All scenarios of this database, in the order in which they run.

use super::{crash, disk, hot_standby, network, planned, pool, standbys};
use crate::Scenario;

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[
    crash::PRIMARY_KILLED,
    crash::PRIMARY_LOST,
    crash::PRIMARY_PAUSED,
    crash::POSTMASTER_KILLED,
    crash::PATRONI_KILLED,
    crash::ALL_NODES_KILLED,
    crash::CUT_OFF_PRIMARY_KILLED,
    crash::CUT_OFF_PRIMARY_KILLED_ASYNCHRONOUS,
    planned::SWITCHOVER,
    standbys::STANDBY_KILLED,
    standbys::SYNC_STANDBY_KILLED,
    network::PRIMARY_ISOLATED,
    network::PRIMARY_ISOLATED_FROM_ETCD,
    network::PRIMARY_ISOLATED_FROM_STANDBYS,
    network::ETCD_NODE_LOST,
    network::ETCD_MAJORITY_LOST,
    network::ETCD_MAJORITY_LOST_FAILSAFE,
    disk::LOST_FSYNC,
    disk::POWER_LOSS_ALL_NODES,
    disk::DISK_FULL,
    // What is short comes last: two clusters work the list off, and neither is to wait long for the other.
    pool::POOL,
    hot_standby::HOT_STANDBY,
];
