//! Encryption in transit: what the client port accepts, and what the client accepts.

mod driver;
mod target;

pub mod influxdb;
pub mod mongodb;
pub mod neo4j;
pub mod postgres;
pub mod redis;

pub use driver::client_port;
pub use target::{Listener, TlsTarget};
