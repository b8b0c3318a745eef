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
use crate::Scenario;

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[
    primary::ALL[0],
    primary::ALL[1],
    primary::ALL[2],
    primary::ALL[3],
    primary::ALL[4],
    secondary::ALL[0],
    secondary::ALL[1],
    secondary::ALL[2],
    majority::ALL[0],
    majority::ALL[1],
    arbiter::ALL[0],
    arbiter::ALL[1],
    reads::PREFERENCES,
    reads::STALENESS,
];
