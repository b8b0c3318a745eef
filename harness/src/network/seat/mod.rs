//! A seat in a zone: a pod without a database, from which is seen what a machine in that zone would see.
//!
//! What works there is this very binary in a hidden mode, as with the delaying program of [`crate::fault`]: connections have to
//! come from the zone's own address, so the harness cannot make them itself.

mod forward;
mod handle;
mod probe;
mod program;
mod watch;

pub use forward::Forwarding;
pub use handle::{Seat, WatchEnd};
pub use probe::{Answer, Probed};
pub use program::become_seat_if_asked;
pub use watch::{Sample, SampleKind, Watched};

pub(super) use program::PROGRAM_NAME;
