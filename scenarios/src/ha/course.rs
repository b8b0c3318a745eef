//! What is expected of the service while a fault lasts, and for how long it lasts.

use std::time::Duration;

/// What writes do while the fault lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// They fail for a while and are back within `rto_ms_max` of the clause, the fault still being there.
    Returns,
    /// They go on: nothing is acknowledged for `rto_ms_max` at most.
    Continues,
    /// They cease within this time, which counts from the probe that confirmed the fault, and stay away until the fault is healed:
    /// acknowledging would be a lie. Then they are back within `rto_ms_max` of the healing.
    Ceases(Duration),
}

/// The course of a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Course {
    /// What is expected of writes.
    pub service: Service,
    /// The fault lasts at least this long, besides the time of sustained operation.
    pub hold: Duration,
    /// The fault takes its effect within this time (a leadership that is not renewed ends later): sustained operation counts from there.
    pub settling: Duration,
}

impl Course {
    /// Writes return while the fault lasts; it is healed after sustained operation.
    pub const fn returns() -> Self {
        Self { service: Service::Returns, hold: Duration::ZERO, settling: Duration::ZERO }
    }

    /// Writes go on.
    pub const fn continues() -> Self {
        Self { service: Service::Continues, hold: Duration::ZERO, settling: Duration::ZERO }
    }

    /// Writes cease `within` this time, for as long as the fault is `hold`.
    pub const fn ceases(within: Duration, hold: Duration) -> Self {
        Self { service: Service::Ceases(within), hold, settling: Duration::ZERO }
    }

    /// The same, with a fault that lasts at least this long.
    #[must_use]
    pub const fn lasting(self, hold: Duration) -> Self {
        Self { hold, ..self }
    }

    /// The same, with a fault whose effect may come this much later.
    #[must_use]
    pub const fn settling(self, settling: Duration) -> Self {
        Self { settling, ..self }
    }
}
