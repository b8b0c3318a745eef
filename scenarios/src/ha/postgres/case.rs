//! What is broken, aimed at the roles of the moment.

use dora_harness::{
    database::postgres::{PostgresCluster, SERVER_PORT},
    fault::Kill,
    topology::Node,
};

use super::super::{Strike, is_hit};
use crate::ScenarioError;

/// What a scenario breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// All processes of the primary's node die.
    PrimaryKilled,
}

impl Case {
    /// The fault, and whom it hits.
    pub async fn strike(self, cluster: &PostgresCluster) -> Result<Strike, ScenarioError> {
        let primary = cluster.primary().await.map_err(|reason| ScenarioError::client("find the primary", reason))?;
        match self {
            Self::PrimaryKilled => Ok(Strike { fault: Box::new(Kill::new(primary.clone(), "primary", SERVER_PORT)), hit: vec![primary] }),
        }
    }

    /// Whether the platform knows of it.
    pub async fn has_noticed(self, cluster: &PostgresCluster, hit: &[Node]) -> Result<(), String> {
        match self {
            Self::PrimaryKilled => another_leads(cluster, hit).await,
        }
    }
}

/// A server that was not hit names a leader that was not hit.
async fn another_leads(cluster: &PostgresCluster, hit: &[Node]) -> Result<(), String> {
    let mut last = "no survivor".to_owned();
    for survivor in cluster.servers().iter().filter(|server| !is_hit(hit, server)) {
        match cluster.patroni_view(survivor).await {
            Ok(view) => match view.iter().find(|member| member.role == "leader" && member.state == "running") {
                Some(leader) if hit.iter().all(|node| node.name() != leader.name) => return Ok(()),
                _ => last = format!("{} knows no other leader", survivor.name()),
            },
            Err(error) => last = error,
        }
    }
    Err(last)
}
