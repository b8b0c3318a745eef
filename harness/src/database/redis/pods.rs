//! What the nodes are made of: image, files, limits.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use dora_fixtures::assets;
use serde_json::{Value, json};

use super::access::Passwords;
use crate::topology::{Exception, Ground, GroundError, PodSpec, Seat};

/// Client port of a server.
pub const PORT: u16 = 6379;
/// Client port of a Sentinel.
pub const SENTINEL_PORT: u16 = 26379;

/// How a server keeps its data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Persistence {
    /// Whether there is an append-only file.
    pub append_only: bool,
    /// `always`, `everysec` or `no`.
    pub append_fsync: &'static str,
}

impl Default for Persistence {
    /// What the clusters of the platform have.
    fn default() -> Self {
        Self { append_only: true, append_fsync: "everysec" }
    }
}

/// What a server is for.
pub(super) struct ServerPlan<'a> {
    pub cluster_name: &'a str,
    pub role: &'a str,
    /// The master to copy from, if it is not one itself.
    pub replica_of: Option<Ipv4Addr>,
    pub sharded: bool,
    pub min_replicas: usize,
    /// Sentinels that a restarted server asks for the master.
    pub sentinels: &'a [SocketAddr],
    /// A snapshot to begin with.
    pub snapshot: Option<&'a [u8]>,
    pub persistence: Persistence,
    pub memory_bytes: i64,
    /// What it lets its data grow to.
    pub data_mib: u32,
}

/// What a Sentinel begins with.
pub(super) struct SentinelPlan<'a> {
    pub cluster_name: &'a str,
    pub master: Ipv4Addr,
    pub replicas: &'a [Ipv4Addr],
    /// All Sentinels with their identities, itself among them.
    pub sentinels: &'a [(Seat, String)],
    pub quorum: usize,
    pub memory_bytes: i64,
}

pub(super) fn server(seat: &Seat, seats: &[Seat], passwords: &Passwords, plan: &ServerPlan<'_>) -> Result<PodSpec, GroundError> {
    let configuration = assets::render(
        "config/redis/redis.conf.j2",
        json!({
            "address": seat.address,
            "port": PORT,
            "replica_of": plan.replica_of.map(|address| address.to_string()).unwrap_or_default(),
            "cluster": plan.sharded,
            "replica_password": passwords.replica,
            "min_replicas": plan.min_replicas,
            "append_only": plan.persistence.append_only,
            "append_fsync": plan.persistence.append_fsync,
            "max_memory": format!("{}mb", plan.data_mib),
        }),
    )?;
    let mut files = vec![
        private("/dora/config/redis.conf", configuration),
        private("/dora/config/users.acl", assets::render("config/redis/users.acl.j2", accounts(passwords))?),
        script("config/redis/start-server.sh")?,
    ];
    if !plan.sentinels.is_empty() {
        let mut lines = vec![passwords.sentinel.reveal().to_owned()];
        lines.extend(plan.sentinels.iter().map(|sentinel| format!("{} {}", sentinel.ip(), sentinel.port())));
        files.push(private("/dora/config/sentinels", lines.join("\n") + "\n"));
    }
    if let Some(snapshot) = plan.snapshot {
        files.push(("/dora/config/restore.rdb".into(), snapshot.to_vec(), 0o600));
    }
    Ok(pod(seat, seats, plan.cluster_name, plan.role, files, plan.memory_bytes))
}

pub(super) fn sentinel(
    seat: &Seat,
    id: &str,
    seats: &[Seat],
    passwords: &Passwords,
    plan: &SentinelPlan<'_>,
) -> Result<PodSpec, GroundError> {
    let peers: Vec<Value> =
        plan.sentinels.iter().filter(|(peer, _)| peer != seat).map(|(peer, id)| json!({"address": peer.address, "id": id})).collect();
    let configuration = assets::render(
        "config/redis/sentinel.conf.j2",
        json!({
            "address": seat.address,
            "port": SENTINEL_PORT,
            "id": id,
            "master": plan.master,
            "master_port": PORT,
            "replicas": plan.replicas,
            "peers": peers,
            "quorum": plan.quorum,
            "sentinel_password": passwords.sentinel,
        }),
    )?;
    let files = vec![
        private("/dora/config/sentinel.conf", configuration),
        private("/dora/config/users.acl", assets::render("config/redis/sentinel-users.acl.j2", accounts(passwords))?),
        script("config/redis/start-sentinel.sh")?,
    ];
    Ok(pod(seat, seats, plan.cluster_name, "Sentinel", files, plan.memory_bytes))
}

/// Links that Redis cannot verify as the topology's rule wants it.
pub(super) fn name_exceptions(ground: &Ground, cluster: &str, links: &str) {
    ground.except(Exception {
        place: format!("{cluster}: {links}"),
        clause: "SEC-TLS-LINKS".into(),
        what: "TLS 1.3 with the authority's chain verified, but not the peer's name".into(),
        why: "Redis has no option to verify names on the connections that it opens itself; only the run's own authority is trusted".into(),
    });
}

fn accounts(passwords: &Passwords) -> Value {
    json!({
        "admin_password": passwords.admin,
        "app_password": passwords.app,
        "replica_password": passwords.replica,
        "sentinel_password": passwords.sentinel,
        "backup_password": passwords.backup,
    })
}

fn private(path: &str, text: String) -> (String, Vec<u8>, u32) {
    (path.to_owned(), text.into_bytes(), 0o600)
}

fn script(asset: &str) -> Result<(String, Vec<u8>, u32), GroundError> {
    Ok(("/dora/bin/start.sh".into(), assets::bytes(asset)?.to_vec(), 0o755))
}

fn pod(seat: &Seat, seats: &[Seat], cluster: &str, role: &str, files: Vec<(String, Vec<u8>, u32)>, memory_bytes: i64) -> PodSpec {
    PodSpec {
        seat: seat.clone(),
        cluster: cluster.to_owned(),
        role: role.to_owned(),
        image: "redis".into(),
        user: "redis".into(),
        hosts: seats.iter().map(|seat| (seat.name.clone(), seat.address)).collect(),
        files,
        env: Vec::new(),
        capabilities: Vec::new(),
        volumes: Vec::new(),
        memory_bytes,
        loads_for: Duration::ZERO,
    }
}
