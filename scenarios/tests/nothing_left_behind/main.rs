//! Goal: however a run ends, nothing of it is left: no container, network, volume, mount or process.
//! Method: ten runs are killed with SIGKILL at random moments: `dora up` in its start, and `dora conform` in the middle of scenarios, among
//! them one whose firewall cuts a node off and two whose data directories are mounted through FUSE. 10 s later the engine must hold no
//! container, network or volume of that run, nothing may be mounted that was not before, and no process may have a mount that names the run
//! or a container of it; then its reaper has to end, too. The moments come from a seed that is printed (`DORA_KILL_SEED=N` takes the same
//! again). Two other runs are ended as Ctrl-C and as a service manager do it.
//! What it does not show: an engine that is itself away when its run dies (`dora sweep` is for that). Other runs on the same engine are
//! told from these, but what they mount on this machine meanwhile is not: it runs alone.

mod run;

use std::{
    ops::Range,
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    sync::OnceLock,
    time::Duration,
};

use dora_harness::{
    engine::{Engine, reaper::become_reaper_if_asked},
    patience::stretched,
};
use libtest_mimic::{Arguments, Failed, Trial};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::runtime::Runtime;

use run::{Run, dora};

/// A run, and when it is ended.
struct Case {
    /// The arguments of `dora`.
    arguments: &'static [&'static str],
    /// What the run says when the time begins that `seconds` count; [`None`]: with its start.
    since: Option<&'static str>,
    /// The moment is drawn evenly from these.
    seconds: Range<f64>,
    /// How many kills have to hit it under way.
    kills: usize,
}

/// The start takes some seconds; a later kill would hit a platform that already stays.
const START: Case = Case { arguments: &["up", "--only", "redis", "--profile", "staging"], since: None, seconds: 0.25..5.0, kills: 7 };

/// Ten kills.
const CASES: [Case; 4] = [
    START,
    // Load, a node killed, failover, sustained operation.
    Case {
        arguments: &["conform", "ha/redis/master-killed", "--profile", "staging", "--sustain", "8"],
        since: Some("ha/redis/master-killed: runs"),
        seconds: 0.0..15.0,
        kills: 1,
    },
    // A probe has seen that the firewall in its pod cuts the master off, which lasts eight seconds and more. Only `production` has the
    // three servers that it takes.
    Case {
        arguments: &["conform", "ha/redis/master-isolated", "--profile", "production", "--sustain", "8"],
        since: Some("kind=\"fault\""),
        seconds: 0.0..8.0,
        kills: 1,
    },
    // Every server has its data in an encrypted directory that a process in its container mounted, and its storage is searched.
    Case {
        arguments: &["conform", "security/redis/at-rest", "--profile", "staging"],
        since: Some("the storage of"),
        seconds: 0.0..8.0,
        kills: 1,
    },
];

/// Kills that come too early or too late do not count; for each that counts there are at most so many.
const ATTEMPTS: usize = 4;
/// Images may have to be built.
const UP_LIMIT: Duration = Duration::from_secs(1200);
/// A run that is asked to end removes its platform first.
const END_LIMIT: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    become_reaper_if_asked();
    let mut arguments = Arguments::from_args();
    if let Err(error) = dora_harness::patience::check() {
        eprintln!("error: {error}");
        return ExitCode::from(2);
    }
    // What a run mounts is told by what was mounted before: one test at a time.
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

/// Starts a run, ends it by `end` at that moment, and demands that nothing of it is left. Answers whether the end hit a run that had
/// started something and was not through yet.
fn ended_by(runtime: &Runtime, case: &Case, after: Duration, end: fn(&mut Child)) -> Result<bool, Failed> {
    let command = case.arguments.join(" ");
    let mut run = Run::start(case.arguments)?;
    let is_under_way = run.reaches(runtime, case.since, after)?;
    if run.process.try_wait()?.is_none() {
        end(&mut run.process);
    }
    run.ends(stretched(END_LIMIT))?;
    let stays = run.stays()?;
    let moment = format!("dora {command}: ended {:.2} s after {}", after.as_secs_f64(), case.since.unwrap_or("its start"));
    let took = run.vanishes(runtime).map_err(|failed| format!("{moment}: {}", failed.message().unwrap_or_default()))?;
    let is_hit = is_under_way && !stays;
    eprintln!("{moment}: {}, nothing left after {:.1} s", if is_hit { "hit" } else { "missed" }, took.as_secs_f64());
    if !is_hit && !stays {
        eprintln!("its last words:\n{}", run.last_words()?);
    }
    Ok(is_hit)
}

/// Builds what is missing: a kill in the middle of an image build would hit before anything was started.
fn build_images(runtime: &Runtime) -> Result<(), Failed> {
    static BUILT: OnceLock<Result<(), Failed>> = OnceLock::new();
    let build = || -> Result<(), Failed> {
        // Encrypted volumes have their keys from OpenBao.
        let mut run = Run::start(&["up", "--only", "redis,openbao", "--profile", "staging"])?;
        run.ends(stretched(UP_LIMIT))?;
        if !run.stays()? {
            return Err(format!("a run that nobody ends does not come up; its last words:\n{}", run.last_words()?).into());
        }
        run.vanishes(runtime)?;
        Ok(())
    };
    BUILT.get_or_init(build).clone()
}

fn killed_at_random_moments() -> Result<(), Failed> {
    let seed = match std::env::var("DORA_KILL_SEED") {
        Ok(text) => text.parse::<u64>().map_err(|error| format!("DORA_KILL_SEED is no number: {error}"))?,
        Err(_unset) => rand::rng().random(),
    };
    eprintln!("the moments come from DORA_KILL_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let runtime = Runtime::new()?;
    build_images(&runtime)?;
    for case in &CASES {
        let mut hits = 0;
        let attempts = case.kills * ATTEMPTS;
        for _ in 0..attempts {
            if hits == case.kills {
                break;
            }
            let after = Duration::from_secs_f64(random.random_range(case.seconds.clone()));
            hits += usize::from(ended_by(&runtime, case, after, |process| {
                // A run that ended in this very moment cannot be killed any more.
                let _ = process.kill();
            })?);
        }
        if hits < case.kills {
            return Err(format!("only {hits} of {attempts} kills hit `dora {}` under way", case.arguments.join(" ")).into());
        }
    }
    Ok(())
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
    let runtime = Runtime::new()?;
    build_images(&runtime)?;
    for _ in 0..START.kills * ATTEMPTS {
        if ended_by(&runtime, &START, Duration::from_millis(1500), end)? {
            return Ok(());
        }
    }
    Err("no signal hit a run in the middle of its start".into())
}

fn without_an_engine() -> Result<(), Failed> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let output = dora(folder, &["up", "--only", "redis"]).env("DOCKER_HOST", "tcp://127.0.0.1:9").stderr(Stdio::piped()).output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(3) && text.lines().count() == 1 && text.contains("no container engine answers") {
        Ok(())
    } else {
        Err(format!("{:?}: {text}", output.status.code()).into())
    }
}
