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

use crate::Scenario;

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
