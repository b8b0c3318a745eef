//! Probes: what is seen from outside of a fault's injector.

mod connection;
mod datagrams;
mod sockets;
mod timing;
mod transfer;

pub use connection::{Connection, Reaction, connection, meets, reaction, reacts};
pub use datagrams::{Flow, arrived, lost, seen_flows};
pub use sockets::listens;
pub use timing::{connect_time, connect_time_from};
pub use transfer::bits_per_second;
