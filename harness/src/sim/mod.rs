//! A small replicated store in memory, with simulated time, a simulated network, faults, and bugs that can be switched on: all that
//! records and checks is tried on it in milliseconds, from a seed, without an engine.
//!
//! Three nodes agree on a log by majority (the rules are those of Raft: Ongaro and Ousterhout, "In Search of an Understandable Consensus
//! Algorithm", 2014) and apply it to keys with versions. A transaction reads at the leader, waits a little, and commits through the log
//! if nothing that it read changed. Each [`Bug`] takes one of the rules away.
//!
//! The same [`Plan`] is the same history, to the nanosecond.

mod bug;
mod client;
mod network;
mod node;
mod replication;
mod schedule;
mod store;
mod transaction;
mod world;

pub use bug::Bug;
pub use client::{Load, Whole};
pub use schedule::{Fault, FaultKind, NODES, schedule};
pub use world::{Plan, simulate};
