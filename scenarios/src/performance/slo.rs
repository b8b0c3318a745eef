//! What a load has to reach, as the catalogue says.

use dora_fixtures::catalogue::{Objective, Unpromised};

/// The numbers of a load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Slo {
    /// Queries that are scheduled each second.
    pub rate_per_s: f64,
    /// Scheduled start to end, median, in milliseconds.
    pub p50_ms: f64,
    /// Scheduled start to end, 99th percentile, in milliseconds.
    pub p99_ms: f64,
    /// Share of the queries that may fail.
    pub failed_max: f64,
    /// Share of the scheduled rate that has to be answered.
    pub achieved_min: f64,
}

impl Slo {
    /// Reads them.
    ///
    /// # Errors
    /// [`Unpromised`] for the first one that the catalogue does not state.
    pub fn of(promise: &Objective) -> Result<Self, Unpromised> {
        Ok(Self {
            rate_per_s: promise.rate_per_s()? as f64,
            p50_ms: promise.p50_us_max()? as f64 / 1e3,
            p99_ms: promise.p99_us_max()? as f64 / 1e3,
            failed_max: promise.failed_ratio_max()?,
            achieved_min: promise.achieved_ratio_min()?,
        })
    }
}
