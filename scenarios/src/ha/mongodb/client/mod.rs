//! What an application does with a replica set: each client has a connection of its own, found through all members, and none retries.

mod append;
mod causal;
mod insert;
mod outcome;
mod probe;
mod register;

pub(super) use append::Appender;
pub(super) use causal::CausalReader;
pub(super) use insert::Inserter;
pub(super) use probe::Prober;
pub(super) use register::Register;
