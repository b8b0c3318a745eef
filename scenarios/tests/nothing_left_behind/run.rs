//! A run of `dora` that is ended from outside, and what is left of it on this machine.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use dora_harness::{
    engine::{Engine, RunId, reaper::REAPER_ARGUMENT, sweep::Leftovers},
    patience::stretched,
};
use libtest_mimic::Failed;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The promise.
const GONE_WITHIN: Duration = Duration::from_secs(10);
/// The reaper ends later: for some seconds it waits for what the engine had accepted and not made yet.
const REAPER_ENDS_WITHIN: Duration = Duration::from_secs(20);
/// From the start of the process to the words that are waited for: a platform, and a part of it anew on encrypted volumes.
const WORDS_WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What `up` prints last: from then on its platform stays by design, whatever becomes of the process.
const STAYS: &str = "remove it with";
/// The variable that every process of a run inherits.
const FOLDER: &str = "DORA_TEST_FOLDER";

/// A command of `dora` that says nothing.
pub fn dora(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dora"));
    command.args(arguments).current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
    command
}

/// A run under way, in a folder of its own.
pub struct Run {
    pub process: Child,
    folder: TempDir,
    /// The file with all that it says, its scenarios' notes among them.
    said: PathBuf,
    /// What was mounted on this machine before.
    mounted: BTreeSet<String>,
    /// Its name, once it has a reaper: nothing is started before.
    name: Option<RunId>,
    /// Every container of it that was seen.
    containers: BTreeSet<String>,
}

impl Run {
    pub fn start(arguments: &[&str]) -> Result<Self, Failed> {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
        let mounted = mounts()?;
        let said = folder.path().join("said");
        let file = File::create(&said)?;
        let process = dora(folder.path(), arguments)
            .env(FOLDER, folder.path())
            .env("DORA_LOG", "dora_scenarios=info")
            .env("NO_COLOR", "1")
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()?;
        Ok(Self { process, folder, said, mounted, name: None, containers: BTreeSet::new() })
    }

    /// Waits until `after` is over, counted from the moment when it said the words of `since`, or else from now. Whether the run is still
    /// under way then, and the engine holds something of it.
    pub fn reaches(&mut self, runtime: &Runtime, mut since: Option<&str>, after: Duration) -> Result<bool, Failed> {
        let (started, limit) = (Instant::now(), stretched(WORDS_WITHIN));
        let mut counted = started;
        loop {
            let holds = self.look(runtime)?;
            if self.process.try_wait()?.is_some() {
                return Ok(false);
            }
            if let Some(words) = since {
                if self.said()?.contains(words) {
                    (since, counted) = (None, Instant::now());
                } else if started.elapsed() > limit {
                    return Err(format!("it did not say `{words}` within {limit:?}; its last words:\n{}", self.last_words()?).into());
                }
            }
            let rest = if since.is_none() { after.saturating_sub(counted.elapsed()) } else { LOOK_EVERY };
            if rest.is_zero() {
                return Ok(holds);
            }
            sleep(rest.min(LOOK_EVERY));
        }
    }

    /// Waits for the end of its process.
    pub fn ends(&mut self, limit: Duration) -> Result<(), Failed> {
        let started = Instant::now();
        while self.process.try_wait()?.is_none() {
            if started.elapsed() > limit {
                return Err(format!("its process did not end within {limit:?}; its last words:\n{}", self.last_words()?).into());
            }
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Whether it said that its platform stays, which then is taken down.
    pub fn stays(&mut self) -> Result<bool, Failed> {
        let said = self.said()?;
        if !said.contains(STAYS) {
            return Ok(false);
        }
        let printed = || said.lines().find_map(|line| line.strip_prefix("run ")?.trim().parse::<RunId>().ok());
        self.name = self.name.take().or_else(printed);
        // Between that line and the end of the reaper's watch it may be the reaper that removes everything.
        sleep(Duration::from_secs(1));
        if let Some(name) = &self.name {
            dora(self.folder.path(), &["down", name.as_str()]).status()?;
        }
        Ok(true)
    }

    /// Demands that nothing is left 10 s from now, and that after the end of its reaper nothing came back. How long it took.
    pub fn vanishes(&mut self, runtime: &Runtime) -> Result<Duration, Failed> {
        let ended = Instant::now();
        // A run that was ended soon after its reaper's start has a name only now.
        self.look(runtime)?;
        until_nothing(ended, GONE_WITHIN, || self.left(runtime))?;
        let took = ended.elapsed();
        until_nothing(ended, stretched(REAPER_ENDS_WITHIN), || Ok(self.processes(&["cmdline", "environ"])))?;
        until_nothing(ended, Duration::ZERO, || self.left(runtime))?;
        Ok(took)
    }

    /// The last lines that it said.
    pub fn last_words(&self) -> Result<String, Failed> {
        let said = self.said()?;
        let lines: Vec<&str> = said.lines().collect();
        Ok(lines[lines.len().saturating_sub(8)..].join("\n"))
    }

    fn said(&self) -> Result<String, Failed> {
        Ok(String::from_utf8_lossy(&fs::read(&self.said)?).into_owned())
    }

    /// Notes its name and its containers. Whether the engine holds something of it.
    fn look(&mut self, runtime: &Runtime) -> Result<bool, Failed> {
        if self.name.is_none() {
            self.name = self.reaped();
        }
        let held = self.held(runtime)?;
        self.containers.extend(held.containers.iter().cloned());
        Ok(!held.is_empty())
    }

    /// The run that its reaper watches over.
    fn reaped(&self) -> Option<RunId> {
        let folder = self.folder.path().display().to_string();
        processes().into_iter().filter(|process| text(process, "environ").contains(&folder)).find_map(|process| {
            let line = text(&process, "cmdline");
            let name = line.split('\0').skip_while(|word| *word != REAPER_ARGUMENT).nth(1)?;
            name.parse::<RunId>().ok()
        })
    }

    fn held(&self, runtime: &Runtime) -> Result<Leftovers, Failed> {
        let Some(name) = &self.name else { return Ok(Leftovers::default()) };
        Ok(runtime.block_on(async { Engine::connect().await?.leftovers(name).await }).map_err(|error| error.to_string())?)
    }

    /// What of it is on the engine, mounted here, or mounted where only some process sees it.
    fn left(&self, runtime: &Runtime) -> Result<Vec<String>, Failed> {
        let held = self.held(runtime)?;
        let mut left = if held.is_empty() { Vec::new() } else { vec![format!("{held:?}")] };
        left.extend(mounts()?.difference(&self.mounted).map(|mount| format!("mounted: {mount}")));
        left.extend(self.processes(&["mountinfo"]));
        Ok(left)
    }

    /// Processes of this machine that name the run, its folder or one of its containers in one of these files of theirs.
    fn processes(&self, files: &[&str]) -> Vec<String> {
        let folder = self.folder.path().display().to_string();
        let mut names: Vec<&str> = self.containers.iter().map(String::as_str).collect();
        names.extend(self.name.as_ref().map(RunId::as_str));
        names.push(&folder);
        let mut found = Vec::new();
        for process in processes() {
            for file in files {
                let content = text(&process, file);
                if let Some(name) = names.iter().find(|name| content.contains(**name)) {
                    found.push(format!("{} ({}) has {name} in its {file}", process.display(), text(&process, "comm").trim()));
                }
            }
        }
        found
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // A failed test must not leave it running either; its reaper does the rest. One that has ended cannot be killed any more.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Looks until there is nothing, once at least.
fn until_nothing(since: Instant, limit: Duration, look: impl Fn() -> Result<Vec<String>, Failed>) -> Result<(), Failed> {
    loop {
        let left = look()?;
        if left.is_empty() {
            return Ok(());
        }
        let after = since.elapsed();
        if after > limit {
            return Err(format!("{:.1} s after its end there is still:\n{}", after.as_secs_f64(), left.join("\n")).into());
        }
        sleep(LOOK_EVERY);
    }
}

/// What is mounted on this machine, a line each.
fn mounts() -> Result<BTreeSet<String>, Failed> {
    Ok(fs::read_to_string("/proc/self/mountinfo")?.lines().map(ToOwned::to_owned).collect())
}

/// The folders of all processes below /proc.
fn processes() -> Vec<PathBuf> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbered = entries.filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()));
    numbered.map(|entry| entry.path()).collect()
}

/// A file of a process; one that has ended meanwhile has nothing in it.
fn text(process: &Path, file: &str) -> String {
    String::from_utf8_lossy(&fs::read(process.join(file)).unwrap_or_default()).into_owned()
}
