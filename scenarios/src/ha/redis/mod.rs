//! Redis: a master under Sentinel, the shards of a Cluster, and what each way of keeping data survives.

mod cluster;
mod counter;
mod each_node;
mod fenced_lock;
mod keeping;
mod master;
mod noted;
mod scenarios;
mod sentinel;

pub use scenarios::SCENARIOS;
pub(super) use sentinel::{forget_inserts, replica_killed};
