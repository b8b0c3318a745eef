//! Encryption in transit: what the client port accepts, and what the client accepts. Identities: who gets in, and who may do what.

mod driver;
mod target;

pub mod identity;
pub mod influxdb;
pub mod mongodb;
pub mod neo4j;
pub mod postgres;
pub mod redis;
pub mod zones;
pub mod transit;

pub use driver::client_port;
pub use target::{Listener, TlsTarget};
