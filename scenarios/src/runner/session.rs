//! A started platform on which scenarios run: one at a time on each database, alone where they measure.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use dora_fixtures::{
    catalogue::Catalogue,
    dataset::{Dataset, Seed, Size},
};
use dora_harness::{
    engine::{BuildProgress, Engine, EngineError, RunId, RunKind, reaper::Reaper},
    network::Policy,
    patience::stretched,
    platform::Platform,
    topology::{Ground, GroundError, GroundOptions, Member, Node, Profile},
};
use dora_reports::evidence::ScenarioEvidence;
use tokio::{
    sync::Mutex as AsyncMutex,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{
    lent::{End, Lent},
    turns::{BACK_LIMIT, START, Turn, Turns},
};
use crate::{Database, Sabotage, Scenario, ScenarioError, Setting, Trial, excerpt};

/// How often the memory of all nodes is measured.
const MEMORY_EVERY: Duration = Duration::from_secs(10);

/// A session could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The platform.
    #[error(transparent)]
    Ground(#[from] GroundError),
    /// The reaper of a second part.
    #[error("failed to start the reaper of a second part: {0}")]
    Reaper(std::io::Error),
}

/// What to open.
#[derive(Clone)]
pub struct SessionOptions {
    /// The run.
    pub run: RunId,
    /// Who ends it.
    pub kind: RunKind,
    /// The profile.
    pub profile: Profile,
    /// The parts of the platform.
    pub members: Vec<Member>,
    /// Images beyond those of the parts, by name in the catalogue; see [`Scenario::images`].
    pub images: Vec<&'static str>,
    /// The user's own images, by name in the catalogue.
    pub replacements: BTreeMap<String, String>,
    /// Who may reach what.
    pub policy: Arc<Policy>,
    /// Where histories go, in a bundle that also has a folder `logs`.
    pub histories: PathBuf,
    /// What all random choices of the dataset come from.
    pub seed: u64,
    /// How many domain data there are.
    pub size: Size,
    /// How much work there is at the same time: see [`Scenario::weight`]. While survivors only carry on, a scenario is not counted.
    pub jobs: usize,
    /// How long sustained operation on the survivors of a fault is shown.
    pub sustain: Duration,
    /// Told what image builds do.
    pub progress: Arc<dyn Fn(BuildProgress) + Send + Sync>,
}

impl SessionOptions {
    /// Where the logs of nodes go.
    fn logs(&self) -> PathBuf {
        self.histories.with_file_name("logs")
    }
}

/// A platform with its run.
pub struct Session {
    setting: Setting,
    options: SessionOptions,
    catalogue: Catalogue,
    ready_ms: Option<f64>,
    /// What each node said that it was when the platform was ready.
    roles: BTreeMap<String, String>,
    lanes: HashMap<Member, AsyncMutex<()>>,
    /// Scenarios of one database that start all their nodes themselves give them the same names, so there is one at a time.
    own_nodes: HashMap<Database, AsyncMutex<()>>,
    turns: Arc<Turns>,
    /// Set where this is the second part beside another session: it removes what this one started, however it ends.
    reaper: Option<Reaper>,
    /// Why nothing more can run.
    broken: Mutex<Option<String>>,
    peak_memory: Arc<AtomicU64>,
    memory_watch: Option<JoinHandle<()>>,
}

impl Session {
    /// Builds missing images and lays what nodes are started on. Nothing can run before [`Session::start`].
    ///
    /// # Errors
    /// [`SessionError`]; what had been started is the run's (its reaper's) to remove.
    pub async fn open(engine: Engine, options: SessionOptions) -> Result<Self, SessionError> {
        let turns = Arc::new(Turns::new(options.jobs));
        let engine = engine.keeping_logs(options.logs(), "");
        Self::lay(engine, options, Instant::now(), turns).await
    }

    /// The turn of a second cluster's start: it keeps every core busy, so nothing else begins until it is dropped.
    pub(super) async fn turn_to_start(&self) -> Turn {
        self.turns.begin(START, self.options.jobs).await
    }

    /// A session beside this one for a second cluster of one part, so that a long lane is worked off by two. It is a run of its own for the
    /// engine, and ends with this process. As that of [`Session::open`], it is yet to be started.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn second(&self, members: &[Member]) -> Result<Self, SessionError> {
        let _beside = self.turns.beside().await;
        let run = RunId::generate();
        let reaper = Reaper::start(&run).map_err(SessionError::Reaper)?;
        let options = SessionOptions { run, kind: RunKind::Bound, members: members.to_vec(), ..self.options.clone() };
        // Its nodes have the names of those of the first part.
        let engine = self.setting.ground.engine().clone().keeping_logs(options.logs(), "-second");
        let session = Self::lay(engine, options, self.setting.origin, Arc::clone(&self.turns)).await?;
        Ok(Self { reaper: Some(reaper), ..session })
    }

    async fn lay(engine: Engine, options: SessionOptions, origin: Instant, turns: Arc<Turns>) -> Result<Self, SessionError> {
        let platform = Arc::new(Platform::default());
        let mut names = platform.images(&options.members, options.profile)?;
        names.extend(&options.images);
        // A replacement of an image that this run does not use is checked for its name only.
        let images = engine.ensure_images(&names, &options.replacements, Arc::clone(&options.progress)).await?;
        let dataset = Arc::new(Dataset::generate(Seed(options.seed), options.size));
        let ground =
            Ground::lay(engine, GroundOptions { run: options.run.clone(), kind: options.kind, profile: options.profile, images }).await?;
        let setting = Setting {
            ground,
            platform,
            policy: Arc::clone(&options.policy),
            dataset,
            histories: options.histories.clone(),
            origin,
            sustain: options.sustain,
        };
        let lanes = Member::ALL.into_iter().map(|member| (member, AsyncMutex::new(()))).collect();
        let own_nodes = crate::all().into_iter().filter(|scenario| scenario.members().is_empty());
        let own_nodes = own_nodes.map(|scenario| (scenario.database, AsyncMutex::new(()))).collect();
        Ok(Self {
            setting,
            options,
            catalogue: Catalogue::load(),
            ready_ms: None,
            roles: BTreeMap::new(),
            lanes,
            own_nodes,
            turns,
            reaper: None,
            broken: Mutex::new(None),
            peak_memory: Arc::default(),
            memory_watch: None,
        })
    }

    /// Starts the platform, and returns when every node has its role.
    ///
    /// # Errors
    /// [`SessionError`], with the last log lines of the nodes that did not come up. What had been started is there to be described, and the
    /// run's (its reaper's) to remove.
    pub async fn start(&mut self) -> Result<(), SessionError> {
        let Setting { ground, platform, .. } = &self.setting;
        let _beside = self.turns.beside().await;
        platform.start(ground, &self.options.members).await?;
        self.ready_ms = Some(ground.boot().now_ms());
        self.roles = roles(platform).await;
        self.memory_watch = Some(tokio::spawn(watch_memory(ground.clone(), Arc::clone(&self.peak_memory))));
        Ok(())
    }

    /// Where nodes are started.
    pub fn ground(&self) -> &Ground {
        &self.setting.ground
    }

    /// What is started.
    pub fn platform(&self) -> &Platform {
        &self.setting.platform
    }

    /// What it was opened with.
    pub fn options(&self) -> &SessionOptions {
        &self.options
    }

    /// The clauses.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Milliseconds from the first container to the last node in its role; [`None`] where it did not come to that.
    pub fn ready_ms(&self) -> Option<f64> {
        self.ready_ms
    }

    /// The role that each node had when the platform was ready, by its name. One that did not tell it at that moment is not among them.
    pub fn roles(&self) -> &BTreeMap<String, String> {
        &self.roles
    }

    /// The highest memory of all nodes together that was seen, in bytes; [`None`] before the first measurement.
    pub fn peak_memory_bytes(&self) -> Option<u64> {
        Some(self.peak_memory.load(Ordering::Relaxed)).filter(|bytes| *bytes > 0)
    }

    /// Why nothing more can run, if so.
    pub fn broken(&self) -> Option<String> {
        let known = self.broken.lock().unwrap_or_else(PoisonError::into_inner).clone().or_else(|| self.turns.given_up());
        known.or_else(|| self.setting.ground.engine().unwritten_log())
    }

    /// So many scenarios of this database are yet to come, here and in a session beside this one: on so many clusters. Whoever has the longest
    /// way to go is served first.
    pub fn expect(&self, database: Database, count: usize, clusters: usize) {
        self.turns.expect(database, count, clusters);
    }

    /// Ends the run early: neither this session nor one beside it begins another scenario. The first reason stays.
    pub fn give_up(&self, reason: String) {
        self.turns.give_up(reason);
    }

    /// Keeps in the bundle what the nodes have written. Those that were removed before, by whomever, have their logs there already.
    pub async fn keep_logs(&self) {
        self.setting.ground.engine().keep_logs().await;
    }

    /// Runs one scenario, under a sabotage if one is given, and hands its part of the platform back healthy and as the topology has it.
    pub async fn run(&self, scenario: &'static Scenario, sabotage: Option<&'static Sabotage>, started: impl FnOnce()) -> ScenarioEvidence {
        // Everybody takes several in the same order, so no two wait for each other.
        let mut lanes = Vec::new();
        for member in scenario.members() {
            lanes.push(self.lanes[member].lock().await);
        }
        if scenario.members().is_empty() {
            lanes.push(self.own_nodes[&scenario.database].lock().await);
        }
        let turns = &self.turns;
        let turn = Arc::new(turns.begin_with(scenario).await);
        let (_alone, _beside) =
            if scenario.is_exclusive() { (Some(turns.alone().await), None) } else { (None, Some(turns.beside().await)) };
        started();
        let promise = scenario
            .clauses
            .first()
            .and_then(|clause| self.catalogue.get(clause).ok())
            .map(|clause| clause.objective_for(scenario.case()))
            .unwrap_or_default();
        let lent = Lent::new(&self.setting, scenario.members()).await;
        let setting = Setting { ground: lent.ground().clone(), ..self.setting.clone() };
        let trial = Trial::new(scenario, sabotage, &promise, setting, Arc::clone(&turn));
        if self.reaper.is_some() && !scenario.members().is_empty() {
            trial.note("phase", format!("on the second {} part of this run", scenario.database));
        }
        let (outcome, end) = match self.obstacle(scenario) {
            Some(obstacle) => (Err(obstacle), End::NotBegun),
            None => self.carry_out(&trial).await,
        };
        let began = trial.began();
        let mut evidence = trial.finish(outcome);
        if end != End::NotBegun {
            // Before anything is replaced.
            excerpt::explain(&mut evidence, self.nodes_of(scenario, &lent.ground().begun()).await, began).await;
        }
        let handed_back = lent.hand_back(end).await;
        if let Some(reason) = handed_back.lost {
            self.broken.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
        }
        evidence.findings.extend(handed_back.notes);
        evidence
    }

    /// The nodes of the scenario's parts, then those of these names that are none of them.
    async fn nodes_of(&self, scenario: &Scenario, begun: &BTreeSet<String>) -> Vec<Node> {
        let mut nodes = Vec::new();
        for member in scenario.members() {
            for cluster in self.platform().part(*member).clusters().await {
                nodes.extend(cluster.nodes());
            }
        }
        // Of those that had a name one after the other, the last comes first.
        for node in self.ground().nodes().into_iter().rev().filter(|node| begun.contains(node.name())) {
            if nodes.iter().all(|known: &Node| known.name() != node.name()) {
                nodes.push(node);
            }
        }
        nodes
    }

    /// Why a scenario cannot even be begun.
    fn obstacle(&self, scenario: &Scenario) -> Option<ScenarioError> {
        if let Some(reason) = self.broken() {
            return Some(ScenarioError::client("use the platform", reason));
        }
        let profile = self.options.profile;
        (scenario.needs_high_availability && !self.setting.ground.topology().survives_node_loss()).then(|| {
            ScenarioError::Missing(format!(
                "profile {profile} does not promise to survive the loss of a node (survives_node_loss in fixtures/topology/{profile}.toml)"
            ))
        })
    }

    async fn carry_out(&self, trial: &Trial) -> (Result<(), ScenarioError>, End) {
        let scenario = trial.scenario;
        // The deadline is for everything else: how long operation is sustained is the user's choice, and what follows may have to wait.
        let limit = stretched(scenario.deadline_with(self.options.size)) + trial.sustain() + BACK_LIMIT;
        match timeout(limit, (scenario.run)(trial)).await {
            Ok(outcome) => {
                let end = End::of(&outcome);
                (outcome, end)
            }
            Err(_elapsed) => {
                let reason = format!("the scenario's deadline of {} s is over", limit.as_secs());
                (Err(ScenarioError::client("end in time", reason)), End::Cut)
            }
        }
    }

    /// Removes everything of the run.
    ///
    /// # Errors
    /// Any [`EngineError`] of the removal.
    pub async fn close(&self) -> Result<(), EngineError> {
        if let Some(watch) = &self.memory_watch {
            watch.abort();
        }
        self.setting.ground.engine().remove_run(&self.options.run).await?;
        Ok(())
    }
}

async fn roles(platform: &Platform) -> BTreeMap<String, String> {
    platform.health().await.into_iter().filter(|health| health.healthy).map(|health| (health.node, health.observed)).collect()
}

async fn watch_memory(ground: Ground, peak: Arc<AtomicU64>) {
    loop {
        peak.fetch_max(ground.memory_bytes().await, Ordering::Relaxed);
        sleep(MEMORY_EVERY).await;
    }
}
