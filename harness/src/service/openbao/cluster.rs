//! The servers: one node that unseals itself, or three that keep one store by raft.

use std::{net::Ipv4Addr, time::Duration};

use async_trait::async_trait;
use dora_fixtures::assets;
use futures_util::future::{join_all, try_join_all};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::api::{Api, OpenbaoError, PORT, ServerState};
use crate::{
    database::{Cluster, ConnectionInfo},
    engine::{Engine, EngineError},
    security::{Secret, remember},
    topology::{Exception, Ground, GroundError, Node, NodeHealth, NodeRecord, PodSpec, Seat},
};

/// From the start of the container to an answer.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Where the versioned key-value engine is mounted.
pub const KV_MOUNT: &str = "kv";
/// The cluster's name.
const CLUSTER: &str = "openbao";
/// Every request and answer of one node, one JSON object a line; secrets in it are hashed.
pub const AUDIT_LOG: &str = "/dora/data/audit.log";

/// The cluster as data.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OpenbaoRecord {
    nodes: Vec<NodeRecord>,
    authority: String,
    root_token: Secret,
}

/// A running, unsealed cluster.
#[derive(Debug)]
pub struct Openbao {
    record: OpenbaoRecord,
    nodes: Vec<Node>,
    apis: Vec<Api>,
}

impl Openbao {
    /// A handle of the cluster that the record describes.
    ///
    /// # Errors
    /// [`OpenbaoError`] when the client cannot be set up.
    pub fn attach(engine: &Engine, record: OpenbaoRecord) -> Result<Self, OpenbaoError> {
        let nodes: Vec<Node> = record.nodes.iter().map(|node| Node::attach(engine, node.clone())).collect();
        let apis = nodes.iter().map(|node| Api::new(node.socket(PORT), &record.authority)).collect::<Result<_, _>>()?;
        Ok(Self { record, nodes, apis })
    }

    /// The cluster as data, secrets included.
    pub fn record(&self) -> &OpenbaoRecord {
        &self.record
    }

    /// Starts the nodes, initialises the first, waits until all have unsealed themselves (the others join the first one's store) and mounts
    /// a versioned key-value engine.
    ///
    /// # Errors
    /// [`GroundError`].
    pub async fn start(ground: &Ground, names: &[String]) -> Result<Self, GroundError> {
        let failed = |error: OpenbaoError| GroundError::database(CLUSTER, error);
        let seats = ground.seats(names)?;
        let seal_key: [u8; 32] = rand::random();
        // The file holds the bytes themselves: the search for secrets looks for these, too, and for their base 64.
        remember("OpenBao's seal key", hex::encode(seal_key));
        let memory_bytes = ground.topology().openbao.server.memory_bytes();
        let specs = seats.iter().map(|seat| spec(seat, &seats, &seal_key, memory_bytes)).collect::<Result<Vec<_>, _>>()?;
        let nodes = try_join_all(specs.into_iter().map(|spec| ground.start(spec))).await?;
        let authority = ground.authority().certificate().to_owned();
        let apis = nodes.iter().map(|node| Api::new(node.socket(PORT), &authority)).collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let first = nodes[0].name().to_owned();
        ground.wait_ready(&first, "listening", None, START_LIMIT, || apis[0].health()).await?;
        let root_token = ground.boot().phase(&first, "initialise", None, apis[0].initialise()).await.map_err(failed)?;
        let record = OpenbaoRecord { nodes: nodes.iter().map(Node::record).collect(), authority, root_token };
        let cluster = Self { record, nodes, apis };
        let first = first.as_str();
        let unsealed = cluster.nodes.iter().zip(&cluster.apis).map(|(node, api)| async move {
            let waited_for = Some(first).filter(|first| *first != node.name());
            ground
                .wait_ready(node.name(), "unsealed", waited_for, START_LIMIT, || async {
                    match api.health().await {
                        Ok(ServerState::Active | ServerState::Standby) => Ok(()),
                        Ok(other) => Err(other.to_string()),
                        Err(error) => Err(error.to_string()),
                    }
                })
                .await
        });
        try_join_all(unsealed).await?;
        // A server that just became the active one answers some requests with an internal error for a moment.
        ground.wait_ready(first, "key-value engine", None, START_LIMIT, || cluster.mount_key_values()).await?;
        name_exceptions(ground);
        Ok(cluster)
    }

    async fn mount_key_values(&self) -> Result<(), OpenbaoError> {
        let mounts = self.read("sys/mounts").await?;
        if mounts.pointer(&format!("/data/{KV_MOUNT}~1")).is_none() {
            self.write(&format!("sys/mounts/{KV_MOUNT}"), &json!({ "type": "kv", "options": { "version": "2" } })).await?;
        }
        Ok(())
    }

    /// What may do everything.
    pub fn root_token(&self) -> &Secret {
        &self.record.root_token
    }

    /// The client of one node.
    pub fn api(&self, node: &Node) -> Option<&Api> {
        self.nodes.iter().zip(&self.apis).find(|(known, _)| known.name() == node.name()).map(|(_, api)| api)
    }

    /// The node that says of itself that it is the active one, with its client.
    ///
    /// # Errors
    /// What every node said, when none is.
    pub async fn active(&self) -> Result<(&Node, &Api), OpenbaoError> {
        let states = join_all(self.apis.iter().map(Api::health)).await;
        let at = states.iter().position(|state| matches!(state, Ok(ServerState::Active)));
        at.map(|at| (&self.nodes[at], &self.apis[at])).ok_or_else(|| OpenbaoError::NoLeader {
            seen: self
                .nodes
                .iter()
                .zip(states)
                .map(|(node, state)| format!("{} is {}", node.name(), words(state)))
                .collect::<Vec<_>>()
                .join(", "),
        })
    }

    /// Reads as root at the active node.
    ///
    /// # Errors
    /// [`OpenbaoError`].
    pub async fn read(&self, path: &str) -> Result<Value, OpenbaoError> {
        self.active().await?.1.read(self.root_token(), path).await
    }

    /// Writes as root at the active node.
    ///
    /// # Errors
    /// [`OpenbaoError`].
    pub async fn write(&self, path: &str, body: &Value) -> Result<Value, OpenbaoError> {
        self.active().await?.1.write(self.root_token(), path, body).await
    }

    /// Deletes as root at the active node.
    ///
    /// # Errors
    /// [`OpenbaoError`].
    pub async fn delete(&self, path: &str) -> Result<(), OpenbaoError> {
        self.active().await?.1.delete(self.root_token(), path).await
    }

    /// Removes the nodes with their data.
    ///
    /// # Errors
    /// Any [`EngineError`] of the requests.
    pub async fn destroy(&self) -> Result<(), EngineError> {
        try_join_all(self.nodes.iter().map(Node::destroy)).await.map(drop)
    }
}

/// What is answered without a token.
fn name_exceptions(ground: &Ground) {
    ground.except(Exception {
        place: format!("{CLUSTER}: port {PORT} of every server, sys/health, sys/seal-status, sys/leader and sys/init"),
        clause: "SEC-KMS".into(),
        what: "whether a server is initialised, sealed or active, and its release, are told without a token".into(),
        why: "OpenBao demands none for them: load balancers ask, and a sealed server could check none; no secret is in the answers".into(),
    });
    ground.except(Exception {
        place: format!("{CLUSTER}: from the first server's first answer to its initialisation"),
        clause: "SEC-KMS".into(),
        what: "it can be initialised without a token".into(),
        why: "there is none before; it is done with the first answer, before any secret is there".into(),
    });
}

fn words(state: Result<ServerState, OpenbaoError>) -> String {
    state.map_or_else(|error| error.to_string(), |state| state.to_string())
}

fn spec(seat: &Seat, seats: &[Seat], seal_key: &[u8], memory_bytes: i64) -> Result<PodSpec, GroundError> {
    let peers: Vec<Ipv4Addr> = seats.iter().filter(|peer| *peer != seat).map(|peer| peer.address).collect();
    let variables = json!({ "name": seat.name, "address": seat.address, "peers": peers, "tls_min": "tls13" });
    let config = assets::render("config/openbao/openbao.hcl.j2", variables)?;
    Ok(PodSpec {
        seat: seat.clone(),
        cluster: CLUSTER.into(),
        role: "secret store".into(),
        image: "openbao".into(),
        user: "openbao".into(),
        hosts: seats.iter().map(|seat| (seat.name.clone(), seat.address)).collect(),
        files: vec![
            ("/dora/config/openbao.hcl".into(), config.into_bytes(), 0o600),
            ("/dora/config/seal.key".into(), seal_key.to_vec(), 0o600),
            ("/dora/bin/start.sh".into(), assets::bytes("config/openbao/start.sh")?.to_vec(), 0o755),
        ],
        env: Vec::new(),
        capabilities: Vec::new(),
        volumes: Vec::new(),
        memory_bytes,
        loads_for: Duration::ZERO,
    })
}

#[async_trait]
impl Cluster for Openbao {
    fn name(&self) -> &'static str {
        CLUSTER
    }

    fn nodes(&self) -> Vec<Node> {
        self.nodes.clone()
    }

    /// Each node is active or standby, and exactly one is active.
    async fn health(&self) -> Vec<NodeHealth> {
        let states = join_all(self.apis.iter().map(Api::health)).await;
        let active = states.iter().filter(|state| matches!(state, Ok(ServerState::Active))).count();
        let expected = if self.nodes.len() == 1 { "active" } else { "active or standby" };
        let health = |(node, state): (&Node, Result<ServerState, OpenbaoError>)| {
            let has_role = matches!(state, Ok(ServerState::Active | ServerState::Standby));
            let note = if has_role && active != 1 { format!(", {active} are active") } else { String::new() };
            NodeHealth {
                node: node.name().to_owned(),
                expected: expected.to_owned(),
                observed: words(state) + &note,
                healthy: has_role && active == 1,
            }
        };
        self.nodes.iter().zip(states).map(health).collect()
    }

    fn connections(&self) -> Vec<ConnectionInfo> {
        let token = self.record.root_token.reveal();
        let info = |node: &Node| {
            let url = format!("https://{}", node.socket(PORT));
            ConnectionInfo {
                name: format!("{CLUSTER} ({}, secrets under {KV_MOUNT}/)", node.name()),
                command: format!("BAO_ADDR={url} BAO_CACERT={{ca}} BAO_TOKEN={token} bao status"),
                url,
            }
        };
        self.nodes.iter().map(info).collect()
    }
}
