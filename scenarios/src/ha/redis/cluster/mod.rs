//! The shards of a Cluster.

mod case;
mod clients;
mod moved_keys;
mod other_shards;
mod sabotage;
pub mod scenarios;
mod target;

use case::Case;
use sabotage::{COVERAGE_NOT_REQUIRED, COVERAGE_REQUIRED, KEYS_DROPPED, REDIRECTIONS_IGNORED, SLOTS_UNASSIGNED};
use target::run;
