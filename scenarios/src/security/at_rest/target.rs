//! What a database's adapter does for the scenario.

use std::collections::BTreeSet;

use async_trait::async_trait;
use dora_harness::{topology::Node, volume::VolumePlan};

use crate::{ScenarioError, Trial};

/// A node, and a text that its data directory holds after [`RestTarget::write`] and [`RestTarget::flush`].
#[derive(Debug, Clone)]
pub struct Holder {
    /// The node.
    pub node: Node,
    /// The text, findable byte for byte: the canary, or something that the node's software writes of itself.
    pub text: String,
}

/// A database of the platform.
#[async_trait]
pub trait RestTarget: Send + Sync {
    /// Writes the canary through a real client, so that it reaches every node that keeps the application's data.
    async fn write(&self, canary: &str) -> Result<(), ScenarioError>;

    /// Brings everything into files by the engine's own means: checkpoint, snapshot, compaction.
    async fn flush(&self) -> Result<(), ScenarioError>;

    /// Every node with a data directory. The last one is where defects are planted: a follower where there is one.
    fn holders(&self, canary: &str) -> Vec<Holder>;

    /// Removes the canary again.
    async fn clean(&self) -> Result<(), ScenarioError>;

    /// A directory of the last node's data in which the canary arrives, the log where there is one that keeps it; [`None`] where the server renames
    /// files into it from outside of it, so that it cannot lie elsewhere.
    fn part(&self) -> Option<&'static str>;

    /// Starts a server alone, beside the platform, of the given name and kind of volume.
    async fn alone(&self, trial: &Trial, name: &str, plan: VolumePlan) -> Result<Box<dyn Alone>, ScenarioError>;
}

/// A server beside the platform, which may be killed and starved of its key.
#[async_trait]
pub trait Alone: Send + Sync {
    /// Its node, with the data.
    fn node(&self) -> &Node;

    /// Writes a number; `Ok` means that the database acknowledged it as durable.
    async fn write(&self, number: u64) -> Result<(), String>;

    /// All numbers that are there.
    async fn read(&self) -> Result<BTreeSet<u64>, String>;

    /// Removes it with its data.
    async fn destroy(&self) -> Result<(), ScenarioError>;
}
