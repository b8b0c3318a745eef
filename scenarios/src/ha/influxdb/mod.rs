//! InfluxDB's cluster under faults: quorum writes, hinted handoff, consistency levels, the meta nodes.

mod batches;
mod clients;
mod during;
mod handoff;
mod levels;
mod outages;
mod replication;
mod sabotage;
mod scenarios;
mod set;
mod struck;
mod target;

pub use scenarios::SCENARIOS;

use self::target::{Case, Points};
use super::HaTarget;
use crate::{ScenarioError, Trial};

/// The trial's cluster, one data node of which will be killed: for a scenario over several databases.
pub(super) async fn data_node_killed(trial: &Trial) -> Result<Box<dyn HaTarget>, ScenarioError> {
    Ok(Box::new(Points::of(trial, Case::Killed).await?))
}
