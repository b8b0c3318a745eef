//! What runs a session: loads, probes and checks side by side.

use std::{io, thread::available_parallelism};

use tokio::runtime::{Builder, Runtime};

/// A check of a long history keeps its thread for a second or more; loads and probes go on in the others, also where there are two cores.
const THREADS_MIN: usize = 6;

/// The runtime for a session.
///
/// # Errors
/// When the machine gives no threads.
pub fn runtime() -> io::Result<Runtime> {
    let cores = available_parallelism().map_or(1, usize::from);
    Builder::new_multi_thread().worker_threads(cores.max(THREADS_MIN)).enable_all().build()
}
