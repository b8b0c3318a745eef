//! What a database has to tell the driver.

use std::collections::BTreeSet;

use async_trait::async_trait;
use dora_harness::{topology::Node, workload::InsertClient};

use crate::{ScenarioError, Trial};

/// The node that is killed.
#[derive(Debug, Clone)]
pub struct Victim {
    /// The node.
    pub node: Node,
    /// Its role at this moment, such as `primary`.
    pub role: String,
    /// Its client port; whether it accepts connections confirms the fault.
    pub port: u16,
}

/// A cluster whose node is killed under load.
#[async_trait]
pub trait HaTarget: Send + Sync {
    /// Makes an empty set to insert into.
    async fn prepare(&self) -> Result<(), ScenarioError>;

    /// Clients that insert through the path of a real application; each has its own connection, none retries.
    async fn clients(&self, count: usize) -> Result<Vec<Box<dyn InsertClient>>, ScenarioError>;

    /// Who is killed: asked right before it happens.
    async fn victim(&self) -> Result<Victim, ScenarioError>;

    /// `Ok` once the platform itself knows that the victim is gone (another leader, a monitor's word); otherwise what it says.
    async fn has_noticed(&self, victim: &Victim) -> Result<(), String>;

    /// `Ok` once every node has its role again and every copy is complete; otherwise what is missing.
    async fn is_redundant(&self, victim: &Victim) -> Result<(), String>;

    /// Every value in the set (with repetitions, if it has any), read at the strongest level that the database has.
    async fn present(&self) -> Result<Vec<u64>, ScenarioError>;

    /// For databases whose nodes can be read one by one: which node does not hold which of these acknowledged values itself.
    ///
    /// An insert of which nobody knows may be on some nodes only; nothing was promised about it.
    async fn incomplete(&self, _acknowledged: &BTreeSet<u64>) -> Result<Vec<(Node, Vec<u64>)>, ScenarioError> {
        Ok(Vec::new())
    }

    /// Further checks after the set was read.
    async fn check_further(&self, _trial: &Trial, _victim: &Victim) -> Result<(), ScenarioError> {
        Ok(())
    }

    /// Plants a defect. Called after [`HaTarget::prepare`].
    async fn sabotage(&self, id: &str) -> Result<(), ScenarioError>;

    /// Removes the defect, so that the cluster can be handed back.
    async fn undo_sabotage(&self, id: &str) -> Result<(), ScenarioError>;
}
