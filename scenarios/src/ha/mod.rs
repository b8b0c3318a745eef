//! High availability: the node that matters is killed under a running write load.

mod driver;
mod target;

pub mod influxdb;
pub mod mongodb;
pub mod neo4j;
pub mod postgres;
pub mod redis;

pub use driver::node_killed;
pub use target::{HaTarget, Victim};
