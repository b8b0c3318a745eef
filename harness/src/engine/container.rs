//! Starting, stopping, killing and inspecting one container.

use std::{
    mem::ManuallyDrop,
    net::Ipv4Addr,
    time::{Duration, Instant, SystemTime},
};

use bollard::{
    models::{ContainerCreateBody, ContainerUpdateBody, EndpointIpamConfig, EndpointSettings, HostConfig, NetworkingConfig},
    query_parameters::{
        CreateContainerOptionsBuilder, KillContainerOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder, StatsOptionsBuilder,
        TopOptionsBuilder,
    },
};
use futures_util::{Stream, StreamExt as _};
use testcontainers::{
    CopyTargetOptions, GenericImage, ImageExt as _, TestcontainersError,
    core::{Mount, client::ClientError},
    runners::AsyncRunner as _,
};
use tokio::time::{sleep, timeout};

use super::{Engine, EngineError, RunId, RunKind, labels};
use crate::{patience::stretched, places::Rank};

/// How the engine says that it could not catch all processes of a container.
const NOT_FROZEN: &str = "unable to freeze";
/// How long it is told again, and how often.
const FREEZE_LIMIT: Duration = Duration::from_secs(5);
const FREEZE_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// A log is there already: its pieces follow each other.
const LOG_LIMIT: Duration = Duration::from_secs(20);

/// What the engine says of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerState {
    /// Whether its main process runs (a paused one does, too).
    pub running: bool,
    /// Whether it is frozen.
    pub paused: bool,
    /// The last exit code (137 after SIGKILL).
    pub exit_code: i64,
    /// Whether the kernel ended it for lack of memory.
    pub oom_killed: bool,
}

/// A container's memory at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryUse {
    /// Bytes in use without the page cache that could be dropped.
    pub bytes: u64,
}

/// A process of a container, as the host sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number on the engine's host.
    pub pid: u64,
    /// Its state as `ps` writes it; the first letter is `T` when it is stopped, `Z` when it is dead and not yet collected.
    pub state: String,
    /// Its command with arguments.
    pub command: String,
}

/// The container that owns a node's network namespace, address and names.
pub(crate) struct HolderSpec<'a> {
    pub run: &'a RunId,
    pub kind: RunKind,
    pub node: &'a str,
    pub image: &'a str,
    pub network: &'a str,
    pub address: Ipv4Addr,
    /// `NAME:ADDRESS` entries for the hosts file.
    pub hosts: Vec<String>,
    /// Volumes (name, path) that it keeps mounted while the node's own container is down.
    pub volumes: Vec<(String, String)>,
    /// Whether it leads packets from one of its legs to another.
    pub forwards: bool,
}

/// The container in which a node's software runs, inside its holder's namespaces.
pub(crate) struct MemberSpec<'a> {
    pub run: &'a RunId,
    pub kind: RunKind,
    pub node: &'a str,
    pub image: &'a str,
    pub holder: &'a str,
    pub user: &'a str,
    /// Path, content, mode.
    pub files: Vec<(String, Vec<u8>, u32)>,
    pub env: Vec<(String, String)>,
    /// Volume name, path.
    pub volumes: Vec<(String, String)>,
    pub capabilities: Vec<String>,
    /// Devices of the engine's machine, for mounting an encrypted volume.
    pub devices: Vec<String>,
    pub memory_bytes: i64,
    pub rank: Rank,
    /// For how long it keeps its place among the starts after it runs.
    pub loads_for: Duration,
}

/// The capabilities that the start script needs before it drops all of them: hand files to the database's user, become it.
const START_CAPABILITIES: [&str; 6] = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID", "SETPCAP"];

impl Engine {
    /// Starts a pod's holder. Whoever calls it has a place among the starts ([`Engine::start_place`]).
    pub(crate) async fn start_holder(&self, spec: HolderSpec<'_>) -> Result<String, EngineError> {
        let name = format!("dora-{}-{}-pod", spec.run, spec.node);
        let endpoint = EndpointSettings {
            ipam_config: Some(EndpointIpamConfig { ipv4_address: Some(spec.address.to_string()), ..EndpointIpamConfig::default() }),
            ..EndpointSettings::default()
        };
        let body = ContainerCreateBody {
            image: Some(spec.image.to_owned()),
            hostname: Some(spec.node.to_owned()),
            entrypoint: Some(vec!["sleep".into(), "infinity".into()]),
            labels: Some(labels::of(spec.run, spec.kind, spec.node)),
            host_config: Some(HostConfig {
                network_mode: Some(spec.network.to_owned()),
                extra_hosts: Some(spec.hosts),
                binds: Some(spec.volumes.iter().map(|(volume, path)| format!("{volume}:{path}")).collect()),
                // The holder owns the firewall, so partitions outlive a restart of the database.
                cap_drop: Some(vec!["ALL".into()]),
                cap_add: Some(vec!["NET_ADMIN".into(), "NET_RAW".into()]),
                sysctls: spec.forwards.then(|| [("net.ipv4.ip_forward".to_owned(), "1".to_owned())].into()),
                init: Some(true),
                memory: Some(64 << 20),
                ..HostConfig::default()
            }),
            networking_config: Some(NetworkingConfig { endpoints_config: Some([(spec.network.to_owned(), endpoint)].into()) }),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let failed = |error: bollard::errors::Error| {
            let otherwise = |reason| EngineError::Start { node: spec.node.to_owned(), reason, log_tail: Vec::new() };
            EngineError::sorted(format!("start the pod of {}", spec.node), error, otherwise)
        };
        let created = self.docker.create_container(Some(options), body).await.map_err(|error| {
            if EngineError::is_conflict(&error) {
                return EngineError::Taken { node: spec.node.to_owned(), container: name.clone() };
            }
            failed(error)
        })?;
        self.docker.start_container(&created.id, None::<bollard::query_parameters::StartContainerOptions>).await.map_err(failed)?;
        Ok(created.id)
    }

    pub(crate) async fn start_member(&self, spec: MemberSpec<'_>) -> Result<String, EngineError> {
        let (name, tag) = spec.image.rsplit_once(':').unwrap_or((spec.image, "latest"));
        let mut request = GenericImage::new(name, tag)
            .with_entrypoint("sh")
            .with_cmd(["/dora/bin/run.sh", "/dora/bin/start.sh"])
            .with_container_name(format!("dora-{}-{}", spec.run, spec.node))
            .with_labels(labels::of(spec.run, spec.kind, spec.node))
            .with_cap_drop("ALL")
            .with_user("root")
            .with_env_var("DORA_USER", spec.user)
            .with_startup_timeout(stretched(Duration::from_secs(60)));
        for capability in START_CAPABILITIES.iter().map(ToString::to_string).chain(spec.capabilities) {
            request = request.with_cap_add(capability);
        }
        for (path, content, mode) in spec.files {
            request = request.with_copy_to(CopyTargetOptions::new(path).with_mode(mode), content);
        }
        for (key, value) in spec.env {
            request = request.with_env_var(key, value);
        }
        for (volume, target) in spec.volumes {
            request = request.with_mount(Mount::volume_mount(volume, target));
        }
        let memory = spec.memory_bytes;
        let devices = spec.devices;
        let namespace = format!("container:{}", spec.holder);
        request = request.with_host_config_modifier(move |host| {
            // Set here and not by `with_network`, which would first create a bridge network of that name, one for each node.
            host.network_mode = Some(namespace.clone());
            host.port_bindings = None;
            host.memory = Some(memory);
            // No swap beside the limit: a database that swaps answers nothing of interest.
            host.memory_swap = Some(memory);
            host.publish_all_ports = Some(false);
            if !devices.is_empty() {
                host.security_opt = Some(vec![super::volume_probe::MAY_MOUNT.into()]);
                host.devices = Some(devices.iter().map(|path| super::volume_probe::device(path)).collect());
            }
        });
        let place = self.start_place(spec.rank).await;
        let started = request.start().await;
        let loads_for = if started.is_ok() { spec.loads_for } else { Duration::ZERO };
        if loads_for.is_zero() {
            drop(place);
        } else {
            tokio::spawn(async move {
                sleep(loads_for).await;
                drop(place);
            });
        }
        match started {
            // The run's label and its reaper decide how long it lives, not a destructor in the middle of a fault.
            Ok(container) => {
                let id = ManuallyDrop::new(container).id().to_owned();
                self.note_log(spec.node, &id);
                Ok(id)
            }
            Err(error) => {
                let failed = |reason: String| EngineError::Start { node: spec.node.to_owned(), reason, log_tail: Vec::new() };
                // What testcontainers says names the step, too.
                let text = error.to_string();
                let error = match of_client(error) {
                    Some(error) => EngineError::sorted(format!("start node {}", spec.node), error, |_| failed(text)),
                    None => failed(text),
                };
                match error {
                    EngineError::Start { node, reason, .. } => {
                        let log_tail = self.logs(&format!("dora-{}-{}", spec.run, spec.node), 20).await.unwrap_or_default();
                        let log_tail = crate::security::redacted(&log_tail);
                        Err(EngineError::Start { node, reason, log_tail })
                    }
                    full_or_gone => Err(full_or_gone),
                }
            }
        }
    }

    /// Sends a signal to a container's main process; `KILL` ends all of its processes at once.
    pub(crate) async fn kill(&self, container: &str, signal: &str) -> Result<(), EngineError> {
        let options = KillContainerOptionsBuilder::default().signal(signal).build();
        self.docker
            .kill_container(container, Some(options))
            .await
            .map_err(|e| EngineError::request(format!("send SIG{signal} to {container}"), e))
    }

    pub(crate) async fn start(&self, container: &str) -> Result<(), EngineError> {
        self.docker
            .start_container(container, None::<bollard::query_parameters::StartContainerOptions>)
            .await
            .map_err(|e| EngineError::request(format!("start {container}"), e))
    }

    pub(crate) async fn stop(&self, container: &str, grace: Duration) -> Result<(), EngineError> {
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = bollard::query_parameters::StopContainerOptionsBuilder::default().t(seconds).build();
        self.docker.stop_container(container, Some(options)).await.map_err(|e| EngineError::request(format!("stop {container}"), e))
    }

    pub(crate) async fn pause(&self, container: &str) -> Result<(), EngineError> {
        // Processes that are in the kernel or begin others just then can escape the freezer. The engine then lets go what it had caught, and
        // says so.
        let until = Instant::now() + stretched(FREEZE_LIMIT);
        loop {
            match self.docker.pause_container(container).await {
                Err(error) if error.to_string().contains(NOT_FROZEN) && Instant::now() < until => sleep(FREEZE_AGAIN_AFTER).await,
                outcome => return outcome.map_err(|e| EngineError::request(format!("pause {container}"), e)),
            }
        }
    }

    pub(crate) async fn unpause(&self, container: &str) -> Result<(), EngineError> {
        self.docker.unpause_container(container).await.map_err(|e| EngineError::request(format!("unpause {container}"), e))
    }

    /// Limits a container to `cpus` processors (0 lifts the limit).
    pub(crate) async fn limit_cpus(&self, container: &str, cpus: f64) -> Result<(), EngineError> {
        const PERIOD_US: f64 = 100_000.0;
        let quota = if cpus > 0.0 { (cpus * PERIOD_US).round() as i64 } else { -1 };
        let body = ContainerUpdateBody { cpu_period: Some(100_000), cpu_quota: Some(quota), ..ContainerUpdateBody::default() };
        self.docker.update_container(container, body).await.map_err(|e| EngineError::request(format!("limit {container}"), e))
    }

    pub(crate) async fn state(&self, container: &str) -> Result<ContainerState, EngineError> {
        let inspected = self
            .docker
            .inspect_container(container, None::<bollard::query_parameters::InspectContainerOptions>)
            .await
            .map_err(|e| EngineError::request(format!("inspect {container}"), e))?;
        let state = inspected.state.unwrap_or_default();
        Ok(ContainerState {
            running: state.running.unwrap_or_default(),
            paused: state.paused.unwrap_or_default(),
            exit_code: state.exit_code.unwrap_or_default(),
            oom_killed: state.oom_killed.unwrap_or_default(),
        })
    }

    /// The container's processes as the engine's host sees them; none where it does not run.
    pub(crate) async fn processes(&self, container: &str) -> Result<Vec<Process>, EngineError> {
        if !self.state(container).await?.running {
            return Ok(Vec::new());
        }
        let options = TopOptionsBuilder::default().ps_args("-eo pid,stat,args").build();
        let listed = match self.docker.top_processes(container, Some(options)).await {
            Ok(listed) => listed,
            // It ended since it was looked at.
            Err(_) if !self.state(container).await?.running => return Ok(Vec::new()),
            Err(error) => return Err(EngineError::request(format!("list the processes of {container}"), error)),
        };
        let process = |columns: Vec<String>| {
            let [pid, state, command] = <[String; 3]>::try_from(columns).ok()?;
            Some(Process { pid: pid.parse().ok()?, state, command })
        };
        Ok(listed.processes.unwrap_or_default().into_iter().filter_map(process).collect())
    }

    /// The last `lines` lines of both streams.
    pub(crate) async fn logs(&self, container: &str, lines: usize) -> Result<Vec<String>, EngineError> {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail(&lines.to_string()).build();
        let mut stream = Box::pin(self.docker.logs(container, Some(options)));
        let mut text = String::new();
        while let Some(chunk) = next_of_log(&mut stream, container).await? {
            let chunk = chunk.map_err(|e| EngineError::request(format!("read the log of {container}"), e))?;
            text.push_str(&String::from_utf8_lossy(chunk.as_ref()));
        }
        Ok(text.lines().map(ToOwned::to_owned).collect())
    }

    /// The first `lines` lines of both streams that were written in the second of `since` or later.
    pub(crate) async fn logs_since(&self, container: &str, since: SystemTime, lines: usize) -> Result<Vec<String>, EngineError> {
        let second = since.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let second = i32::try_from(second).unwrap_or(i32::MAX);
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).since(second).build();
        let mut stream = Box::pin(self.docker.logs(container, Some(options)));
        let (mut text, mut breaks) = (String::new(), 0);
        while breaks < lines
            && let Some(chunk) = next_of_log(&mut stream, container).await?
        {
            let chunk = chunk.map_err(|e| EngineError::request(format!("read the log of {container}"), e))?;
            let piece = String::from_utf8_lossy(chunk.as_ref());
            breaks += piece.matches('\n').count();
            text.push_str(&piece);
        }
        Ok(text.lines().take(lines).map(ToOwned::to_owned).collect())
    }

    pub(crate) async fn memory(&self, container: &str) -> Result<MemoryUse, EngineError> {
        let options = StatsOptionsBuilder::default().stream(false).one_shot(true).build();
        let mut stream = Box::pin(self.docker.stats(container, Some(options)));
        let what = format!("measurement of {container}");
        let Some(stats) = next_within(&mut stream, LOG_LIMIT, what).await? else { return Ok(MemoryUse { bytes: 0 }) };
        let memory = stats.map_err(|e| EngineError::request(format!("measure {container}"), e))?.memory_stats.unwrap_or_default();
        let droppable = memory
            .stats
            .as_ref()
            .and_then(|stats| stats.get("total_inactive_file").or_else(|| stats.get("inactive_file")))
            .and_then(|value| value.to_string().parse::<u64>().ok())
            .unwrap_or_default();
        Ok(MemoryUse { bytes: memory.usage.unwrap_or_default().saturating_sub(droppable) })
    }

    /// Removes a container with force, once its log is kept where that is asked for; one that is already gone is fine.
    pub(crate) async fn remove(&self, container: &str) -> Result<(), EngineError> {
        // Boxed: most containers have no log to keep.
        Box::pin(self.keep_log(container)).await;
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.docker.remove_container(container, Some(options)).await {
            Ok(()) => Ok(()),
            Err(error) if EngineError::is_not_found(&error) || error.to_string().contains("already in progress") => Ok(()),
            Err(error) => Err(EngineError::request(format!("remove {container}"), error)),
        }
    }
}

/// The next piece of what comes in pieces; an engine that sends none within `limit` (stretched) is not waited for any longer.
pub(super) async fn next_within<S: Stream + Unpin>(stream: &mut S, limit: Duration, what: String) -> Result<Option<S::Item>, EngineError> {
    let after = stretched(limit);
    let late = |_elapsed| EngineError::Silent { what, after };
    timeout(after, stream.next()).await.map_err(late)
}

/// The next piece of a container's log.
pub(super) async fn next_of_log<S: Stream + Unpin>(stream: &mut S, container: &str) -> Result<Option<S::Item>, EngineError> {
    next_within(stream, LOG_LIMIT, format!("further piece of the log of {container}")).await
}

/// The engine's client's own error in one of testcontainers', where there is one.
fn of_client(error: TestcontainersError) -> Option<bollard::errors::Error> {
    match error {
        TestcontainersError::Client(
            ClientError::CreateContainer(error)
            | ClientError::StartContainer(error)
            | ClientError::InspectContainer(error)
            | ClientError::UploadToContainerError(error)
            | ClientError::PullImage { err: error, .. },
        ) => Some(error),
        _ => None,
    }
}
