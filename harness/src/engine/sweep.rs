//! Finding and removing what runs left behind.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bollard::query_parameters::{ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder};
use futures_util::{StreamExt as _, stream};

use super::{Engine, EngineError, LABEL_KIND, LABEL_NODE, LABEL_RUN, RunId, RunKind};

/// How many removals are under way at once.
const REMOVE_PARALLEL: usize = 12;

/// What an engine holds of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Containers, by id.
    pub containers: Vec<String>,
    /// Networks, by id.
    pub networks: Vec<String>,
    /// Volumes, by name.
    pub volumes: Vec<String>,
    /// Whether the run was started by `dora up`.
    pub kept: bool,
}

impl Leftovers {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// How many objects there are.
    pub fn count(&self) -> usize {
        self.containers.len() + self.networks.len() + self.volumes.len()
    }
}

impl Engine {
    /// Everything on this engine that carries a run's label, by run.
    ///
    /// # Errors
    /// Any [`EngineError`] of the listing.
    pub async fn runs(&self) -> Result<BTreeMap<String, Leftovers>, EngineError> {
        self.labelled(&[LABEL_RUN]).await
    }

    /// What is there of one run.
    ///
    /// # Errors
    /// Any [`EngineError`] of the listing.
    pub async fn leftovers(&self, run: &RunId) -> Result<Leftovers, EngineError> {
        Ok(self.labelled(&[&format!("{LABEL_RUN}={run}")]).await?.remove(run.as_str()).unwrap_or_default())
    }

    /// What is there of these nodes of one run, whoever started them and however far that came: their containers and volumes.
    ///
    /// # Errors
    /// Any [`EngineError`] of the listing.
    pub async fn leftovers_of(&self, run: &RunId, nodes: &BTreeSet<String>) -> Result<Leftovers, EngineError> {
        let mut found = Leftovers::default();
        for node in nodes {
            let labels = [format!("{LABEL_RUN}={run}"), format!("{LABEL_NODE}={node}")];
            let of_node = self.labelled(&labels.each_ref().map(String::as_str)).await?.remove(run.as_str()).unwrap_or_default();
            // A network bears its zone's name there, and is nobody's alone.
            found.containers.extend(of_node.containers);
            found.volumes.extend(of_node.volumes);
        }
        Ok(found)
    }

    /// What carries all of these labels, by run.
    async fn labelled(&self, labels: &[&str]) -> Result<BTreeMap<String, Leftovers>, EngineError> {
        let filters = HashMap::from([("label", labels.to_vec())]);
        let mut runs: BTreeMap<String, Leftovers> = BTreeMap::new();
        let mut enter = |labels: Option<&HashMap<String, String>>, put: &mut dyn FnMut(&mut Leftovers)| {
            if let Some(labels) = labels
                && let Some(run) = labels.get(LABEL_RUN)
            {
                let entry = runs.entry(run.clone()).or_default();
                entry.kept |= labels.get(LABEL_KIND).is_some_and(|kind| kind == RunKind::Kept.as_str());
                put(entry);
            }
        };
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        for container in self.docker.list_containers(Some(options)).await.map_err(|e| EngineError::request("list containers", e))? {
            let id = container.id.unwrap_or_default();
            enter(container.labels.as_ref(), &mut |entry| entry.containers.push(id.clone()));
        }
        let options = ListNetworksOptionsBuilder::default().filters(&filters).build();
        for network in self.docker.list_networks(Some(options)).await.map_err(|e| EngineError::request("list networks", e))? {
            let id = network.id.unwrap_or_default();
            enter(network.labels.as_ref(), &mut |entry| entry.networks.push(id.clone()));
        }
        let options = ListVolumesOptionsBuilder::default().filters(&filters).build();
        let volumes = self.docker.list_volumes(Some(options)).await.map_err(|e| EngineError::request("list volumes", e))?;
        for volume in volumes.volumes.unwrap_or_default() {
            enter(Some(&volume.labels), &mut |entry| entry.volumes.push(volume.name.clone()));
        }
        Ok(runs)
    }

    /// Removes everything of one run: containers, then networks, then volumes. Returns how many objects there were.
    ///
    /// # Errors
    /// The first refusal, after all else was tried: what hangs on one object keeps no other. Calling again goes on with what is left.
    pub async fn remove_run(&self, run: &RunId) -> Result<usize, EngineError> {
        self.remove_all(self.leftovers(run).await?).await
    }

    /// Removes what there is of these nodes of one run: see [`Engine::leftovers_of`]. Returns how many objects there were.
    ///
    /// # Errors
    /// As [`Engine::remove_run`].
    pub(crate) async fn remove_nodes(&self, run: &RunId, nodes: &BTreeSet<String>) -> Result<usize, EngineError> {
        self.remove_all(self.leftovers_of(run, nodes).await?).await
    }

    async fn remove_all(&self, found: Leftovers) -> Result<usize, EngineError> {
        let count = found.count();
        let containers = all(found.containers, |id| async move { self.remove(&id).await }).await;
        let networks = all(found.networks, |id| async move { self.remove_network(&id).await }).await;
        let volumes = all(found.volumes, |name| async move { self.remove_volume(&name).await }).await;
        containers.and(networks).and(volumes).map(|()| count)
    }
}

/// Removes many side by side; the first refusal is answered when all were tried.
async fn all<F: Future<Output = Result<(), EngineError>>>(names: Vec<String>, remove: impl Fn(String) -> F) -> Result<(), EngineError> {
    let outcomes: Vec<_> = stream::iter(names).map(remove).buffer_unordered(REMOVE_PARALLEL).collect().await;
    outcomes.into_iter().collect()
}
