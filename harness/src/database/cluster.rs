//! The little that all clusters have in common.

use async_trait::async_trait;
use serde::Serialize;

use crate::{
    engine::EngineError,
    topology::{Node, NodeHealth},
};

/// What a person needs to connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectionInfo {
    /// The cluster or endpoint, such as `postgres (through the pooler)`.
    pub name: String,
    /// Ready to paste into a shell, with its password; the CA's path is the placeholder `{ca}`.
    pub command: String,
    /// The connection string, same placeholder.
    pub url: String,
}

/// A started cluster (a single node is one, too).
#[async_trait]
pub trait Cluster: Send + Sync + std::fmt::Debug {
    /// Its name, such as `postgres`.
    fn name(&self) -> &str;

    /// All its nodes.
    fn nodes(&self) -> Vec<Node>;

    /// Asks every node for its role, over the database's own protocol.
    async fn health(&self) -> Vec<NodeHealth>;

    /// How to connect.
    fn connections(&self) -> Vec<ConnectionInfo>;

    /// Removes all nodes with their data.
    async fn destroy(&self) -> Result<(), EngineError> {
        for outcome in futures_util::future::join_all(self.nodes().iter().map(Node::destroy)).await {
            outcome?;
        }
        Ok(())
    }
}
