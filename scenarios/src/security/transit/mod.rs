//! Encryption in transit on every listener and every link of the model, and nothing beside the model.

mod column;
mod links;
mod listeners;
mod sockets;
mod target;
mod traffic;

pub mod influxdb;
pub mod mongodb;
pub mod neo4j;
pub mod openbao;
pub mod postgres;
pub mod redis;

pub use links::links;
pub use listeners::{Which, listeners};
pub use target::{ExtraPort, TransitTarget, trust_both};
