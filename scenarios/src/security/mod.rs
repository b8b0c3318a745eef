//! Encryption in transit (what the client port accepts, and what the client accepts) and at rest ([`at_rest`]), keys and certificates. Identities:
//! who gets in, and who may do what.

pub mod at_rest;
mod driver;
mod target;

pub mod identity;
pub mod influxdb;
pub mod mongodb;
pub mod neo4j;
pub mod openbao;
pub mod postgres;
pub mod redis;
pub mod transit;
pub mod zones;

pub use driver::client_port;
pub use target::{Listener, TlsTarget};
