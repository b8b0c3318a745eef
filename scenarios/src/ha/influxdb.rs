//! influxdb.

use crate::Scenario;

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[];
