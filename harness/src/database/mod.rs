//! The five databases: what their nodes are made of, who has which role, and how a client reaches them.

mod cluster;
pub mod influxdb;
pub mod mongodb;
pub mod neo4j;
pub mod postgres;
pub mod redis;

pub use cluster::{Cluster, ConnectionInfo};
