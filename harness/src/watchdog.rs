//! A second process of this very binary that acts when this one ends without a farewell: it holds a pipe from it, and the pipe closes
//! however this process ends, `kill -9` included.

use std::{
    io::{Read as _, Write as _},
    os::unix::process::CommandExt as _,
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

use tokio::signal::unix::{SignalKind, signal};

/// The file of this very binary, also when another one was built in its place meanwhile.
pub const THIS_PROGRAM: &str = "/proc/self/exe";
/// What is written before an end that leaves nothing to do.
const FAREWELL: u8 = b'd';
/// How long the end of one that was told to leave is waited for.
const FAREWELL_LIMIT: Duration = Duration::from_secs(5);

/// A running watchdog. Dropping it without [`Watchdog::dismiss`] makes it act.
#[derive(Debug)]
pub struct Watchdog {
    pipe: Option<ChildStdin>,
    process: Child,
}

impl Watchdog {
    /// Starts this very binary with `mode` as its first argument and `words` behind it, in a process group of its own, so that
    /// Ctrl-C in the terminal does not reach it. That binary's `main` has to ask for the mode by [`asked`].
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start(mode: &str, words: &[&str]) -> std::io::Result<Self> {
        let mut process = Command::new(THIS_PROGRAM)
            // So that a list of processes still shows whose it is.
            .arg0(std::env::args_os().next().unwrap_or_default())
            .arg(mode)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Self { pipe: process.stdin.take(), process })
    }

    /// Lets it end without acting.
    pub fn dismiss(mut self) {
        if let Some(mut pipe) = self.pipe.take() {
            // One that is already gone has nothing left to be told.
            let _ = pipe.write_all(&[FAREWELL]);
        }
        // It ends at once; nothing depends on its end, so one that was stopped keeps nobody.
        let until = Instant::now() + FAREWELL_LIMIT;
        while Instant::now() < until && matches!(self.process.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Closes the pipe and waits until it has acted.
    pub fn act(mut self) {
        drop(self.pipe.take());
        let _ = self.process.wait();
    }
}

/// The words behind `mode`, where this process was started as that watchdog.
pub fn asked(mode: &str) -> Option<Vec<String>> {
    let mut arguments = std::env::args().skip(1);
    (arguments.next()? == mode).then(|| arguments.collect())
}

/// Waits until the process that started this one ends, and does `work` if it ended without a farewell. Never returns. Deadlines are
/// the work's own.
pub fn watch(work: impl Future<Output = ()>) -> ! {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    if let Ok(runtime) = &runtime {
        let _inside = runtime.enter();
        ignore_requests_to_end();
    }
    let mut byte = [0_u8; 1];
    let dismissed = matches!(std::io::stdin().read(&mut byte), Ok(1) if byte[0] == FAREWELL);
    if let (false, Ok(runtime)) = (dismissed, runtime) {
        runtime.block_on(work);
    }
    std::process::exit(0)
}

/// Whoever ends the watched process by its name, or everything of a session or service, asks this process, too; it has work to do yet,
/// and then ends by itself.
fn ignore_requests_to_end() {
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        // The handler stays for the life of the process, also when nobody listens to it any more.
        drop(signal(kind));
    }
}
