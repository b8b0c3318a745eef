//! Goal: however `dora fault inject` ends, nothing stays broken that was not to stay.
//! Method: on a small platform of `dora up` a replica is paused, and `inject`, that process alone, is killed with SIGKILL: once in the
//! middle of its work, once after it saw the fault. 45 s later `fault list` may show nothing injected, every node must have its role, and no
//! process may work on the platform. A detached fault must stay until it is healed by hand.
//! What it does not show: an engine that is away for over two minutes after the kill, or a guardian that is killed, too (`dora fault heal
//! --all` is for both); other faults than a pause.

use std::{
    fs::{self, File},
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use dora_harness::patience::stretched;
use tempfile::TempDir;

/// The promise; to look takes seconds of it, because `fault list` tries every kind out.
const HEALED_WITHIN: Duration = Duration::from_secs(45);
/// `inject` gets as far as it shall within this time.
const INJECTED_WITHIN: Duration = Duration::from_secs(60);
/// The replica: without it no role moves.
const NODE: &str = "rds2";

/// A platform that stays until this is dropped.
struct Platform {
    folder: TempDir,
    run: String,
}

/// What there is to see of it.
#[derive(Debug, PartialEq)]
struct Seen {
    /// How many faults `fault list` shows.
    injected: Option<u64>,
    /// Whether `health` finds every node in its role.
    whole: bool,
    /// How many processes of `dora` work on it.
    processes: usize,
}

impl Platform {
    fn up() -> Self {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let output = dora(&folder, &["up", "--only", "redis", "--profile", "staging"]).output().unwrap();
        let run = text(&output.stdout).lines().find_map(|line| line.strip_prefix("run ")).map(|run| run.trim().to_owned());
        let run = run.unwrap_or_else(|| panic!("no platform comes up: {}", text(&output.stderr)));
        let platform = Self { folder, run };
        assert!(output.status.success(), "{}", text(&output.stderr));
        platform
    }

    fn fault(&self, words: &[&str]) -> Command {
        let mut command = dora(&self.folder, &["fault"]);
        command.args(words).args(["--run", &self.run]);
        command
    }

    fn inject(&self) -> Command {
        self.fault(&["inject", "pause", "--node", NODE])
    }

    /// Starts an `inject` and answers it as soon as it has printed those words.
    fn inject_until(&self, words: &str) -> Child {
        let path = self.folder.path().join("said");
        let said = File::create(&path).unwrap();
        let mut inject = self.inject().stdout(said.try_clone().unwrap()).stderr(said).spawn().unwrap();
        let started = Instant::now();
        loop {
            let text = fs::read_to_string(&path).unwrap();
            if text.contains(words) {
                return inject;
            }
            let ended = inject.try_wait().unwrap();
            if ended.is_some() || started.elapsed() > INJECTED_WITHIN {
                // Its guardian does the rest. One that has ended cannot be killed any more.
                let _ = inject.kill();
                inject.wait().unwrap();
                panic!("`dora fault inject` does not come to `{words}` ({ended:?}): {text}");
            }
            sleep(Duration::from_millis(10));
        }
    }

    fn look(&self) -> Seen {
        // Counted while there is none of the commands below.
        let processes = self.processes();
        let whole = dora(&self.folder, &["health", &self.run]).output().unwrap().status.success();
        let list = text(&self.fault(&["list"]).output().unwrap().stdout);
        let tail = format!(" injected into run {}", self.run);
        let injected = list.lines().find_map(|line| line.strip_suffix(tail.as_str())).and_then(|count| count.parse().ok());
        Seen { injected, whole, processes }
    }

    /// How many processes of `dora` were given the run's name.
    fn processes(&self) -> usize {
        let lines = fs::read_dir("/proc").unwrap().flatten().filter_map(|process| fs::read(process.path().join("cmdline")).ok());
        let is_one = |line: &Vec<u8>| {
            let mut words = line.split(|byte| *byte == 0);
            words.next().is_some_and(|program| program.ends_with(b"/dora")) && words.any(|word| word == self.run.as_bytes())
        };
        lines.filter(is_one).count()
    }

    #[track_caller]
    fn is_healed_in_time(&self) {
        let (since, limit) = (Instant::now(), stretched(HEALED_WITHIN));
        loop {
            let seen = self.look();
            if seen == (Seen { injected: Some(0), whole: true, processes: 0 }) {
                return;
            }
            assert!(since.elapsed() <= limit, "{:.1} s after the end: {seen:?}", since.elapsed().as_secs_f64());
            sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        // A failed test must not leave it running either, and its own words are the ones to tell.
        let _ = dora(&self.folder, &["down", &self.run]).output();
    }
}

fn dora(folder: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dora"));
    command.args(arguments).current_dir(folder.path()).stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// That process alone, as the kernel does it when memory runs out.
fn kill(inject: &mut Child) {
    inject.kill().unwrap();
    inject.wait().unwrap();
}

#[track_caller]
fn succeeds(command: &mut Command) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{command:?} ends with {status}: {}{}", text(&stdout), text(&stderr));
}

#[test]
fn a_killed_inject_heals_and_a_detached_fault_stays() {
    let platform = Platform::up();

    // Written down and not seen yet: nobody knows what the engine has been asked for.
    kill(&mut platform.inject_until("fault "));
    platform.is_healed_in_time();

    let mut inject = platform.inject_until("confirmed after");
    // The positive control: `inject` and its guardian, a fault, a node that does not answer.
    let seen = platform.look();
    kill(&mut inject);
    assert_eq!(seen, Seen { injected: Some(1), whole: false, processes: 2 });
    platform.is_healed_in_time();

    succeeds(platform.inject().arg("--detach"));
    // A guardian that had not been told to leave would heal meanwhile.
    assert_eq!(platform.look(), Seen { injected: Some(1), whole: false, processes: 0 });
    succeeds(&mut platform.fault(&["heal", "--all"]));
    platform.is_healed_in_time();
}
