//! The server and its HTTP API.

use std::time::Duration;

use async_trait::async_trait;
use dora_fixtures::assets;
use reqwest::{Client, Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    database::{Cluster, ConnectionInfo},
    engine::Engine,
    patience::stretched,
    security::{Secret, TlsError, client_config},
    topology::{Ground, GroundError, Node, NodeHealth, NodeRecord, PodSpec},
};

/// The port of the API.
const PORT: u16 = 8200;
/// The server's memory: its program text is large, its data are not.
const MEMORY_BYTES: i64 = 256 << 20;
/// One question about the health.
const HEALTH_LIMIT: Duration = Duration::from_secs(5);
/// One request that writes. Initialising syncs a new raft store to a disk that others boot from, and must not be tried twice.
const WRITE_LIMIT: Duration = Duration::from_secs(60);
/// From the start of the container to an answer.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Where the versioned key-value engine is mounted.
const KV_MOUNT: &str = "kv";
/// The cluster's name.
const CLUSTER: &str = "openbao";

/// A request to the server failed.
#[derive(Debug, thiserror::Error)]
pub enum OpenbaoError {
    /// The client cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No answer.
    #[error("failed to {what}: {reason}")]
    Request {
        /// What was asked, as a verb phrase.
        what: &'static str,
        /// The client's words, causes included.
        reason: String,
    },
    /// An answer that is not the wanted one.
    #[error("failed to {what}: the server answered {status}: {body}")]
    Refused {
        /// What was asked, as a verb phrase.
        what: &'static str,
        /// HTTP status.
        status: StatusCode,
        /// What it said.
        body: String,
    },
}

impl OpenbaoError {
    fn request(what: &'static str) -> impl Fn(reqwest::Error) -> Self {
        move |error| {
            // The client's own text does not say why.
            let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
            let reason = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
            Self::Request { what, reason }
        }
    }
}

/// The server as data.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OpenbaoRecord {
    node: NodeRecord,
    authority: String,
    root_token: Secret,
}

/// A running, unsealed server.
#[derive(Debug)]
pub struct Openbao {
    record: OpenbaoRecord,
    node: Node,
    api: Api,
}

impl Openbao {
    /// A handle of the server that the record describes.
    ///
    /// # Errors
    /// [`OpenbaoError`] when the client cannot be set up.
    pub fn attach(engine: &Engine, record: OpenbaoRecord) -> Result<Self, OpenbaoError> {
        let node = Node::attach(engine, record.node.clone());
        let api = Api::new(&node, &record.authority)?;
        Ok(Self { record, node, api })
    }

    /// The server as data, secrets included.
    pub fn record(&self) -> &OpenbaoRecord {
        &self.record
    }

    /// Starts the server, initialises it, waits until it has unsealed itself and mounts a versioned key-value engine.
    ///
    /// # Errors
    /// [`GroundError`].
    pub async fn start(ground: &Ground, name: &str) -> Result<Self, GroundError> {
        let failed = |error: OpenbaoError| GroundError::database(CLUSTER, error);
        let seat = ground.seats(&[name.to_owned()])?.remove(0);
        let config = assets::render("config/openbao/openbao.hcl.j2", json!({ "name": name, "address": seat.address, "tls_min": "tls13" }))?;
        let start = assets::text("config/openbao/start.sh")?;
        let seal_key: [u8; 32] = rand::random();
        let spec = PodSpec {
            seat: seat.clone(),
            cluster: CLUSTER.into(),
            role: "secret store".into(),
            image: "openbao".into(),
            user: "openbao".into(),
            hosts: vec![(seat.name, seat.address)],
            files: vec![
                ("/dora/config/openbao.hcl".into(), config.into_bytes(), 0o600),
                ("/dora/config/seal.key".into(), seal_key.to_vec(), 0o600),
                ("/dora/bin/start.sh".into(), start.as_bytes().to_vec(), 0o755),
            ],
            env: Vec::new(),
            capabilities: Vec::new(),
            volumes: Vec::new(),
            memory_bytes: MEMORY_BYTES,
        };
        let node = ground.start(spec).await?;
        let authority = ground.authority().certificate().to_owned();
        let api = Api::new(&node, &authority).map_err(failed)?;
        ground.wait_ready(name, "listening", None, START_LIMIT, || api.health()).await?;
        let root_token = ground.boot().phase(name, "initialise", None, api.initialise()).await.map_err(failed)?;
        ground
            .wait_ready(name, "unsealed", None, START_LIMIT, || async {
                match api.health().await {
                    Ok(ServerState::Active) => Ok(()),
                    Ok(other) => Err(other.to_string()),
                    Err(error) => Err(error.to_string()),
                }
            })
            .await?;
        api.mount(&root_token).await.map_err(failed)?;
        let record = OpenbaoRecord { node: node.record(), authority, root_token };
        Ok(Self { record, node, api })
    }
}

/// What the server says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ServerState {
    Active,
    Standby,
    NotInitialised,
    Sealed,
    Unknown,
}

impl ServerState {
    /// The status code of `sys/health` is its answer.
    fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            200 => Self::Active,
            429 => Self::Standby,
            501 => Self::NotInitialised,
            503 => Self::Sealed,
            _ => Self::Unknown,
        }
    }
}

impl std::fmt::Display for ServerState {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Active => "active",
            Self::Standby => "standby",
            Self::NotInitialised => "not initialised",
            Self::Sealed => "sealed",
            Self::Unknown => "in an unknown state",
        })
    }
}

#[derive(Debug, Clone)]
struct Api {
    client: Client,
    base: String,
}

impl Api {
    fn new(node: &Node, authority: &str) -> Result<Self, OpenbaoError> {
        let client = Client::builder()
            .tls_backend_preconfigured(client_config(authority)?)
            .no_proxy()
            .build()
            .map_err(OpenbaoError::request("set the client up"))?;
        Ok(Self { client, base: format!("https://{}/v1", node.socket(PORT)) })
    }

    async fn health(&self) -> Result<ServerState, OpenbaoError> {
        let question = self.client.get(format!("{}/sys/health", self.base)).timeout(stretched(HEALTH_LIMIT));
        let answer = question.send().await.map_err(OpenbaoError::request("ask for the health"))?;
        Ok(ServerState::of(answer.status()))
    }

    /// The root token. The recovery key, which would make another one, is dropped: a run's server is never recovered.
    async fn initialise(&self) -> Result<Secret, OpenbaoError> {
        let what = "initialise";
        let body = json!({ "recovery_shares": 1, "recovery_threshold": 1 });
        let answer = self.send(what, Method::PUT, "sys/init", None, &body).await?;
        let token = answer["root_token"].as_str().map(|token| Secret::from(token.to_owned()));
        token.ok_or(OpenbaoError::Refused { what, status: StatusCode::OK, body: "no root token".into() })
    }

    async fn mount(&self, token: &Secret) -> Result<(), OpenbaoError> {
        let body = json!({ "type": "kv", "options": { "version": "2" } });
        self.send("mount the key-value engine", Method::POST, &format!("sys/mounts/{KV_MOUNT}"), Some(token), &body).await?;
        Ok(())
    }

    async fn send(
        &self,
        what: &'static str,
        method: Method,
        path: &str,
        token: Option<&Secret>,
        body: &Value,
    ) -> Result<Value, OpenbaoError> {
        let failed = OpenbaoError::request(what);
        let mut request = self.client.request(method, format!("{}/{path}", self.base)).timeout(stretched(WRITE_LIMIT)).json(body);
        if let Some(token) = token {
            request = request.header("X-Vault-Token", token.reveal());
        }
        let answer = request.send().await.map_err(&failed)?;
        let status = answer.status();
        let body = answer.text().await.map_err(&failed)?;
        if !status.is_success() {
            return Err(OpenbaoError::Refused { what, status, body });
        }
        // Some requests are answered with nothing.
        Ok(serde_json::from_str(&body).unwrap_or_default())
    }
}

#[async_trait]
impl Cluster for Openbao {
    fn name(&self) -> &'static str {
        CLUSTER
    }

    fn nodes(&self) -> Vec<Node> {
        vec![self.node.clone()]
    }

    async fn health(&self) -> Vec<NodeHealth> {
        let state = self.api.health().await;
        let healthy = matches!(state, Ok(ServerState::Active));
        let observed = state.map_or_else(|error| error.to_string(), |state| state.to_string());
        vec![NodeHealth { node: self.node.name().to_owned(), expected: ServerState::Active.to_string(), observed, healthy }]
    }

    fn connections(&self) -> Vec<ConnectionInfo> {
        let url = format!("https://{}", self.node.socket(PORT));
        let token = self.record.root_token.reveal();
        vec![ConnectionInfo {
            name: format!("{CLUSTER} (secrets under {KV_MOUNT}/)"),
            command: format!("BAO_ADDR={url} BAO_CACERT={{ca}} BAO_TOKEN={token} bao status"),
            url,
        }]
    }
}
