//! What one run starts its nodes on: engine, network, authority, images, boot log.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dora_fixtures::{
    assets::{self, AssetError},
    topology::{Topology, TopologyError},
};
use serde::Serialize;

use super::{
    BootLog, Equipment, Node, Profile,
    node::NodeRecord,
    starts::{Progress, Starts},
};
use crate::{
    engine::{Engine, EngineError, HolderSpec, ImageCatalog, MemberSpec, RunId, RunKind, RunNetwork},
    patience::within,
    security::{Authority, AuthorityError, TlsProber, redacted},
    volume::{CIPHER_DIR, DATA_DIR, VolumeError, VolumePlan, Volumes},
};

/// How often a node that is waited for is asked whether it runs at all.
const ENDED_EVERY: Duration = Duration::from_secs(1);
/// Lines of a running node's log that an error tells.
const LAST_LINES: usize = 12;
/// Those of a node that has ended: why it did stands before what it said while it ended.
const LAST_WORDS: usize = 40;

/// Something could not be started.
#[derive(Debug, thiserror::Error)]
pub enum GroundError {
    /// The profile's file.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A certificate.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// A configuration file or script.
    #[error(transparent)]
    Asset(#[from] AssetError),
    /// An encrypted volume.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// Something did not come in time.
    #[error(transparent)]
    Deadline(#[from] crate::patience::DeadlineError),
    /// A database refused what its start needs.
    #[error("cluster {cluster} failed to start: {reason}")]
    Database {
        /// The cluster.
        cluster: String,
        /// Why, in the database's words.
        reason: String,
    },
}

impl GroundError {
    /// A database's refusal.
    pub fn database(cluster: &str, reason: impl std::fmt::Display) -> Self {
        Self::Database { cluster: cluster.to_owned(), reason: reason.to_string() }
    }
}

/// A rule of the topology that one link or listener does not keep, and why. It shows in the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exception {
    /// The node or link.
    pub place: String,
    /// The clause that it concerns.
    pub clause: String,
    /// What is not as the rule says.
    pub what: String,
    /// Why not.
    pub why: String,
}

/// A name and an address that a node will have: known before any node of a cluster starts, so that all know each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seat {
    /// The node's short name.
    pub name: String,
    /// Its address.
    pub address: Ipv4Addr,
}

/// What to start on a seat.
#[derive(Debug, Clone)]
pub struct PodSpec {
    /// Where.
    pub seat: Seat,
    /// The cluster's name.
    pub cluster: String,
    /// What the node is there for, such as `data node`.
    pub role: String,
    /// The image's name in the catalogue.
    pub image: String,
    /// The database's user inside the image.
    pub user: String,
    /// All seats that it must know by name (its own may be among them), and further `(name, address)` pairs such as loopback
    /// aliases.
    pub hosts: Vec<(String, Ipv4Addr)>,
    /// Files below `/dora/config` and elsewhere: absolute path, content, mode.
    pub files: Vec<(String, Vec<u8>, u32)>,
    /// Environment variables (never a secret).
    pub env: Vec<(String, String)>,
    /// Capabilities beyond what the start script needs.
    pub capabilities: Vec<String>,
    /// Further volumes: purpose and path. `/dora/data` is always one.
    pub volumes: Vec<(String, String)>,
    /// Memory limit in bytes.
    pub memory_bytes: i64,
}

/// How a ground is laid.
#[derive(Debug, Clone)]
pub struct GroundOptions {
    /// The run.
    pub run: RunId,
    /// Who ends it.
    pub kind: RunKind,
    /// The profile.
    pub profile: Profile,
    /// The images.
    pub images: ImageCatalog,
}

/// Everything that nodes are started on. Clones are handles of the same ground.
#[derive(Debug, Clone)]
pub struct Ground {
    pub(super) inner: Arc<Shared>,
    /// What is started through this handle and its clones.
    pub(super) starts: Arc<Starts>,
}

#[derive(Debug)]
pub(super) struct Shared {
    engine: Engine,
    options: GroundOptions,
    topology: &'static Topology,
    network: RunNetwork,
    authority: Authority,
    foreign: Authority,
    boot: BootLog,
    nodes: Mutex<Vec<Node>>,
    exceptions: Mutex<Vec<Exception>>,
    equipment: Mutex<BTreeMap<String, Equipment>>,
    volumes: Volumes,
}

impl Ground {
    /// Makes the run's network and authority.
    ///
    /// # Errors
    /// [`GroundError`].
    pub async fn lay(engine: Engine, options: GroundOptions) -> Result<Self, GroundError> {
        let topology = options.profile.topology()?;
        let boot = BootLog::new();
        let network = boot.phase("network", "create", None, engine.create_network(&options.run, options.kind, "data"));
        let base = &options.images.get("base")?.reference;
        let volumes = boot.phase("volumes", "probe", None, Volumes::detect(&engine, &options.run, options.kind, base));
        let (network, volumes) = tokio::join!(network, volumes);
        let (network, volumes) = (network?, volumes?);
        let authority = Authority::new(&format!("dora run {}", options.run))?;
        let foreign = Authority::new("somebody else")?;
        Ok(Self {
            inner: Arc::new(Shared {
                engine,
                options,
                topology,
                network,
                authority,
                foreign,
                boot,
                nodes: Mutex::default(),
                exceptions: Mutex::default(),
                equipment: Mutex::default(),
                volumes,
            }),
            starts: Arc::default(),
        })
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// The run.
    pub fn run(&self) -> &RunId {
        &self.inner.options.run
    }

    /// How many nodes of which kind the profile has.
    pub fn topology(&self) -> &'static Topology {
        self.inner.topology
    }

    /// The images.
    pub fn images(&self) -> &ImageCatalog {
        &self.inner.options.images
    }

    /// The bridge on which all nodes are.
    pub(crate) fn network(&self) -> &RunNetwork {
        &self.inner.network
    }

    /// Who ends the run.
    pub(crate) fn kind(&self) -> RunKind {
        self.inner.options.kind
    }

    /// The run's authority.
    pub fn authority(&self) -> &Authority {
        &self.inner.authority
    }

    /// An authority that no node of the run trusts, and whose certificates nobody uses: what a client must refuse.
    pub fn foreign_authority(&self) -> &Authority {
        &self.inner.foreign
    }

    /// The run's encrypted volumes: who gives them, whose keys they have, who has one.
    pub fn volumes(&self) -> &Volumes {
        &self.inner.volumes
    }

    /// The boot timeline.
    pub fn boot(&self) -> &BootLog {
        &self.inner.boot
    }

    /// Every node that was started, destroyed ones included.
    pub fn nodes(&self) -> Vec<Node> {
        self.inner.nodes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Names an exception; the same one twice counts once.
    pub fn except(&self, exception: Exception) {
        let mut exceptions = self.inner.exceptions.lock().unwrap_or_else(PoisonError::into_inner);
        if !exceptions.contains(&exception) {
            exceptions.push(exception);
        }
    }

    /// All named exceptions.
    pub fn exceptions(&self) -> Vec<Exception> {
        self.inner.exceptions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Gives the node of that name an equipment from its next start on (that of its cluster, with its data anew).
    pub fn equip(&self, node: &str, equipment: Equipment) {
        self.inner.equipment.lock().unwrap_or_else(PoisonError::into_inner).insert(node.to_owned(), equipment);
    }

    /// What the node of that name is or will be equipped with.
    pub fn equipment(&self, node: &str) -> Equipment {
        self.inner.equipment.lock().unwrap_or_else(PoisonError::into_inner).get(node).cloned().unwrap_or_default()
    }

    /// Reserves addresses for nodes of these names.
    ///
    /// # Errors
    /// [`EngineError::NoAddress`] when the run's subnet is used up.
    pub fn seats(&self, names: &[String]) -> Result<Vec<Seat>, GroundError> {
        names.iter().map(|name| Ok(Seat { name: name.clone(), address: self.inner.network.next_address()? })).collect()
    }

    /// Starts a pod: holder, certificate, files, volumes, database. It is not ready yet when this returns.
    ///
    /// # Errors
    /// [`GroundError`], with the node's last log lines when its container does not start. Nothing of the node is there then: its name is free.
    pub async fn start(&self, spec: PodSpec) -> Result<Node, GroundError> {
        let name = spec.seat.name.clone();
        let before = self.starts.note(&name, Progress::Begun);
        match self.start_pod(spec).await {
            Ok(node) => {
                self.starts.note(&name, Progress::Node);
                self.inner.nodes.lock().unwrap_or_else(PoisonError::into_inner).push(node.clone());
                Ok(node)
            }
            Err(error) => Err(self.undone(&name, before, error).await),
        }
    }

    async fn start_pod(&self, spec: PodSpec) -> Result<Node, GroundError> {
        let shared = &self.inner;
        let name = spec.seat.name.clone();
        let image = shared.options.images.get(&spec.image)?;
        let (image, is_replaced) = (image.reference.clone(), image.replaced);
        let (run, kind, engine) = (&shared.options.run, shared.options.kind, &shared.engine);
        let equipment = self.equipment(&name);
        let opening = match self.in_the_clear(&spec, is_replaced, &equipment) {
            Some(_why) => None,
            None => shared.volumes.opening(&name, &spec.cluster, &spec.role).await?,
        };
        let mount = if opening.is_some() { CIPHER_DIR } else { DATA_DIR };
        let data = (engine.create_volume(run, kind, &name, "data", equipment.data_bytes_max).await?, mount.to_owned());
        // A file system in memory would end with the database's container: the holder keeps it.
        let kept = if equipment.data_bytes_max.is_some() { vec![data.clone()] } else { Vec::new() };
        let holder = self.holder(&shared.network, &spec.seat, &spec.hosts, kept, false).await?;
        let mut volumes = vec![data];
        for (purpose, path) in &spec.volumes {
            volumes.push((engine.create_volume(run, kind, &name, purpose, None).await?, path.clone()));
        }
        let mut files = spec.files;
        files.extend(equipment.files(engine, run, kind).await?);
        let mut env = spec.env;
        env.extend(equipment.environment());
        let mut memory_bytes = spec.memory_bytes + equipment.data_bytes_max.and_then(|bytes| i64::try_from(bytes).ok()).unwrap_or_default();
        let identity = shared.authority.issue_node(&name, spec.seat.address)?;
        files.push(("/dora/tls/ca.crt".into(), shared.authority.certificate().as_bytes().to_vec(), 0o644));
        files.push(("/dora/tls/node.crt".into(), identity.certificate.as_bytes().to_vec(), 0o644));
        files.push(("/dora/tls/node.key".into(), identity.key.as_bytes().to_vec(), 0o600));
        files.push(("/dora/tls/node.pem".into(), format!("{}{}", identity.certificate, identity.key).into_bytes(), 0o600));
        files.push(("/dora/bin/run.sh".into(), assets::text("config/common/run.sh")?.as_bytes().to_vec(), 0o755));
        let (mut capabilities, mut devices) = (spec.capabilities, Vec::new());
        if let Some(opening) = &opening {
            files.extend(opening.files()?);
            env.push(opening.environment());
            capabilities.extend(opening.capabilities());
            devices = opening.devices();
            memory_bytes += opening.memory_bytes();
        }
        let member = MemberSpec {
            run,
            kind,
            node: &name,
            image: &image,
            holder: &holder,
            user: &spec.user,
            files,
            env,
            volumes: volumes.clone(),
            capabilities,
            devices,
            memory_bytes,
        };
        let key = async {
            match &opening {
                Some(opening) => opening.hand_over(engine, &name, &holder).await,
                None => Ok(()),
            }
        };
        let (container, key) = tokio::join!(shared.boot.phase(&name, "start", None, engine.start_member(member)), key);
        let container = container?;
        key?;
        Ok(Node::attach(
            engine,
            NodeRecord {
                name,
                cluster: spec.cluster,
                role: spec.role,
                image: spec.image,
                reference: image,
                address: spec.seat.address,
                holder,
                container,
                user: spec.user,
                memory_bytes,
                volumes: volumes.into_iter().map(|(volume, _)| volume).collect(),
                protection: opening.map(|opening| opening.protection),
            },
        ))
    }

    /// Why a node that holds data has them in the clear; [`None`] where nothing stands against encryption, or where there are none.
    fn in_the_clear(&self, spec: &PodSpec, is_replaced: bool, equipment: &Equipment) -> Option<String> {
        let (volumes, node) = (self.volumes(), &spec.seat.name);
        if volumes.plan_of(node, &spec.cluster, &spec.role) == VolumePlan::Plain {
            return None;
        }
        let why = if equipment.data_bytes_max.is_some() {
            "it is equipped with a data directory in memory, which is on no disk".to_owned()
        } else if is_replaced {
            "it runs the user's own image, which brings nothing that opens an encrypted volume".to_owned()
        } else if volumes.choice().provider().is_none() {
            volumes.choice().sentence()
        } else {
            return None;
        };
        self.except(Exception {
            place: node.clone(),
            clause: "SEC-REST".into(),
            what: "a data directory in the clear".into(),
            why: why.clone(),
        });
        Some(why)
    }

    /// Starts a pod without a database, and a TLS prober in it.
    ///
    /// # Errors
    /// [`GroundError`].
    pub async fn prober(&self) -> Result<TlsProber, GroundError> {
        Ok(TlsProber::new(self.bare_pod("prober").await?))
    }

    /// Starts a pod without a database.
    ///
    /// # Errors
    /// [`GroundError`].
    pub async fn bare_pod(&self, name: &str) -> Result<Node, GroundError> {
        self.pod_on(&self.inner.network, name, Vec::new(), false).await
    }

    /// Starts a pod without a database on one of the run's networks, with volumes (name, path); one that `forwards` leads packets from one
    /// of its legs to another.
    ///
    /// # Errors
    /// [`GroundError`].
    pub(crate) async fn pod_on(
        &self,
        network: &RunNetwork,
        name: &str,
        volumes: Vec<(String, String)>,
        forwards: bool,
    ) -> Result<Node, GroundError> {
        let seat = Seat { name: name.to_owned(), address: network.next_address()? };
        let kept = volumes.iter().map(|(volume, _)| volume.clone()).collect();
        let before = self.starts.note(name, Progress::Begun);
        let holder = match self.holder(network, &seat, &[], volumes, forwards).await {
            Ok(holder) => holder,
            Err(error) => return Err(self.undone(name, before, error).await),
        };
        self.starts.note(name, Progress::Pod);
        let base = self.inner.options.images.get("base")?;
        let record = NodeRecord {
            name: seat.name,
            cluster: "harness".into(),
            role: name.to_owned(),
            image: base.name.clone(),
            reference: base.reference.clone(),
            address: seat.address,
            holder,
            container: String::new(),
            user: "root".into(),
            memory_bytes: 64 << 20,
            volumes: kept,
            protection: None,
        };
        Ok(Node::attach(&self.inner.engine, record))
    }

    async fn holder(
        &self,
        network: &RunNetwork,
        seat: &Seat,
        hosts: &[(String, Ipv4Addr)],
        volumes: Vec<(String, String)>,
        forwards: bool,
    ) -> Result<String, GroundError> {
        let shared = &self.inner;
        let image = &shared.options.images.get("base")?.reference;
        let spec = HolderSpec {
            run: &shared.options.run,
            kind: shared.options.kind,
            node: &seat.name,
            image,
            network: &network.name,
            address: seat.address,
            hosts: hosts.iter().map(|(name, address)| format!("{name}:{address}")).collect(),
            volumes,
            forwards,
        };
        Ok(shared.boot.phase(&seat.name, "pod", None, shared.engine.start_holder(spec)).await?)
    }

    /// Waits until `attempt` succeeds and notes it as the node's (or cluster's) boot phase. A node of that name or cluster whose container
    /// ends meanwhile ends the wait: while a platform starts, nobody starts it again. On failure the error carries the last log lines of
    /// those nodes, without secrets.
    ///
    /// # Errors
    /// [`GroundError::Database`] when a node has ended, or after `limit` (stretched).
    pub async fn wait_ready<T, E, F, Fut>(
        &self,
        who: &str,
        phase: &str,
        waited_for: Option<&str>,
        limit: Duration,
        attempt: F,
    ) -> Result<T, GroundError>
    where
        E: std::fmt::Display,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let what = format!("{who}: {phase}");
        // Boxed: starts are futures in futures in futures, and the compiler's depth limit for them is near.
        let waiting = Box::pin(within(&what, limit, Duration::from_millis(150), attempt));
        let outcome = async {
            tokio::select! {
                biased;
                outcome = waiting => outcome.map_err(|deadline| deadline.to_string()),
                node = self.ended(who) => Err(format!("{what} did not happen, for node {node} has ended")),
            }
        };
        match self.boot().phase(who, phase, waited_for, outcome).await {
            Ok(value) => Ok(value),
            Err(mut reason) => {
                for node in self.nodes_of(who) {
                    let (state, count) = match node.state().await {
                        Ok(state) if state.running => ("running".to_owned(), LAST_LINES),
                        Ok(state) => (format!("ended with {}", state.exit_code), LAST_WORDS),
                        // It was destroyed before, and has nothing to say here.
                        Err(error) if error.is_gone() => continue,
                        Err(error) => (error.to_string(), LAST_LINES),
                    };
                    let lines = redacted(&node.logs(count).await.unwrap_or_default());
                    // Writing to a string cannot fail.
                    let _ = write!(reason, "\n  node {} ({state}), last log lines:\n    {}", node.name(), lines.join("\n    "));
                }
                Err(GroundError::database(who, reason))
            }
        }
    }

    /// Waits until a container of a node of that name or cluster does not run any more, and answers which. An engine without an answer is
    /// asked again: whoever waits beside this has a deadline.
    async fn ended(&self, who: &str) -> String {
        loop {
            tokio::time::sleep(ENDED_EVERY).await;
            for node in self.nodes_of(who) {
                if node.state().await.is_ok_and(|state| !state.running) {
                    return node.name().to_owned();
                }
            }
        }
    }

    /// The nodes of that name or cluster; of those that had a name one after the other, the last.
    fn nodes_of(&self, who: &str) -> Vec<Node> {
        let nodes = self.nodes().into_iter().filter(|node| node.name() == who || node.cluster() == who);
        let newest: BTreeMap<String, Node> = nodes.map(|node| (node.name().to_owned(), node)).collect();
        newest.into_values().collect()
    }

    /// Memory of all live nodes together, in bytes.
    pub async fn memory_bytes(&self) -> u64 {
        let nodes = self.nodes();
        let measured = futures_util::future::join_all(nodes.iter().map(Node::memory)).await;
        measured.into_iter().filter_map(Result::ok).map(|memory| memory.bytes).sum()
    }
}
