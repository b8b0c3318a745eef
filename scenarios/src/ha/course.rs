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

/// What the platform itself has to do about a fault, whatever clients see of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// Nothing that is asked for: when it noticed is measured only.
    Any,
    /// It shows that it noticed, as [`super::HaTarget::has_noticed`] tells it for the case.
    Notices,
    /// Another node becomes the one that leads; that is also how it is told that the fault was noticed.
    LeaderMoves,
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
    /// What the platform has to do about it.
    pub reaction: Reaction,
}

impl Course {
    /// Writes return while the fault lasts; it is healed after sustained operation.
    pub const fn returns() -> Self {
        Self::of(Service::Returns, Duration::ZERO)
    }

    /// Writes go on.
    pub const fn continues() -> Self {
        Self::of(Service::Continues, Duration::ZERO)
    }

    /// Writes cease `within` this time, for as long as the fault is `hold`.
    ///
    /// # Panics
    /// Where the fault does not last longer than writes may go on: no acknowledgement could ever come too late. As a constant it does not
    /// compile.
    pub const fn ceases(within: Duration, hold: Duration) -> Self {
        assert!(hold.as_nanos() > within.as_nanos(), "a fault has to last longer than writes may go on after it");
        Self::of(Service::Ceases(within), hold)
    }

    const fn of(service: Service, hold: Duration) -> Self {
        Self { service, hold, settling: Duration::ZERO, reaction: Reaction::Any }
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

    /// The same, where the platform has to show by itself that it noticed: it steps down, or names who is missing.
    #[must_use]
    pub const fn noticed(self) -> Self {
        Self { reaction: Reaction::Notices, ..self }
    }

    /// The same, where another node has to take over.
    #[must_use]
    pub const fn leader_moves(self) -> Self {
        Self { reaction: Reaction::LeaderMoves, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "longer than writes may go on")]
    fn a_fault_that_ends_before_writes_have_to_is_refused() {
        let within = Duration::from_secs(5);
        let _ = Course::ceases(within, within);
    }
}
