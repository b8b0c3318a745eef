//! A run's encrypted volumes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use dora_fixtures::assets;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use super::{Choice, DataKey, KeySource, Provider, VolumeError, VolumePlan, agent};
use crate::engine::{Engine, RunId, RunKind, VolumeProbe};

/// How a node's data directory is protected, as data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protection {
    /// Who gives the volume, such as `gocryptfs`.
    pub provider: String,
    /// Where its key comes from.
    pub key_source: String,
}

/// The run's choice of provider, its source of keys, and who has what.
#[derive(Debug)]
pub struct Volumes {
    choice: Choice,
    keys: OnceCell<Arc<dyn KeySource>>,
    plans: Mutex<BTreeMap<String, VolumePlan>>,
    clusters: Mutex<BTreeMap<String, VolumePlan>>,
}

/// A node's encrypted volume before the node is there.
pub(crate) struct Opening {
    provider: &'static dyn Provider,
    key: DataKey,
    pub protection: Protection,
}

impl Volumes {
    /// Finds out what the engine's machine can give.
    ///
    /// # Errors
    /// Any error of the engine, except one that only comes with a device or capability: that is an answer, in the engine's words.
    pub(crate) async fn detect(engine: &Engine, run: &RunId, kind: RunKind, image: &str) -> Result<Self, VolumeError> {
        let script = assets::text("config/volume/probe.sh")?;
        let wanted =
            |with: fn(&dyn Provider) -> &'static [&'static str]| super::providers().into_iter().flat_map(with).copied().collect::<Vec<_>>();
        let (capabilities, devices) = (wanted(|provider| provider.capabilities()), wanted(|provider| provider.devices()));
        let probe = VolumeProbe { run, kind, image, script, capabilities: &capabilities, devices: &devices };
        let choice = match engine.probe_volumes(&probe).await {
            Ok(printed) => Choice::read(&printed),
            // An engine whose machine lacks a device does not start the container.
            Err(refusal) => {
                let printed = engine.probe_volumes(&VolumeProbe { capabilities: &[], devices: &[], ..probe }).await?;
                Choice::read(&printed).refused(&refusal.to_string())
            }
        };
        Ok(Self { choice, keys: OnceCell::new(), plans: Mutex::default(), clusters: Mutex::default() })
    }

    /// What was found on this machine.
    pub fn choice(&self) -> &Choice {
        &self.choice
    }

    /// Whoever keeps the keys; the first who asks provides it with `make`, for the whole run.
    ///
    /// # Errors
    /// Those of `make`.
    pub async fn keys_of_run<E, F: Future<Output = Result<Arc<dyn KeySource>, E>>>(&self, make: impl FnOnce() -> F) -> Result<(), E> {
        self.keys.get_or_try_init(make).await.map(drop)
    }

    /// The nodes that keep the run's keys, by name: they have to stand as long as the run does.
    pub fn keepers(&self) -> Vec<String> {
        self.keys.get().map(|keys| keys.nodes()).unwrap_or_default()
    }

    /// The key of a node's volume.
    ///
    /// # Errors
    /// [`VolumeError::Key`], with the source's words, or that there is none.
    pub async fn key(&self, node: &str) -> Result<DataKey, VolumeError> {
        self.source(node)?.key(node).await
    }

    fn source(&self, node: &str) -> Result<&Arc<dyn KeySource>, VolumeError> {
        self.keys.get().ok_or_else(|| VolumeError::Key {
            volume: format!("{node}'s data"),
            source_name: "the run".into(),
            reason: "nobody keeps keys in it yet".into(),
        })
    }

    /// Says how the node of that name has its data from its next start with empty data on.
    pub fn plan(&self, node: &str, plan: VolumePlan) {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner).insert(node.to_owned(), plan);
    }

    /// Forgets what was said of the node of that name: it has its data as its cluster has them.
    pub fn forget(&self, node: &str) {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner).remove(node);
    }

    /// Says the same of all nodes of a cluster that hold data; [`None`] returns to the topology, which encrypts none.
    pub fn plan_cluster(&self, cluster: &str, plan: Option<VolumePlan>) {
        let mut clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        match plan {
            Some(plan) => clusters.insert(cluster.to_owned(), plan),
            None => clusters.remove(cluster),
        };
    }

    /// How a node has its data.
    pub fn plan_of(&self, node: &str, cluster: &str, role: &str) -> VolumePlan {
        if let Some(plan) = self.plans.lock().unwrap_or_else(PoisonError::into_inner).get(node) {
            return *plan;
        }
        match self.clusters.lock().unwrap_or_else(PoisonError::into_inner).get(cluster) {
            Some(plan) if VolumePlan::holds_data(role) => *plan,
            _ => VolumePlan::Plain,
        }
    }

    /// What a node of that name, cluster and role needs for an encrypted volume; [`None`] where it has none.
    ///
    /// # Errors
    /// [`VolumeError::Key`].
    pub(crate) async fn opening(&self, node: &str, cluster: &str, role: &str) -> Result<Option<Opening>, VolumeError> {
        let (Some(provider), VolumePlan::Encrypted) = (self.choice.provider(), self.plan_of(node, cluster, role)) else { return Ok(None) };
        let source = self.source(node)?;
        let key = source.key(node).await?;
        Ok(Some(Opening { provider, key, protection: Protection { provider: provider.name().into(), key_source: source.name() } }))
    }
}

impl Opening {
    /// Files of the node: path, content, mode.
    pub(crate) fn files(&self) -> Result<Vec<(String, Vec<u8>, u32)>, VolumeError> {
        let opener = self.provider.opener().map_err(|why| VolumeError::Metadata(why.to_owned()))?;
        let file = |path: &str, asset: &str| Ok::<_, VolumeError>((format!("/dora/bin/{path}"), assets::bytes(asset)?.to_vec(), 0o755));
        Ok(vec![file("open-volume.sh", opener)?, file("ask-key.pl", "config/volume/ask-key.pl")?])
    }

    /// Environment variables of the node.
    pub(crate) fn environment(&self) -> (String, String) {
        ("DORA_VOLUME".into(), self.provider.name().into())
    }

    /// Capabilities that its start needs.
    pub(crate) fn capabilities(&self) -> Vec<String> {
        self.provider.capabilities().iter().map(ToString::to_string).collect()
    }

    /// Devices that it needs.
    pub(crate) fn devices(&self) -> Vec<String> {
        self.provider.devices().iter().map(ToString::to_string).collect()
    }

    /// Memory that it takes.
    pub(crate) fn memory_bytes(&self) -> i64 {
        self.provider.memory_bytes()
    }

    /// Gives the pod its key.
    pub(crate) async fn hand_over(&self, engine: &Engine, node: &str, holder: &str) -> Result<(), VolumeError> {
        agent::start(engine, node, holder, &self.key).await
    }
}
