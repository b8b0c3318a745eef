//! Performance: the domain's own queries at a stated rate, against an objective.

mod driver;
mod slo;
mod target;

pub mod influxdb;
pub mod mongodb;
pub mod neo4j;
pub mod postgres;
pub mod redis;

pub use driver::open_load;
pub(crate) use slo::Slo;
pub use target::LoadTarget;
