//! `PostgreSQL`: servers under Patroni, the etcd members that hold the leader's key, and `PgBouncer` in front.

mod backup;
mod boot;
mod certificate_shown;
mod client;
mod cluster;
mod handshake;
mod part;
mod patroni;
mod roles;
mod switchover;

pub use backup::Repository;
pub use boot::Plan;
pub use certificate_shown::show_certificate;
pub use client::{AccessError, Login, connect};
pub use cluster::{Credentials, PostgresCluster, Standing};
pub use handshake::{Asked, Handshake, HandshakeError, Purpose};
pub use part::PostgresPart;
pub use patroni::MemberState;
pub use roles::Follower;
pub use switchover::Switchover;

/// The database that applications use.
pub const DATABASE: &str = "dora";
/// The role that applications use; it owns [`DATABASE`].
pub const APPLICATION: &str = "app";
/// `PostgreSQL`'s own port.
pub const SERVER_PORT: u16 = 5432;
/// etcd's port for clients.
pub const ETCD_PORT: u16 = 2379;
/// The pooler's port.
pub const POOLER_PORT: u16 = 6432;
