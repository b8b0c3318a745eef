//! Goal: however a run ends, nothing of it is left on the engine.
//! Method: `dora up --only redis --profile staging` is killed with SIGKILL at ten random moments of its start; 10 s later the
//! engine must hold no container, network or volume of that run. Another run is interrupted as Ctrl-C does it.
//! What it does not show: an engine that is itself away when its run dies (`dora sweep` is for that).

use std::{
    collections::{BTreeMap, BTreeSet},
    process::{Child, Command, ExitCode, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use dora_harness::engine::{Engine, reaper::become_reaper_if_asked, sweep::Leftovers};
use libtest_mimic::{Arguments, Failed, Trial};
use rand::RngExt as _;
use tokio::runtime::Runtime;

const MOMENTS: usize = 10;
/// A start takes some seconds; a later kill would hit a platform that already stays.
const LATEST: Duration = Duration::from_secs(5);
/// Kills that come too early or too late do not count; there are at most so many.
const ATTEMPTS_MAX: usize = 40;
/// The promise.
const GONE_WITHIN: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    become_reaper_if_asked();
    let mut arguments = Arguments::from_args();
    // The runs before and after one test are told apart by what the engine holds: one test at a time.
    arguments.test_threads = Some(1);
    if !arguments.list
        && let Err(error) = Runtime::new()
            .map_err(|error| error.to_string())
            .and_then(|runtime| runtime.block_on(Engine::connect()).map(|_| ()).map_err(|error| error.to_string()))
    {
        eprintln!("error: {error}");
        return ExitCode::from(101);
    }
    let trials = vec![
        Trial::test("a run killed at ten random moments leaves nothing", killed_at_random_moments),
        Trial::test("an interrupted run leaves nothing", interrupted),
        Trial::test("a run whose every process is asked to end leaves nothing", all_asked_to_end),
        Trial::test("without an engine there is one clear line and exit code 3", without_an_engine),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn dora(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dora"));
    command.args(arguments).current_dir(env!("CARGO_TARGET_TMPDIR")).stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
    command
}

fn held(runtime: &Runtime) -> Result<BTreeMap<String, Leftovers>, Failed> {
    Ok(runtime.block_on(async { Engine::connect().await?.runs().await }).map_err(|error| error.to_string())?)
}

fn runs(runtime: &Runtime) -> Result<BTreeSet<String>, Failed> {
    Ok(held(runtime)?.into_keys().collect())
}

/// What `up` prints last: from then on its platform stays by design, whatever becomes of the process.
const STAYS: &str = "remove it with";

/// Starts a run, ends it by `end` after some time, and demands that the engine holds no more runs than before. Answers whether
/// the end hit a run that had started something and was not through yet.
fn ended_by(after: Duration, end: fn(&mut Child)) -> Result<bool, Failed> {
    let runtime = Runtime::new()?;
    let before = runs(&runtime)?;
    let printed = tempfile::NamedTempFile::new()?;
    let mut process = dora(&["up", "--only", "redis", "--profile", "staging"]).stdout(printed.reopen()?).spawn()?;
    let started = Instant::now();
    let mut seen = BTreeSet::new();
    while started.elapsed() < after {
        seen.extend(runs(&runtime)?.difference(&before).cloned());
        std::thread::sleep(Duration::from_millis(100));
    }
    end(&mut process);
    process.wait()?;
    let ended = Instant::now();
    let stays = std::fs::read_to_string(printed.path())?.contains(STAYS);
    if stays {
        // Between that line and the end of the reaper's watch it may be the reaper that removes everything.
        std::thread::sleep(Duration::from_secs(1));
        for run in runs(&runtime)?.difference(&before) {
            dora(&["down", run]).status()?;
        }
    }
    loop {
        let left: BTreeMap<String, Leftovers> = held(&runtime)?.into_iter().filter(|(run, _)| !before.contains(run)).collect();
        if left.is_empty() {
            return Ok(!stays && !seen.is_empty());
        }
        if ended.elapsed() > GONE_WITHIN {
            return Err(format!("ended after {after:?}, and {GONE_WITHIN:?} later still there: {left:?}").into());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Builds what is missing: a kill in the middle of an image build would hit before anything was started.
fn build_images() -> Result<(), Failed> {
    static BUILT: OnceLock<bool> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let Ok(output) = dora(&["up", "--only", "redis", "--profile", "staging"]).stdout(Stdio::piped()).output() else { return false };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let run = text.lines().find_map(|line| line.strip_prefix("run ")).map(str::trim).unwrap_or_default();
        output.status.success() && dora(&["down", run]).status().is_ok_and(|status| status.success())
    });
    if *built { Ok(()) } else { Err("a run that nobody kills does not come up and go down".into()) }
}

fn killed_at_random_moments() -> Result<(), Failed> {
    build_images()?;
    let mut hits = 0;
    for _ in 0..ATTEMPTS_MAX {
        let after = LATEST.mul_f64(rand::rng().random_range(0.05..1.0));
        hits += usize::from(ended_by(after, |process| {
            // A run that ended in this very moment cannot be killed any more.
            let _ = process.kill();
        })?);
        if hits == MOMENTS {
            return Ok(());
        }
    }
    Err(format!("only {hits} of {ATTEMPTS_MAX} kills hit a run in the middle of its start").into())
}

fn interrupted() -> Result<(), Failed> {
    one_is_hit(|process| send("-INT", process))
}

/// As a service manager does it, or whoever ends processes by their name: the reaper is asked, too.
fn all_asked_to_end() -> Result<(), Failed> {
    one_is_hit(|process| {
        let _ = Command::new("pkill").args(["-TERM", "-P", &process.id().to_string()]).status();
        send("-TERM", process);
    })
}

fn send(signal: &str, process: &Child) {
    let _ = Command::new("kill").args([signal, &process.id().to_string()]).status();
}

fn one_is_hit(end: fn(&mut Child)) -> Result<(), Failed> {
    build_images()?;
    for _ in 0..ATTEMPTS_MAX {
        if ended_by(Duration::from_millis(1500), end)? {
            return Ok(());
        }
    }
    Err("no signal hit a run in the middle of its start".into())
}

fn without_an_engine() -> Result<(), Failed> {
    let output = dora(&["up", "--only", "redis"]).env("DOCKER_HOST", "tcp://127.0.0.1:9").stderr(Stdio::piped()).output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(3) && text.lines().count() == 1 && text.contains("no container engine answers") {
        Ok(())
    } else {
        Err(format!("{:?}: {text}", output.status.code()).into())
    }
}
