//! `InfluxDB`: accounts and grants, and the ways in at every node: passwords, and signed tokens at the single one.

mod gate;
mod roles;
mod scenarios;
mod token;

pub use scenarios::SCENARIOS;
