//! `MongoDB`: roles and privileges, and the ways in at every member.

mod gate;
mod roles;
mod scenarios;

pub use scenarios::SCENARIOS;
