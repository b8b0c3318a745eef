//! All scenarios of this database, in the order in which they run.

use super::crash;
use crate::Scenario;

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[crash::PRIMARY_KILLED];
