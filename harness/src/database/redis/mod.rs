//! Redis: a replicated set under Sentinel, and a Cluster.

mod access;
pub mod content;
mod part;
mod pods;
mod replicated;
mod sharded;

pub use access::{Access, Account, Passwords, ask, connection_limits, info};
pub use part::RedisPart;
pub use pods::{PORT, SENTINEL_PORT};
pub use replicated::{Replicated, ReplicatedPlan};
pub use sharded::Sharded;
