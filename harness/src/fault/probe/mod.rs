//! Probes: what is seen from outside of a fault's injector.

mod connection;
mod datagrams;

pub use connection::{Connection, Reaction, connection, reaction};
pub use datagrams::{Flow, arrived, seen_flows};
