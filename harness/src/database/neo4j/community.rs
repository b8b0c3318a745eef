//! The single server of the current generation.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{
    client::{Dialect, GraphClient, GraphError, Login, USER, cypher},
    pods::{self, BOLT, BackupFiles},
};
use crate::{
    database::{Cluster, ConnectionInfo},
    engine::Engine,
    security::{Secret, generate_secret},
    topology::{Ground, GroundError, Node, NodeHealth, NodeRecord},
};

const NAME: &str = "neo4j-community";
const START_LIMIT: Duration = Duration::from_secs(120);
const QUESTION_LIMIT: Duration = Duration::from_secs(3);

/// A started single server.
#[derive(Debug)]
pub struct CommunityServer {
    node: Node,
    authority: String,
    password: Secret,
}

/// The server as data, secrets included.
#[derive(Debug, Serialize, Deserialize)]
pub struct CommunityRecord {
    node: NodeRecord,
    authority: String,
    password: Secret,
}

impl CommunityServer {
    /// Starts the server with a new password, from empty data or from a dump. Its name starts with `prefix`.
    ///
    /// # Errors
    /// [`GroundError`].
    pub async fn start(ground: &Ground, prefix: &str, backup: BackupFiles) -> Result<Self, GroundError> {
        let sizes = &ground.topology().neo4j;
        let seat = ground.seats(&[sizes.community.only(prefix)])?.remove(0);
        let password = generate_secret();
        let node = ground.start(pods::community(&seat, NAME, sizes, &password, &backup)?).await?;
        let server = Self { node, authority: ground.authority().certificate().to_owned(), password };
        Box::pin(server.wait_until_serving(ground)).await?;
        Ok(server)
    }

    async fn wait_until_serving(&self, ground: &Ground) -> Result<(), GroundError> {
        ground.wait_ready(self.node.name(), "ready", None, START_LIMIT, || async { self.version().await.map(drop) }).await
    }

    /// The server as data.
    pub fn record(&self) -> CommunityRecord {
        CommunityRecord { node: self.node.record(), authority: self.authority.clone(), password: self.password.clone() }
    }

    /// A handle of the server that the record describes.
    pub fn attach(engine: &Engine, record: CommunityRecord) -> Self {
        Self { node: Node::attach(engine, record.node), authority: record.authority, password: record.password }
    }

    /// The node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The password of this server.
    pub fn password(&self) -> &Secret {
        &self.password
    }

    /// How its clients log in.
    pub fn login(&self, limit: Duration) -> Login {
        Login { authority: self.authority.clone(), password: Some(self.password.clone()), limit }
    }

    /// A client.
    ///
    /// # Errors
    /// [`GraphError`].
    pub async fn client(&self, limit: Duration) -> Result<GraphClient, GraphError> {
        GraphClient::connect(Dialect::Five, self.node.socket(BOLT), &self.login(limit)).await
    }

    /// The version that it says it is.
    ///
    /// # Errors
    /// [`GraphError`].
    pub async fn version(&self) -> Result<String, GraphError> {
        let rows = self.client(QUESTION_LIMIT).await?.ask(cypher("monitoring/version")?).await?;
        rows.first().and_then(|row| row["version"].as_str()).map(ToOwned::to_owned).ok_or_else(|| GraphError::Broken("no version".into()))
    }
}

#[async_trait]
impl Cluster for CommunityServer {
    fn name(&self) -> &str {
        NAME
    }

    fn nodes(&self) -> Vec<Node> {
        vec![self.node.clone()]
    }

    async fn health(&self) -> Vec<NodeHealth> {
        let version = self.version().await;
        let healthy = version.is_ok();
        let observed = version.map_or_else(|error| format!("unreachable ({error})"), |version| format!("single server ({version})"));
        vec![NodeHealth { node: self.node.name().to_owned(), expected: "single server".into(), observed, healthy }]
    }

    fn connections(&self) -> Vec<ConnectionInfo> {
        let (password, address) = (self.password.reveal(), self.node.address());
        vec![ConnectionInfo {
            name: NAME.into(),
            command: format!("cypher-shell -a bolt+s://{address}:{BOLT} -u {USER} -p '{password}'"),
            url: format!("bolt+s://{USER}:{password}@{address}:{BOLT} (CA {{ca}})"),
        }]
    }
}
