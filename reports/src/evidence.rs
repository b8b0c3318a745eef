//! The evidence of one run: plain, versioned, serialisable data.
//!
//! Everything else that this crate writes is a pure function of [`Evidence`], so an old bundle can be rendered and
//! checked again. Three conventions hold for all of it:
//!
//! - **Time.** `started_at`/`finished_at` are wall clock (RFC 3339, UTC). A number ending in `_ms` is milliseconds on
//!   the monotonic clock. [`ScenarioEvidence::started_ms`], [`ScenarioEvidence::finished_ms`] and [`BootSpan`] count
//!   from the start of the run; whatever is *inside* a scenario (faults, series, timeline) counts from the start of
//!   that scenario; the four [`Clocks`] count from the injection of the fault.
//! - **Absence.** `None` means "was not observed", never zero. A number that is not finite is written as absent.
//! - **Names.** Names of measures and objectives are stable snake case (`first_success`, `latency_p99`). A measure and
//!   the objective that limits it have the same name; pages print the underscores as spaces.

mod clause;
mod content;
mod objective;
mod proof;
mod run;
mod scenario;
mod topology;
mod verdict;

pub use clause::ClauseEvidence;
pub use content::{ContentRow, ProbeCell, ProbeMatrix, ProbeRow, Register};
pub use objective::{Limit, Measured, NamedLimit, Objective, Op};
pub use proof::{ProofEvidence, ProofOutcome};
pub use run::{Evidence, HostInfo, ImageUsed, Planned, RunInfo, SCHEMA_VERSION};
pub use scenario::{
    CheckEvidence, CheckOutcome, Clocks, FaultEvidence, Finding, LogExcerpt, OperationCounts, Point, ScenarioEvidence, Series, Severity,
    TimelineEvent,
};
pub use topology::{BootSpan, ExceptionEvidence, NodeEvidence, TopologyEvidence};
pub use verdict::{Verdict, VerdictCounts, decide, worst};
