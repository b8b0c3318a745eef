//! Neo4j: a causal cluster whose cores and replica are struck, and what its driver promises: routing and causal consistency.

mod bookmarks;
mod case;
mod clients;
mod cores_lost;
mod defect;
mod during;
mod leader_lost;
mod loads;
mod routing;
mod target;

use self::{case::Case, target::Target};
use super::HaTarget;
use crate::{Scenario, ScenarioError, Trial};

/// The trial's cluster, whose leader will be killed: for a scenario over several databases.
pub(super) async fn leader_killed(trial: &Trial) -> Result<Box<dyn HaTarget>, ScenarioError> {
    Ok(Box::new(Target::of(trial, Case::LeaderKilled).await?))
}

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[
    leader_lost::KILLED,
    leader_lost::PAUSED,
    leader_lost::ISOLATED,
    cores_lost::MINORITY,
    cores_lost::MAJORITY,
    cores_lost::REPLICA,
    cores_lost::ALL,
    routing::ROUTING,
    bookmarks::BOOKMARKS,
];
