//! Replication to a second datacentre: what the source acknowledged arrives in the remote, whichever of the two was away.

mod defect;
mod lag;
mod scenarios;
mod target;

pub use scenarios::{BOTH_DOWN, REMOTE_DOWN, SOURCE_DOWN};
