//! What clients did and what came of it, as an append-only record.

mod edn;
mod event;
mod read;
mod recorder;

pub use event::{Event, EventKind, Operation, Outcome, operations};
pub use read::{History, LineFault, ReadError, read_bytes, read_file};
pub use recorder::{HistoryError, Recorder};
