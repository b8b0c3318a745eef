//! Asking the engine's machine what encrypted volumes it can give.

use bollard::{
    models::{ContainerCreateBody, DeviceMapping, HostConfig},
    query_parameters::{CreateContainerOptions, StartContainerOptions, WaitContainerOptionsBuilder},
};
use futures_util::StreamExt as _;
use tokio::time::timeout;

use super::{Engine, EngineError, RunId, RunKind, labels};

/// Trying everything takes under a second; a machine that boots thirty nodes meanwhile is given this.
const PROBE_LIMIT: std::time::Duration = std::time::Duration::from_secs(40);

/// A script, and what it may do.
#[derive(Clone, Copy)]
pub(crate) struct VolumeProbe<'a> {
    pub run: &'a RunId,
    pub kind: RunKind,
    pub image: &'a str,
    pub script: &'a str,
    pub capabilities: &'a [&'a str],
    pub devices: &'a [&'a str],
}

/// A device as a container sees it: under its own name.
pub(super) fn device(path: &str) -> DeviceMapping {
    let path = Some(path.to_owned());
    DeviceMapping { path_on_host: path.clone(), path_in_container: path, cgroup_permissions: Some("rwm".into()) }
}

/// Mounting inside a container is refused by the profile that engines put on containers where the kernel has `AppArmor`.
pub(super) const MAY_MOUNT: &str = "apparmor=unconfined";

impl Engine {
    /// Runs the script in a fresh container with a volume at `/volume` and returns what it printed.
    ///
    /// # Errors
    /// Any [`EngineError`] of the requests; an engine whose machine lacks a device refuses the start.
    pub(crate) async fn probe_volumes(&self, probe: &VolumeProbe<'_>) -> Result<String, EngineError> {
        let what = || "ask the engine's machine for encrypted volumes".to_owned();
        let volume = self.create_volume(probe.run, probe.kind, "volume-probe", "probe", None).await?;
        let body = ContainerCreateBody {
            image: Some(probe.image.to_owned()),
            entrypoint: Some(vec!["sh".into(), "-c".into(), probe.script.to_owned()]),
            cmd: Some(Vec::new()),
            labels: Some(labels::of(probe.run, probe.kind, "volume-probe")),
            host_config: Some(HostConfig {
                network_mode: Some("none".into()),
                cap_add: Some(probe.capabilities.iter().map(ToString::to_string).collect()),
                devices: Some(probe.devices.iter().map(|path| device(path)).collect()),
                security_opt: Some(vec![MAY_MOUNT.into()]),
                binds: Some(vec![format!("{volume}:/volume")]),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let created =
            self.docker.create_container(None::<CreateContainerOptions>, body).await.map_err(|e| EngineError::request(what(), e))?;
        let answer = async {
            self.docker.start_container(&created.id, None::<StartContainerOptions>).await.map_err(|e| EngineError::request(what(), e))?;
            let mut ended = Box::pin(self.docker.wait_container(&created.id, Some(WaitContainerOptionsBuilder::default().build())));
            // A script that fails, or hangs, is answered by what it printed.
            let _ = timeout(crate::patience::stretched(PROBE_LIMIT), ended.next()).await;
            Ok(self.logs(&created.id, 200).await?.join("\n"))
        }
        .await;
        self.remove(&created.id).await?;
        self.remove_volume(&volume).await?;
        answer
    }
}
