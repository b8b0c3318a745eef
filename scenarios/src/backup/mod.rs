//! Backup: a full one, everything destroyed, restored into a new and separate cluster.

mod driver;
mod target;

pub mod influxdb;
pub mod mongodb;
pub mod neo4j;
pub mod postgres;
pub mod redis;

pub use driver::full_backup;
pub use target::{BackupSize, BackupTarget, Enforcement};
