//! What a database has to tell the driver.

use std::net::SocketAddr;

use async_trait::async_trait;
use dora_fixtures::dataset::Dataset;
use dora_harness::workload::QueryClient;

use crate::ScenarioError;

/// A database that is put under load.
#[async_trait]
pub trait LoadTarget: Send + Sync {
    /// Loads the domain data (idempotent).
    async fn load(&self, dataset: &Dataset) -> Result<(), ScenarioError>;

    /// Where the load enters: the pooler, the leader, the primary.
    async fn entry(&self) -> Result<SocketAddr, ScenarioError>;

    /// The queries of the load in words, with their shares.
    fn mix(&self) -> &'static str;

    /// Clients that send the domain's queries to `address` (the entry, or a link that leads to it and has a loopback address,
    /// which all certificates name) and check the answers against the dataset's model.
    async fn clients(&self, address: SocketAddr, count: usize, dataset: &Dataset) -> Result<Vec<Box<dyn QueryClient>>, ScenarioError>;
}
