//! A running node: the handle through which it is killed, started, asked and looked into.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use tokio::{net::TcpStream, time::timeout};

use crate::{
    engine::{ContainerState, Engine, EngineError, ExecOutput, ExecSpec, MemoryUse, Process, RunNetwork, gateway_of},
    volume::{DATA_DIR, Protection},
};

/// Packing a data directory's part into an archive.
const ARCHIVE_LIMIT: Duration = Duration::from_secs(60);

/// A pod with a database (or a service) in it. Clones are handles of the same node.
#[derive(Debug, Clone)]
pub struct Node {
    engine: Engine,
    inner: Arc<NodeRecord>,
}

/// What a node is, as data: enough for another process to get a handle of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    pub(super) name: String,
    pub(super) cluster: String,
    pub(super) role: String,
    pub(super) image: String,
    pub(super) reference: String,
    pub(super) address: Ipv4Addr,
    pub(super) holder: String,
    /// Empty where the pod has no database in it (the prober).
    pub(super) container: String,
    pub(super) user: String,
    pub(super) memory_bytes: i64,
    pub(super) volumes: Vec<String>,
    /// How the data directory is encrypted, where it is.
    #[serde(default)]
    pub(super) protection: Option<Protection>,
}

impl NodeRecord {
    /// The node's short name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Whether a node has its role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeHealth {
    /// The node.
    pub node: String,
    /// The role that the topology gives it, such as `primary or replica`.
    pub expected: String,
    /// What it says of itself, or why it does not.
    pub observed: String,
    /// Whether the two fit.
    pub healthy: bool,
}

impl Node {
    /// A handle of the node that the record describes.
    pub fn attach(engine: &Engine, record: NodeRecord) -> Self {
        Self { engine: engine.clone(), inner: Arc::new(record) }
    }

    /// The node as data.
    pub fn record(&self) -> NodeRecord {
        NodeRecord::clone(&self.inner)
    }

    /// Its short name, also its host name, such as `pg1`.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The cluster it belongs to, such as `postgres`.
    pub fn cluster(&self) -> &str {
        &self.inner.cluster
    }

    /// What it is there for, such as `data node`.
    pub fn role(&self) -> &str {
        &self.inner.role
    }

    /// The image's name in the catalogue.
    pub fn image(&self) -> &str {
        &self.inner.image
    }

    /// The image's reference on the engine.
    pub fn image_reference(&self) -> &str {
        &self.inner.reference
    }

    /// Its address on the run's bridge.
    pub fn address(&self) -> Ipv4Addr {
        self.inner.address
    }

    /// Address and port.
    pub fn socket(&self, port: u16) -> SocketAddr {
        SocketAddr::from((self.inner.address, port))
    }

    /// The address from which the harness's own traffic reaches the run's bridge: the engine's end of it, the first of the subnet.
    pub fn gateway(&self) -> Ipv4Addr {
        gateway_of(self.inner.address)
    }

    /// Gives the pod a further leg, in another of the run's networks.
    ///
    /// # Errors
    /// Any [`EngineError`] of the request.
    pub(crate) async fn join(&self, network: &RunNetwork, address: Ipv4Addr) -> Result<(), EngineError> {
        self.engine.join_network(network, &self.inner.holder, address).await
    }

    /// Its memory limit in bytes.
    pub fn memory_limit_bytes(&self) -> i64 {
        self.inner.memory_bytes
    }

    /// Whether anything runs in the pod beside its holder.
    pub fn has_database(&self) -> bool {
        !self.inner.container.is_empty()
    }

    /// How its data directory is encrypted; [`None`] where it is not.
    pub fn protection(&self) -> Option<&Protection> {
        self.inner.protection.as_ref()
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn holder(&self) -> &str {
        &self.inner.holder
    }

    /// Ends all processes of the database with SIGKILL: a process crash. The address stays, so peers get resets.
    ///
    /// # Errors
    /// Any [`EngineError`] of the request.
    pub async fn kill(&self) -> Result<(), EngineError> {
        self.signal("KILL").await
    }

    /// Sends a signal, such as `TERM`, to the main process.
    ///
    /// # Errors
    /// Any [`EngineError`] of the request.
    pub async fn signal(&self, signal: &str) -> Result<(), EngineError> {
        self.engine.kill(&self.inner.container, signal).await
    }

    /// Makes an image of its files, `/dora/data` and other volumes left out.
    ///
    /// # Errors
    /// Any [`EngineError`] of the request.
    pub async fn commit(&self, repository: &str, tag: &str) -> Result<(), EngineError> {
        self.engine.commit(&self.inner.container, repository, tag).await
    }

    /// Its processes, as the engine's host sees them; none where it does not run.
    ///
    /// # Errors
    /// Any [`EngineError`] of the request.
    pub async fn processes(&self) -> Result<Vec<Process>, EngineError> {
        self.engine.processes(&self.inner.container).await
    }

    /// Starts a killed or stopped node again on the data it had.
    ///
    /// # Errors
    /// Any [`EngineError`] of the request.
    pub async fn start(&self) -> Result<(), EngineError> {
        self.engine.start(&self.inner.container).await
    }

    /// Asks the node to stop, and kills it after `grace`.
    ///
    /// # Errors
    /// Any [`EngineError`] of the request.
    pub async fn stop(&self, grace: Duration) -> Result<(), EngineError> {
        self.engine.stop(&self.inner.container, grace).await
    }

    /// Freezes all processes.
    ///
    /// # Errors
    /// Any [`EngineError`] of the request.
    pub async fn pause(&self) -> Result<(), EngineError> {
        self.engine.pause(&self.inner.container).await
    }

    /// Ends [`Node::pause`].
    ///
    /// # Errors
    /// Any [`EngineError`] of the request.
    pub async fn unpause(&self) -> Result<(), EngineError> {
        self.engine.unpause(&self.inner.container).await
    }

    /// Limits the node to `cpus` processors; 0 lifts the limit.
    ///
    /// # Errors
    /// Any [`EngineError`] of the request.
    pub async fn limit_cpus(&self, cpus: f64) -> Result<(), EngineError> {
        self.engine.limit_cpus(&self.inner.container, cpus).await
    }

    /// What the engine says of it.
    ///
    /// # Errors
    /// Any [`EngineError`] of the request.
    pub async fn state(&self) -> Result<ContainerState, EngineError> {
        self.engine.state(&self.inner.container).await
    }

    /// Its last `lines` log lines, both streams.
    ///
    /// # Errors
    /// Any [`EngineError`] of the request.
    pub async fn logs(&self, lines: usize) -> Result<Vec<String>, EngineError> {
        self.engine.logs(&self.inner.container, lines).await
    }

    /// The first `lines` log lines, both streams, that it has written since then; the engine's clock counts, to the second.
    ///
    /// # Errors
    /// Any [`EngineError`] of the request.
    pub async fn logs_since(&self, since: SystemTime, lines: usize) -> Result<Vec<String>, EngineError> {
        self.engine.logs_since(&self.inner.container, since, lines).await
    }

    /// As [`Node::logs`], those of the pod's holder.
    ///
    /// # Errors
    /// Any [`EngineError`] of the request.
    pub async fn logs_of_pod(&self, lines: usize) -> Result<Vec<String>, EngineError> {
        self.engine.logs(&self.inner.holder, lines).await
    }

    /// Its memory at this moment, without its holder's.
    ///
    /// # Errors
    /// Any [`EngineError`] of the request.
    pub async fn memory(&self) -> Result<MemoryUse, EngineError> {
        self.engine.memory(&self.inner.container).await
    }

    /// Runs a command beside the database, as the database's user, with `input` on its standard input.
    ///
    /// # Errors
    /// [`EngineError::ExecDeadline`] after `limit`, or any error of the request. A command that ends badly is *no* error here;
    /// see [`Node::exec_ok`].
    pub async fn exec(&self, command: &[&str], input: &[u8], limit: Duration) -> Result<ExecOutput, EngineError> {
        self.exec_as(&self.inner.user, &self.inner.container, command, input, limit).await
    }

    /// As [`Node::exec`], as root.
    ///
    /// # Errors
    /// As [`Node::exec`].
    pub async fn exec_as_root(&self, command: &[&str], input: &[u8], limit: Duration) -> Result<ExecOutput, EngineError> {
        self.exec_as("root", &self.inner.container, command, input, limit).await
    }

    /// As [`Node::exec`], and a command that does not end with 0 is an error.
    ///
    /// # Errors
    /// [`EngineError::Exec`], or as [`Node::exec`].
    pub async fn exec_ok(&self, command: &[&str], input: &[u8], limit: Duration) -> Result<String, EngineError> {
        let output = self.exec(command, input, limit).await?;
        if output.code == 0 {
            return Ok(output.stdout);
        }
        Err(EngineError::Exec {
            node: self.name().to_owned(),
            command: command.iter().take(2).copied().collect::<Vec<_>>().join(" "),
            code: output.code,
            output: format!("{}{}", output.stdout, output.stderr).trim().to_owned(),
        })
    }

    /// Runs a command in the pod's holder: it shares the address, not the files, and it lives when the database is dead.
    ///
    /// # Errors
    /// As [`Node::exec`].
    pub async fn exec_in_pod(&self, command: &[&str], input: &[u8], limit: Duration) -> Result<ExecOutput, EngineError> {
        self.exec_as("root", &self.inner.holder, command, input, limit).await
    }

    async fn exec_as(
        &self,
        user: &str,
        container: &str,
        command: &[&str],
        input: &[u8],
        limit: Duration,
    ) -> Result<ExecOutput, EngineError> {
        let node = self.name();
        let limit = crate::patience::stretched(limit);
        self.engine.exec(ExecSpec { node, container, user, command, input, limit }).await
    }

    /// Writes files (path below `directory`, content, mode) into the node; they belong to root.
    ///
    /// # Errors
    /// Any [`EngineError`] of the request.
    pub async fn put_files(&self, directory: &str, files: &[(&str, &[u8], u32)]) -> Result<(), EngineError> {
        let entries: Vec<_> = files.iter().map(|(path, content, mode)| (*path, *content, *mode, 0)).collect();
        let archive = crate::engine::pack(self.name(), &entries)?;
        self.engine.upload(&self.inner.container, directory, archive).await
    }

    /// As [`Node::put_files`], into the pod's holder.
    ///
    /// # Errors
    /// Any [`EngineError`] of the request.
    pub async fn put_files_in_pod(&self, directory: &str, files: &[(&str, &[u8], u32)]) -> Result<(), EngineError> {
        let entries: Vec<_> = files.iter().map(|(path, content, mode)| (*path, *content, *mode, 0)).collect();
        let archive = crate::engine::pack(self.name(), &entries)?;
        self.engine.upload(&self.inner.holder, directory, archive).await
    }

    /// The regular files below `path`: path (starting with its last component) and content.
    ///
    /// # Errors
    /// Any [`EngineError`] of the request.
    pub async fn get_files(&self, path: &str) -> Result<Vec<(String, Vec<u8>)>, EngineError> {
        let archive = self.get_archive(path).await?;
        crate::engine::unpack(self.name(), &archive)
    }

    /// As [`Node::get_files`], from the pod's holder.
    ///
    /// # Errors
    /// Any [`EngineError`] of the request.
    pub async fn get_files_in_pod(&self, path: &str) -> Result<Vec<(String, Vec<u8>)>, EngineError> {
        let archive = self.engine.download(self.name(), &self.inner.holder, path).await?;
        crate::engine::unpack(self.name(), &archive)
    }

    /// `path` (a file or a folder) as a tar archive whose entries start with its last component, owners and modes kept.
    ///
    /// # Errors
    /// Any [`EngineError`] of the request.
    pub async fn get_archive(&self, path: &str) -> Result<Vec<u8>, EngineError> {
        // The engine sees an encrypted volume's ciphertext only; its content is there for the database's user alone.
        if self.protection().is_some() && path.starts_with(DATA_DIR) {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("/", path));
            let limit = crate::patience::stretched(ARCHIVE_LIMIT);
            let command = ["tar", "-C", parent, "-cf", "-", "--", name];
            let (container, user) = (self.inner.container.as_str(), self.inner.user.as_str());
            return self.engine.exec_for_bytes(ExecSpec { node: self.name(), container, user, command: &command, input: &[], limit }).await;
        }
        self.engine.download(self.name(), &self.inner.container, path).await
    }

    /// Unpacks an archive of [`Node::get_archive`] below `directory`.
    ///
    /// # Errors
    /// Any [`EngineError`] of the request.
    pub async fn put_archive(&self, directory: &str, archive: Vec<u8>) -> Result<(), EngineError> {
        self.engine.upload(&self.inner.container, directory, archive).await
    }

    /// Replaces `from` by `to` in one of the node's own files (every occurrence).
    ///
    /// # Errors
    /// [`EngineError::Exec`] when the file lacks `from`: a change that changes nothing must not pass for one.
    pub async fn edit_file(&self, path: &str, from: &str, to: &str) -> Result<(), EngineError> {
        let files = self.get_files(path).await?;
        let text = files.first().map(|(_, content)| String::from_utf8_lossy(content).into_owned()).unwrap_or_default();
        if !text.contains(from) {
            return Err(EngineError::Exec {
                node: self.name().to_owned(),
                command: format!("edit {path}"),
                code: 1,
                output: format!("the file does not contain `{from}`"),
            });
        }
        let (directory, file) = path.rsplit_once('/').unwrap_or(("/", path));
        let owner = self.exec_as_root(&["stat", "-c", "%u %a", path], &[], Duration::from_secs(10)).await.ok();
        self.put_files(directory, &[(file, text.replace(from, to).as_bytes(), 0o644)]).await?;
        if let Some(stat) = owner
            && let Some((uid, mode)) = stat.stdout.trim().split_once(' ')
        {
            self.exec_as_root(&["chown", uid, path], &[], Duration::from_secs(10)).await?;
            self.exec_as_root(&["chmod", mode, path], &[], Duration::from_secs(10)).await?;
        }
        Ok(())
    }

    /// Whether something accepts a TCP connection on the port: a probe that goes over the network, not through the engine.
    pub async fn accepts(&self, port: u16) -> bool {
        matches!(timeout(Duration::from_secs(1), TcpStream::connect(self.socket(port))).await, Ok(Ok(_)))
    }

    /// Removes the node with its data.
    ///
    /// # Errors
    /// Any [`EngineError`] of the requests.
    pub async fn destroy(&self) -> Result<(), EngineError> {
        if self.has_database() {
            self.engine.remove(&self.inner.container).await?;
        }
        self.engine.remove(&self.inner.holder).await?;
        for volume in &self.inner.volumes {
            self.engine.remove_volume(volume).await?;
        }
        Ok(())
    }
}
