//! What a node of Neo4j is made of.

use std::{net::Ipv4Addr, time::Duration};

use dora_fixtures::{
    assets,
    topology::{Neo4j, Nodes},
};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{
    security::Secret,
    topology::{GroundError, PodSpec, Seat},
};

/// Bolt.
pub const BOLT: u16 = 7687;
/// HTTPS.
pub const HTTPS: u16 = 7473;
/// Image of cores and read replicas.
pub const CLUSTER_IMAGE: &str = "neo4j-cluster";
/// Image of a directory of accounts.
pub const DIRECTORY_IMAGE: &str = "openldap";
/// Image of the single server.
pub const COMMUNITY_IMAGE: &str = "neo4j-community";
/// The file that a server takes its configuration from.
pub const CONFIGURATION: &str = "/dora/config/neo4j.conf";
/// What clients may use; the configuration files take it from here.
pub const TLS_VERSIONS: &str = "TLSv1.3";
/// The suites for it.
pub const TLS_CIPHERS: &str = "TLS_AES_256_GCM_SHA384";

const USER: &str = "neo4j";
/// For how long a core is busy with itself, until it has found the others.
const CORE_LOADS: Duration = Duration::from_secs(12);

/// What a core or a replica is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Mode {
    /// Votes and holds the data.
    #[serde(rename = "CORE")]
    Core,
    /// Follows.
    #[serde(rename = "READ_REPLICA")]
    ReadReplica,
}

impl Mode {
    const fn role(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::ReadReplica => "read replica",
        }
    }

    /// See [`PodSpec::loads_for`]. A replica waits for a leader before its virtual machine starts.
    const fn loads_for(self) -> Duration {
        match self {
            Self::Core => CORE_LOADS,
            Self::ReadReplica => Duration::ZERO,
        }
    }
}

/// What all members of a cluster are made of.
pub struct MemberPlan<'a> {
    pub sizes: &'a Neo4j,
    pub cluster: &'a str,
    pub all: &'a [Seat],
    pub cores: &'a [Ipv4Addr],
    pub users: &'a str,
    /// What the cores begin with.
    pub backup: &'a BackupFiles,
}

/// Files of a backup: path below the backup's directory, content.
pub type BackupFiles = Vec<(String, Vec<u8>)>;

fn random_bytes<const N: usize>() -> [u8; N] {
    rand::random()
}

/// `auth.ini` of a cluster; the same on all of its servers. Its password can be used at once.
///
/// # Errors
/// [`GroundError`] when the template cannot be filled in.
pub fn cluster_users(password: &Secret) -> Result<String, GroundError> {
    let salt = random_bytes::<16>();
    let hash = Sha256::new().chain_update(salt).chain_update(password.reveal()).finalize();
    Ok(assets::render("config/neo4j-cluster/auth.ini.j2", json!({"hash": hex::encode_upper(hash), "salt": hex::encode_upper(salt)}))?)
}

/// `auth.ini` of the single server.
fn community_users(password: &Secret) -> Result<String, GroundError> {
    const ITERATIONS: usize = 1024;
    let salt = random_bytes::<32>();
    let mut hash = Sha256::new().chain_update(salt).chain_update(password.reveal()).finalize();
    for _ in 1..ITERATIONS {
        hash = Sha256::digest(hash);
    }
    Ok(assets::render("config/neo4j-community/auth.ini.j2", json!({"hash": hex::encode(hash), "salt": hex::encode(salt)}))?)
}

fn scripts(folder: &str) -> Result<Vec<(String, Vec<u8>, u32)>, GroundError> {
    ["start.sh", "backup.sh"]
        .into_iter()
        .map(|script| Ok((format!("/dora/bin/{script}"), assets::text(&format!("config/{folder}/{script}"))?.as_bytes().to_vec(), 0o755)))
        .collect()
}

/// MiB as the configuration files write them.
fn mebibytes(count: u32) -> String {
    format!("{count}m")
}

/// A core or a read replica.
pub fn member(seat: &Seat, mode: Mode, plan: &MemberPlan<'_>) -> Result<PodSpec, GroundError> {
    let MemberPlan { sizes, cluster, all, cores, users, backup } = *plan;
    let configuration = assets::render(
        "config/neo4j-cluster/neo4j.conf.j2",
        json!({
            "name": seat.name, "mode": mode, "address": seat.address, "cores": cores,
            "heap": mebibytes(sizes.heap_mib()), "page_cache": mebibytes(sizes.page_cache_mib()),
            "tls_versions": [TLS_VERSIONS], "tls_ciphers": [TLS_CIPHERS],
        }),
    )?;
    let mut files = scripts("neo4j-cluster")?;
    files.push((CONFIGURATION.into(), configuration.into_bytes(), 0o600));
    files.push(("/dora/config/auth.ini".into(), users.as_bytes().to_vec(), 0o600));
    if mode == Mode::Core {
        files.extend(backup.iter().map(|(path, content)| (format!("/dora/backup/{path}"), content.clone(), 0o644)));
    }
    let nodes = if mode == Mode::Core { &sizes.core } else { &sizes.read_replica };
    Ok(PodSpec { loads_for: mode.loads_for(), ..pod(seat, cluster, mode.role(), CLUSTER_IMAGE, all, nodes, files) })
}

/// The single server.
pub fn community(seat: &Seat, cluster: &str, sizes: &Neo4j, password: &Secret, backup: &BackupFiles) -> Result<PodSpec, GroundError> {
    let configuration = assets::render(
        "config/neo4j-community/neo4j.conf.j2",
        json!({
            "name": seat.name, "address": seat.address,
            "heap": mebibytes(sizes.heap_mib()), "page_cache": mebibytes(sizes.page_cache_mib()),
            "tls_versions": [TLS_VERSIONS], "tls_ciphers": [TLS_CIPHERS],
        }),
    )?;
    let mut files = scripts("neo4j-community")?;
    files.push((CONFIGURATION.into(), configuration.into_bytes(), 0o600));
    files.push(("/dora/config/auth.ini".into(), community_users(password)?.into_bytes(), 0o600));
    files.extend(backup.iter().map(|(path, content)| (format!("/dora/backup/{path}"), content.clone(), 0o644)));
    Ok(pod(seat, cluster, "single server", COMMUNITY_IMAGE, std::slice::from_ref(seat), &sizes.community, files))
}

fn pod(seat: &Seat, cluster: &str, role: &str, image: &str, all: &[Seat], nodes: &Nodes, files: Vec<(String, Vec<u8>, u32)>) -> PodSpec {
    PodSpec {
        seat: seat.clone(),
        cluster: cluster.to_owned(),
        role: role.to_owned(),
        image: image.to_owned(),
        user: USER.to_owned(),
        hosts: all.iter().map(|other| (other.name.clone(), other.address)).collect(),
        files,
        env: Vec::new(),
        capabilities: Vec::new(),
        volumes: Vec::new(),
        memory_bytes: nodes.memory_bytes(),
        loads_for: Duration::ZERO,
    }
}
