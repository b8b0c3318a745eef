//! One run from the first container to the bundle: what `conform` and `prove` share.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dora_fixtures::catalogue::Catalogue;
use dora_harness::{
    engine::{Engine, RunId, RunKind, reaper::Reaper},
    measure::{load_time, processor_time},
    topology::Member,
};
use dora_reports::{
    Bundle, BundleError, BundleWriter,
    evidence::{Finding, Planned, ScenarioEvidence},
    terminal::{self, Layout},
};
use dora_scenarios::runner::{Job, Session, SessionOptions, describe_platform, new_evidence, note_what_images_lack, proof_of, run_all};
use time::OffsetDateTime;

use super::{RUNS, RunOptions, config::Config, error::CliError, progress::Progress, reap};

/// Work at the same time for each core: more of it on two cores makes scenarios red by time.
const JOBS_PER_CORE: usize = 2;
/// Every database has its lane, and the longest one two: with more than these nobody would wait for a place.
const JOBS_USEFUL: usize = 16;

fn default_jobs() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores * JOBS_PER_CORE).min(JOBS_USEFUL)
}

/// Sustained operation on the survivors of a fault, unless the user says otherwise.
const SUSTAIN_S: u64 = 60;

/// What the evidence of the jobs becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Verdicts on clauses.
    Conform,
    /// Proofs that checks can fail.
    Prove,
}

/// A run to carry out.
pub struct Request<'a> {
    /// What to run.
    pub jobs: Vec<Job>,
    /// What for.
    pub purpose: Purpose,
    /// Parts of the platform beyond those that the jobs need.
    pub members: Vec<Member>,
    /// Leave the platform running afterwards.
    pub keep: bool,
    /// What the user chose.
    pub options: &'a RunOptions,
}

/// Carries a run out and prints its summary. The exit code is `judge`'s word on the bundle, unless the run itself failed.
pub async fn run(request: Request<'_>, config: &Config, judge: fn(&Bundle) -> ExitCode) -> Result<ExitCode, CliError> {
    let Request { jobs, purpose, mut members, keep, options: chosen } = request;
    // Before anything is started: a policy or an image that is none must leave nothing behind.
    let policy = Arc::new(config.policy(chosen.policy.as_deref())?);
    let replacements = config.replacements(&chosen.platform)?;
    let engine = Engine::connect().await?;
    let info = engine.info().await?;
    let run = RunId::generate();
    let dir = Path::new(RUNS).join(run.as_str());
    let histories = dir.join("histories");
    std::fs::create_dir_all(&histories).map_err(|source| CliError::File { what: "make the folder", path: histories.clone(), source })?;
    let progress = Arc::new(Progress::new());
    let builds = Arc::clone(&progress);
    members.extend(jobs.iter().flat_map(|job| job.scenario.members()));
    members.sort_unstable();
    members.dedup();
    let options = SessionOptions {
        run: run.clone(),
        kind: if keep { RunKind::Kept } else { RunKind::Bound },
        profile: config.profile(&chosen.platform)?,
        members,
        images: jobs.iter().flat_map(|job| job.scenario.images()).copied().collect(),
        replacements,
        policy,
        histories,
        seed: chosen.seed,
        size: chosen.size.or(config.size).unwrap_or_default(),
        jobs: chosen.jobs.or(config.jobs).map_or_else(default_jobs, usize::from),
        sustain: Duration::from_secs(chosen.sustain.or(config.sustain_s).unwrap_or(SUSTAIN_S)),
        progress: Arc::new(move |event| builds.build(event)),
    };
    let catalogue = Catalogue::load();
    let mut evidence = new_evidence(&options, Some(&info), &catalogue);
    evidence.planned = jobs.iter().map(|job| plan(job, purpose)).collect();
    let mut writer = BundleWriter::create(&dir, evidence)?;
    let reaper =
        Reaper::start(&run).map_err(|source| CliError::File { what: "start the reaper of", path: PathBuf::from(run.as_str()), source })?;
    let noun = if purpose == Purpose::Prove { "sabotages" } else { "scenarios" };
    progress.line(&format!("run {run}: {} {noun}, profile {}", jobs.len(), options.profile));
    let work = Work { jobs: &jobs, purpose, catalogue: &catalogue, progress: &progress };
    let mut sessions = Sessions::default();
    let outcome = tokio::select! {
        outcome = work.carry_out(engine, options, &mut writer, &mut sessions) => outcome,
        _ = tokio::signal::ctrl_c() => Err(Stop::Interrupted),
    };
    // Before anything is removed; who has no patience for it asks again.
    tokio::select! {
        () = sessions.keep_logs() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    let (interrupted, mut errors) = match outcome {
        Ok(()) => (false, Vec::new()),
        Err(Stop::Interrupted) => (true, Vec::new()),
        Err(Stop::Failed(error)) => (false, vec![error]),
    };
    let problems = errors.iter().map(ToString::to_string).chain(interrupted.then(|| "the run was interrupted".to_owned())).collect();
    conclude(&mut writer, &sessions, problems).await;
    let unfinished = terminal::summary(writer.evidence(), layout(), Some(writer.dir()));
    let (summary, bundle) = match writer.finish(OffsetDateTime::now_utc()) {
        Ok(bundle) => (terminal::summary(bundle.evidence(), layout(), Some(bundle.dir())), Some(bundle)),
        Err(error) => {
            errors.push(error.into());
            (unfinished, None)
        }
    };
    // The second part's own reaper works beside this one's.
    drop(sessions);
    if keep && !interrupted && errors.is_empty() {
        reaper.disarm();
        progress.line(&format!("the platform stays; remove it with `dora down {run}`"));
    } else {
        reap(reaper, &run).await;
    }
    out!("{}", summary.trim_end());
    // The first one is the answer; the others would not be seen.
    for error in errors.iter().skip(usize::from(!interrupted)) {
        progress.line(&format!("error: {error}"));
    }
    match errors.into_iter().next() {
        _ if interrupted => Ok(ExitCode::from(130)),
        Some(error) => Err(error),
        // Without a bundle there would be an error.
        None => Ok(bundle.map_or(ExitCode::from(3), |bundle| judge(&bundle))),
    }
}

/// Writes what is known at the end, however it came: these problems and those of the sessions, and of a platform that did not come up, how
/// far it came.
async fn conclude(writer: &mut BundleWriter, sessions: &Sessions, mut problems: Vec<String>) {
    problems.extend(sessions.all().filter_map(Session::broken));
    let unready = sessions.first.as_ref().filter(|session| session.ready_ms().is_none());
    let described = match unready {
        Some(session) => Some(describe_platform(session).await),
        None => None,
    };
    let ms = |time: Duration| u64::try_from(time.as_millis()).ok();
    let (cpu, load) = (processor_time().and_then(ms), ms(load_time()));
    // What cannot be written now cannot be written by `finish` either, which tells.
    let _ = writer.update(|evidence| {
        for problem in problems {
            // Two sessions may tell the same, and the error that ended the run, too.
            if !evidence.run.problems.contains(&problem) {
                evidence.run.problems.push(problem);
            }
        }
        if let Some((images, topology)) = described {
            evidence.images = images;
            evidence.topology = topology;
        }
        evidence.run.harness_cpu_ms = cpu;
        evidence.run.load_cpu_ms = load;
    });
}

/// Why a run ended before its end.
enum Stop {
    Interrupted,
    Failed(CliError),
}

impl<E: Into<CliError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// The sessions of a run, held by whoever describes and removes them, however the run ends.
#[derive(Default)]
struct Sessions {
    first: Option<Session>,
    /// Beside it, where one lane is long.
    second: Option<Session>,
}

impl Sessions {
    fn all(&self) -> impl Iterator<Item = &Session> {
        self.first.iter().chain(&self.second)
    }

    async fn keep_logs(&self) {
        for session in self.all() {
            session.keep_logs().await;
        }
    }
}

/// What a run is to do.
struct Work<'a> {
    jobs: &'a [Job],
    purpose: Purpose,
    catalogue: &'a Catalogue,
    progress: &'a Progress,
}

impl Work<'_> {
    async fn carry_out(
        &self,
        engine: Engine,
        options: SessionOptions,
        writer: &mut BundleWriter,
        sessions: &mut Sessions,
    ) -> Result<(), Stop> {
        let Self { jobs, purpose, catalogue, progress } = *self;
        let Sessions { first, second } = sessions;
        progress.begin("platform", "starts");
        let session = first.insert(Session::open(engine, options).await?);
        session.start().await?;
        // From here on nothing changes it.
        let session: &Session = session;
        let ready_s = session.ready_ms().unwrap_or_default() / 1e3;
        progress.end("platform", &format!("every node has its role after {ready_s:.1} s"));
        let (images, topology) = describe_platform(session).await;
        writer.update(|evidence| {
            note_what_images_lack(&mut evidence.clauses, &images, catalogue);
            evidence.images = images;
            evidence.topology = topology;
        })?;
        let shared = Mutex::new((&mut *writer, None));
        let problem = run_all(session, second, jobs, &|job| progress.started(job), &|job, evidence| {
            progress.ended(job, &evidence);
            let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = keep(shared.0, purpose, job, evidence) {
                // What nobody can read need not be run.
                session.give_up(error.to_string());
                shared.1.get_or_insert(error);
            }
        })
        .await;
        let (writer, failed) = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = failed {
            return Err(error.into());
        }
        let peak = session.peak_memory_bytes();
        writer.update(|evidence| {
            evidence.topology.peak_memory_bytes = peak;
            evidence.run.problems.extend(problem);
        })?;
        session.keep_logs().await;
        if let Some(second) = second {
            second.keep_logs().await;
            second.close().await?;
        }
        if session.options().kind == RunKind::Kept {
            super::platform::save(&session.ground().clone(), session.platform(), writer.dir()).await?;
        } else {
            session.close().await?;
        }
        Ok(())
    }
}

fn keep(writer: &mut BundleWriter, purpose: Purpose, job: &Job, evidence: ScenarioEvidence) -> Result<(), BundleError> {
    match (purpose, job.sabotage) {
        (Purpose::Prove, Some(sabotage)) => {
            let proof = proof_of(&evidence, sabotage);
            writer.update(|evidence| evidence.proofs.push(proof))
        }
        _ => writer.record(marked(job, evidence)),
    }
}

/// What [`keep`] makes of a job, before it has an end.
fn plan(job: &Job, purpose: Purpose) -> Planned {
    // A scenario that carries a defect by hand proves nothing.
    let defect_is_the_purpose = purpose == Purpose::Prove;
    Job { sabotage: job.sabotage.filter(|_| defect_is_the_purpose), ..*job }.planned()
}

/// A proof's evidence says that it is one.
fn marked(job: &Job, mut evidence: ScenarioEvidence) -> ScenarioEvidence {
    if let Some(sabotage) = job.sabotage {
        evidence.findings.insert(0, Finding::note("sabotaged", format!("this run carries a planted defect: {}", sabotage.what)));
    }
    evidence
}

/// The terminal's width and whether it shows colours.
pub fn layout() -> Layout {
    use std::io::IsTerminal as _;
    let terminal = std::io::stdout().is_terminal();
    let width = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
    Layout { width, colour: terminal && std::env::var_os("NO_COLOR").is_none() }
}
