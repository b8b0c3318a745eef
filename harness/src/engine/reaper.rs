//! The process that cleans up when the run cannot: it holds a pipe from the run, and the pipe closes however the run ends,
//! `kill -9` included.

use std::{
    io::{Read as _, Write as _},
    os::unix::process::CommandExt as _,
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

use tokio::signal::unix::{SignalKind, signal};

use super::{Engine, RunId};

/// The first argument that turns a binary of this project into a reaper.
pub const REAPER_ARGUMENT: &str = "__reaper";
/// What the run writes before it ends when its platform shall stay.
const DISARM: u8 = b'd';
/// A creation that the engine had already accepted may finish this long after its client died.
const SETTLE: Duration = Duration::from_secs(3);
/// One round of removals may take this long; what hangs is asked for anew.
const ROUND: Duration = Duration::from_secs(4);
/// The reaper itself ends after this time, whatever happens.
const GIVE_UP: Duration = Duration::from_secs(120);

/// A running reaper. Dropping it without [`Reaper::disarm`] makes it remove everything of the run.
#[derive(Debug)]
pub struct Reaper {
    pipe: Option<ChildStdin>,
    process: Child,
}

impl Reaper {
    /// Starts a reaper for the run from this very binary, in a process group of its own, so that Ctrl-C in the terminal
    /// does not reach it.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start(run: &RunId) -> std::io::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args([REAPER_ARGUMENT, run.as_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Self { pipe: process.stdin.take(), process })
    }

    /// Lets the platform stay: the reaper ends without removing anything.
    pub fn disarm(mut self) {
        if let Some(mut pipe) = self.pipe.take() {
            // A reaper that is already gone has nothing left to disarm.
            let _ = pipe.write_all(&[DISARM]);
        }
        let _ = self.process.wait();
    }

    /// Closes the pipe and waits until the reaper has removed everything.
    pub fn reap(mut self) {
        drop(self.pipe.take());
        let _ = self.process.wait();
    }
}

/// Becomes the reaper when this process was started as one, and then never returns. Every binary that starts a run calls it
/// first thing in `main`.
pub fn become_reaper_if_asked() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() != Some(REAPER_ARGUMENT) {
        return;
    }
    let Some(Ok(run)) = arguments.next().map(|text| text.parse::<RunId>()) else { std::process::exit(2) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    if let Ok(runtime) = &runtime {
        let _inside = runtime.enter();
        ignore_requests_to_end();
    }
    let mut byte = [0_u8; 1];
    let disarmed = matches!(std::io::stdin().read(&mut byte), Ok(1) if byte[0] == DISARM);
    if let (false, Ok(runtime)) = (disarmed, runtime) {
        runtime.block_on(remove_until_quiet(&run));
    }
    std::process::exit(0);
}

/// Whoever ends a run by its name, or everything of a session or service, asks this process, too; it has work to do yet, and then ends by itself.
fn ignore_requests_to_end() {
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        // The handler stays for the life of the process, also when nobody listens to it any more.
        drop(signal(kind));
    }
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
