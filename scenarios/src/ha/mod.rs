//! High availability: a cluster is struck under a running write load, and histories say what became of it.

mod course;
mod driver;
mod goal;
mod judge;
mod load;
mod target;

pub mod influxdb;
pub mod ledger;
pub mod mongodb;
pub mod neo4j;
pub mod postgres;
pub mod redis;

pub use course::{Course, Reaction, Service};
pub use driver::outage;
pub(crate) use goal::Goal;
pub use judge::report;
pub use target::{CheckedLoad, HaTarget, Judge, NodeProber, Strike};
use target::{is_hit, lacking};
