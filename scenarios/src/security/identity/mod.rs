//! Who gets in, and who may do what: the role matrix and the mechanism of authentication of each engine.

mod login;
mod roles;

pub mod influxdb;
pub mod mongodb;
pub mod neo4j;
pub mod postgres;
pub mod redis;

pub use login::{Attempted, Check, Gate, Login, mechanism};
pub use roles::{Credentials, RoleSession, RoleTarget, Seen, matrix};
