//! The scenarios as tests, and for each of their sabotages a test that it turns the scenario red for the stated reason.
//!
//! Goal: `cargo test` decides the core (four pillars of five databases) and tries one proof of each of its scenarios, and as many of the
//! other scenarios and proofs as a test run has time for: each day has its part. `DORA_SCENARIOS` and `DORA_PROOFS` choose another part of
//! those: `all`, `2/7`, `today/7`.
//! A filter (`cargo test --test platform -- ha/redis`) chooses from everything, whatever the day, unless one of the variables is set.
//! `--list` lists what the same command without `--list` would run: without a filter today's trials, `--list /` all of them.
//! Method: one production platform for all; the trials of one database run one after the other, those of different databases
//! side by side. What does not change from run to run of a satisfied core scenario is compared with `snapshots/`; after a wanted change
//! `INSTA_UPDATE=always cargo test --test platform -- ha/redis/master-killed --exact` writes it anew. One that is missing is a failure.
//! What it writes: a bundle below `target/dora`, as `dora conform` does, so that a red test can be looked at.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use dora_fixtures::{catalogue::Catalogue, dataset::Size};
use dora_harness::{
    engine::{
        Engine, RunId, RunKind,
        reaper::{Reaper, become_reaper_if_asked},
    },
    fault::become_delay_if_asked,
    network::{Policy, seat::become_seat_if_asked},
    security::install_provider,
    topology::Profile,
};
use dora_reports::{
    BundleWriter, Planned,
    evidence::{ProofOutcome, Verdict},
    junit,
    terminal::stable_part,
};
use dora_scenarios::{
    Sabotage, Scenario, core_ids,
    runner::{Choice, Job, Part, Session, SessionOptions, describe_platform, new_evidence, note_what_images_lack, proof_of, runtime},
};
use libtest_mimic::{Arguments, Failed, Trial};
use time::OffsetDateTime;
use tokio::runtime::Runtime;

/// Enough for every database to have a trial under way and one waiting.
const THREADS: usize = 12;
/// Work at the same time, as `--jobs` counts it: what decides a test run must not be that two cores had no time for it.
const JOBS: usize = 4;

/// Sustained operation in tests: enough to see that it does not break down again at once; `dora conform` shows a minute.
const SUSTAIN: Duration = Duration::from_secs(8);

/// The one platform, started by the first trial that needs it.
struct Lab {
    runtime: Runtime,
    members: Vec<dora_harness::topology::Member>,
    images: Vec<&'static str>,
    planned: Vec<Planned>,
    session: OnceLock<Result<Open, String>>,
    starting: Mutex<()>,
}

struct Open {
    session: Session,
    bundle: Mutex<Option<BundleWriter>>,
    _reaper: Reaper,
}

fn main() -> ExitCode {
    become_reaper_if_asked();
    become_delay_if_asked();
    become_seat_if_asked();
    install_provider();
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let runtime = runtime().expect("a test process can start a runtime");
    if let Err(error) = dora_harness::patience::check() {
        eprintln!("error: {error}");
        return ExitCode::from(2);
    }
    let jobs = match choice(arguments.filter.is_some()) {
        Ok(choice) => choice.jobs(),
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    let selected = |name: &str| {
        arguments.filter.as_ref().is_none_or(|filter| if arguments.exact { name == filter } else { name.contains(filter.as_str()) })
    };
    let chosen: Vec<&Job> = jobs.iter().filter(|job| selected(&name_of(job))).collect();
    let planned = chosen.iter().map(|job| job.planned()).collect();
    let chosen: Vec<&Scenario> = chosen.iter().map(|job| job.scenario).collect();
    let images = chosen.iter().flat_map(|scenario| scenario.images()).copied().collect();
    let needs_engine = !arguments.list && !chosen.is_empty();
    let mut members: Vec<_> = chosen.iter().flat_map(|scenario| scenario.members().iter().copied()).collect();
    members.sort_unstable();
    members.dedup();
    if needs_engine && let Err(error) = runtime.block_on(Engine::connect()) {
        // One line, not one for each of the trials.
        eprintln!("error: {error}");
        return ExitCode::from(101);
    }
    let lab = Arc::new(Lab { runtime, members, images, planned, session: OnceLock::new(), starting: Mutex::default() });
    let trials = jobs
        .into_iter()
        .map(|job| {
            let lab = Arc::clone(&lab);
            Trial::test(name_of(&job), move || lab.run(job.scenario, job.sabotage))
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    lab.close();
    conclusion.exit_code()
}

/// What the variables say of the trials beyond the core. Where they say nothing, a filter chooses from all, and a run without one has the
/// parts whose turn it is today.
fn choice(filtered: bool) -> Result<Choice, String> {
    let otherwise = if filtered { Choice::ALL } else { Choice::of_day(OffsetDateTime::now_utc()) };
    Ok(Choice { scenarios: part("DORA_SCENARIOS", otherwise.scenarios)?, proofs: part("DORA_PROOFS", otherwise.proofs)? })
}

fn part(variable: &str, otherwise: Part) -> Result<Part, String> {
    match std::env::var(variable) {
        Ok(text) => text.parse::<Part>().map_err(|error| format!("{variable}: {error}")),
        Err(_unset) => Ok(otherwise),
    }
}

fn name_of(job: &Job) -> String {
    match job.sabotage {
        None => job.scenario.id.to_owned(),
        Some(sabotage) => junit::proof_name(job.scenario.id, sabotage.id),
    }
}

impl Lab {
    fn open(&self) -> Result<&Open, Failed> {
        if self.session.get().is_none() {
            let _one_at_a_time = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
            if self.session.get().is_none() {
                let opened = self.runtime.block_on(self.start());
                // Nobody else can have set it: the lock is held.
                let _ = self.session.set(opened);
            }
        }
        match self.session.get() {
            Some(Ok(open)) => Ok(open),
            Some(Err(reason)) => Err(reason.as_str().into()),
            None => Err("the platform was not started".into()),
        }
    }

    async fn start(&self) -> Result<Open, String> {
        let engine = Engine::connect().await.map_err(|error| error.to_string())?;
        let info = engine.info().await.map_err(|error| error.to_string())?;
        let run = RunId::generate();
        let dir = root().join("target/dora").join(run.as_str());
        let histories = dir.join("histories");
        std::fs::create_dir_all(&histories).map_err(|error| error.to_string())?;
        let options = SessionOptions {
            run: run.clone(),
            kind: RunKind::Bound,
            profile: Profile::Production,
            members: self.members.clone(),
            images: self.images.clone(),
            replacements: std::collections::BTreeMap::default(),
            policy: Arc::new(Policy::standard().map_err(|error| error.to_string())?),
            histories,
            seed: 1,
            size: Size::default(),
            jobs: JOBS,
            sustain: SUSTAIN,
            progress: Arc::new(|event| eprintln!("{event:?}")),
        };
        let catalogue = Catalogue::load();
        let mut evidence = new_evidence(&options, Some(&info), &catalogue);
        evidence.planned.clone_from(&self.planned);
        let mut bundle = BundleWriter::create(&dir, evidence).map_err(|error| error.to_string())?;
        let reaper = Reaper::start(&run).map_err(|error| error.to_string())?;
        let mut session = Session::open(engine, options).await.map_err(|error| error.to_string())?;
        let started = session.start().await.map_err(|error| error.to_string());
        if started.is_err() {
            session.keep_logs().await;
        }
        // Also where it did not come up: what there is of it says how far it came.
        let (images, topology) = describe_platform(&session).await;
        bundle
            .update(|evidence| {
                note_what_images_lack(&mut evidence.clauses, &images, &catalogue);
                evidence.images = images;
                evidence.topology = topology;
                evidence.run.problems.extend(started.as_ref().err().cloned());
            })
            .map_err(|error| error.to_string())?;
        started?;
        Ok(Open { session, bundle: Mutex::new(Some(bundle)), _reaper: reaper })
    }

    fn run(&self, scenario: &'static Scenario, sabotage: Option<&'static Sabotage>) -> Result<(), Failed> {
        let open = self.open()?;
        let evidence = self.runtime.block_on(open.session.run(scenario, sabotage, || {}));
        let told = format!("{}: {}\n{:#?}", evidence.verdict, evidence.reason, evidence.findings);
        match sabotage {
            None => {
                let (verdict, stable) = (evidence.verdict, stable_part(&evidence));
                if let Some(bundle) = open.bundle.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
                    bundle.record(evidence).map_err(|error| error.to_string())?;
                }
                if verdict != Verdict::Satisfied {
                    return Err(told.into());
                }
                if core_ids().contains(scenario.id) {
                    insta::assert_snapshot!(scenario.id.replace('/', "-"), stable);
                }
                Ok(())
            }
            Some(sabotage) => {
                let proof = proof_of(&evidence, sabotage);
                if let Some(bundle) = open.bundle.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
                    bundle.update(|evidence| evidence.proofs.push(proof.clone())).map_err(|error| error.to_string())?;
                }
                if proof.outcome == ProofOutcome::Killed {
                    Ok(())
                } else {
                    Err(format!("must be not satisfied because of `{}`, but is {told}", sabotage.expects).into())
                }
            }
        }
    }

    fn close(&self) {
        if let Some(Ok(open)) = self.session.get() {
            self.runtime.block_on(open.session.keep_logs());
            if let Some(mut bundle) = open.bundle.lock().unwrap_or_else(PoisonError::into_inner).take() {
                let (peak, broken) = (open.session.peak_memory_bytes(), open.session.broken());
                let finished = bundle
                    .update(|evidence| {
                        evidence.topology.peak_memory_bytes = peak;
                        evidence.run.problems.extend(broken);
                    })
                    .and_then(|()| bundle.finish(OffsetDateTime::now_utc()));
                match finished {
                    Ok(bundle) => eprintln!("report: {}", bundle.report_path().display()),
                    Err(error) => eprintln!("error: {error}"),
                }
            }
            if let Err(error) = self.runtime.block_on(open.session.close()) {
                eprintln!("{error}");
            }
        }
    }
}

/// The workspace's folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}
