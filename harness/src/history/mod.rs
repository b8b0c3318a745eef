//! What clients did and what came of it, as an append-only record.

mod event;
mod recorder;

pub use event::{Event, EventKind, Operation, Outcome, operations};
pub use recorder::{HistoryError, Recorder};
