//! Replica sets of MongoDB, with and without an arbiter, are struck; and reads go where they are sent.

mod case;
mod client;
mod data_node_lost;
mod demand;
mod loads;
mod reads;
mod sabotage;
mod scenarios;
mod split_brain;
mod target;
mod values;

use self::scenarios::{arbiter, majority, primary, secondary};
pub(super) use self::target::primary_killed;
use crate::Scenario;

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[
    primary::KILLED,
    primary::PAUSED,
    primary::ISOLATED,
    primary::CUT_FROM_PEERS,
    primary::SWITCHOVER,
    secondary::KILLED,
    secondary::PAUSED,
    secondary::LAGGING,
    majority::LOST,
    majority::ALL_KILLED,
    arbiter::LOST,
    arbiter::DATA_NODE_LOST,
    reads::PREFERENCES,
    reads::STALENESS,
];
