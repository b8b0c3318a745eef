//! What one run starts its nodes on: engine, network, authority, images, boot log.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use dora_fixtures::{
    assets::AssetError,
    topology::{Topology, TopologyError},
};
use serde::Serialize;

use super::{BootLog, Equipment, Node, Profile, Seat, starts::Starts};
use crate::{
    engine::{Engine, EngineError, ImageCatalog, RunId, RunKind, RunNetwork},
    security::{Authority, AuthorityError},
    volume::{VolumeError, Volumes},
};

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
    pub(super) engine: Engine,
    pub(super) options: GroundOptions,
    topology: &'static Topology,
    pub(super) network: RunNetwork,
    pub(super) authority: Authority,
    foreign: Authority,
    pub(super) boot: BootLog,
    pub(super) nodes: Mutex<Vec<Node>>,
    exceptions: Mutex<Vec<Exception>>,
    equipment: Mutex<BTreeMap<String, Equipment>>,
    pub(super) volumes: Volumes,
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

    /// Memory of all live nodes together, in bytes.
    pub async fn memory_bytes(&self) -> u64 {
        let nodes = self.nodes();
        let measured = futures_util::future::join_all(nodes.iter().map(Node::memory)).await;
        measured.into_iter().filter_map(Result::ok).map(|memory| memory.bytes).sum()
    }
}
