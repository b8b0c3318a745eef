//! `PostgreSQL`: servers under Patroni, the etcd members that hold the leader's key, and `PgBouncer` in front.

mod backup;
mod boot;
mod client;
mod cluster;
mod part;
mod patroni;

pub use backup::Repository;
pub use boot::Plan;
pub use client::{AccessError, Login, connect};
pub use cluster::{Credentials, PostgresCluster};
pub use part::PostgresPart;
pub use patroni::MemberState;

/// The database that applications use.
pub const DATABASE: &str = "dora";
/// The role that applications use; it owns [`DATABASE`].
pub const APPLICATION: &str = "app";
/// `PostgreSQL`'s own port.
pub const SERVER_PORT: u16 = 5432;
/// The pooler's port.
pub const POOLER_PORT: u16 = 6432;
