//! The process that cleans up when the run cannot, however that ended, `kill -9` included.

use std::time::{Duration, Instant};

use super::{Engine, RunId};
use crate::watchdog::{Watchdog, asked, watch};

/// The first argument that turns a binary of this project into a reaper.
pub const REAPER_ARGUMENT: &str = "__reaper";
/// A creation that the engine had already accepted may finish this long after its client died.
const SETTLE: Duration = Duration::from_secs(3);
/// One round of removals may take this long; what hangs is asked for anew.
const ROUND: Duration = Duration::from_secs(4);
/// The reaper itself ends after this time, whatever happens.
const GIVE_UP: Duration = Duration::from_secs(120);

/// A running reaper. Dropping it without [`Reaper::disarm`] makes it remove everything of the run.
#[derive(Debug)]
pub struct Reaper(Watchdog);

impl Reaper {
    /// Starts a reaper for the run.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start(run: &RunId) -> std::io::Result<Self> {
        Watchdog::start(REAPER_ARGUMENT, &[run.as_str()]).map(Self)
    }

    /// Lets the platform stay: the reaper ends without removing anything.
    pub fn disarm(self) {
        self.0.dismiss();
    }

    /// Closes the pipe and waits until the reaper has removed everything.
    pub fn reap(self) {
        self.0.act();
    }
}

/// Becomes the reaper when this process was started as one, and then never returns. Every binary that starts a run calls it
/// first thing in `main`.
pub fn become_reaper_if_asked() {
    let Some(words) = asked(REAPER_ARGUMENT) else { return };
    let Some(Ok(run)) = words.first().map(|text| text.parse::<RunId>()) else { std::process::exit(2) };
    watch(remove_until_quiet(&run))
}

async fn remove_until_quiet(run: &RunId) {
    let started = Instant::now();
    let mut quiet_since = None;
    while started.elapsed() < GIVE_UP {
        let removed = tokio::time::timeout(ROUND, async { Engine::connect().await?.remove_run(run).await }).await;
        if matches!(removed, Ok(Ok(0))) {
            let since = *quiet_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= SETTLE {
                return;
            }
        } else {
            quiet_since = None;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
