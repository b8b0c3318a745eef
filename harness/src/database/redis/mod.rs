//! Redis: a replicated set under Sentinel, and a Cluster.

mod access;
pub mod content;
mod health;
mod part;
mod pods;
mod replicated;
mod resharding;
mod sentinels;
mod sharded;
mod single;
mod slots;
mod switchover;

pub use access::{Access, Account, MASTER_NAME, Passwords, ask, connection_limits, info};
pub use part::RedisPart;
pub use pods::{PORT, SENTINEL_PORT};
pub use replicated::{Replicated, ReplicatedPlan};
pub use resharding::Resharding;
pub use sentinels::Sentinels;
pub use sharded::Sharded;
pub use single::{Keeping, Single};
pub use slots::Shard;
pub use switchover::Switchover;
