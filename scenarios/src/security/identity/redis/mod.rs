//! Redis: access lists, and the ways in at servers, Sentinels and Cluster nodes.

mod gate;
mod roles;
mod scenarios;

pub use scenarios::SCENARIOS;
