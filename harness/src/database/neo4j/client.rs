//! One client for both generations: statements in, rows as JSON out.

use std::{fmt, net::SocketAddr, time::Duration};

use dora_fixtures::assets::{self, AssetError};
use serde_json::{Map, Value};

use super::{bolt_one::BoltOne, modern::Modern};
use crate::security::{Secret, TlsError};

/// The user that every server has.
pub const USER: &str = "neo4j";

/// A statement or a connection failed. The kinds differ in what they say about the statement's effect.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// No connection: nothing was sent.
    #[error("failed to connect: {0}")]
    Connect(String),
    /// The server refused the statement, in its own words.
    #[error("{code}: {message}")]
    Refused {
        /// Such as `Neo.ClientError.Cluster.NotALeader`.
        code: String,
        /// The server's words.
        message: String,
    },
    /// The connection broke after sending, or no answer came: the statement may have been applied.
    #[error("no answer: {0}")]
    Broken(String),
    /// The transaction did not come to its commit: nothing of it was applied.
    #[error("not committed: {0}")]
    Uncommitted(Box<GraphError>),
    /// No member says that it is the leader.
    #[error("no leader: {0}")]
    NoLeader(String),
    /// A statement's file: nothing was sent.
    #[error(transparent)]
    Asset(#[from] AssetError),
}

impl GraphError {
    /// Whether the statement was surely not applied.
    pub fn is_surely_not_applied(&self) -> bool {
        match self {
            Self::Connect(_) | Self::NoLeader(_) | Self::Uncommitted(_) | Self::Asset(_) => true,
            // A failed replication may have reached a majority after all.
            Self::Refused { code, .. } => code.starts_with("Neo.ClientError") && !code.ends_with("ReplicationFailure"),
            Self::Broken(_) => false,
        }
    }

    /// Whether the server said that it does not take writes: whoever believed that it leads needs a new routing table.
    pub fn is_not_a_leader(&self) -> bool {
        match self {
            Self::Refused { code, .. } => code.ends_with("Cluster.NotALeader"),
            Self::Uncommitted(cause) => cause.is_not_a_leader(),
            Self::Connect(_) | Self::Broken(_) | Self::NoLeader(_) | Self::Asset(_) => false,
        }
    }

    /// Whether the connection can be used for the next statement.
    pub fn leaves_usable(&self) -> bool {
        match self {
            Self::Refused { .. } | Self::Asset(_) => true,
            Self::Uncommitted(cause) => cause.leaves_usable(),
            Self::Connect(_) | Self::Broken(_) | Self::NoLeader(_) => false,
        }
    }
}

impl From<TlsError> for GraphError {
    fn from(error: TlsError) -> Self {
        Self::Connect(error.to_string())
    }
}

/// A statement of this project's own, by its path below `schema/neo4j` without ending.
///
/// # Errors
/// [`AssetError`] when there is no such file.
pub fn cypher(path: &str) -> Result<&'static str, AssetError> {
    assets::text(&format!("schema/neo4j/{path}.cypher"))
}

/// Rows of an answer: column name to value.
pub type Rows = Vec<Map<String, Value>>;

/// Where to log in, and what to trust.
#[derive(Clone)]
pub struct Login {
    /// The authority whose certificates are trusted, PEM.
    pub authority: String,
    /// The password of [`USER`]; `None` sends no credentials.
    pub password: Option<Secret>,
    /// How long a connection or a statement may take.
    pub limit: Duration,
}

impl fmt::Debug for Login {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Login").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// Which protocol generation a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Dialect {
    /// Bolt 1, Cypher 3.x.
    Three,
    /// Bolt 5, Cypher 5.
    Five,
}

/// A logged-in connection. The driver's futures are large, so they are boxed.
#[derive(Debug)]
pub enum GraphClient {
    /// To a 3.x server.
    One(Box<BoltOne>),
    /// To a 5.x server, through the official protocol's Rust driver.
    Modern(Modern),
}

impl GraphClient {
    /// Connects over TLS 1.3, verifies the certificate against the address, logs in.
    ///
    /// # Errors
    /// [`GraphError`].
    pub async fn connect(dialect: Dialect, address: SocketAddr, login: &Login) -> Result<Self, GraphError> {
        match dialect {
            Dialect::Three => Ok(Self::One(Box::new(BoltOne::connect(address, login).await?))),
            Dialect::Five => Ok(Self::Modern(Box::pin(Modern::connect(address, login)).await?)),
        }
    }

    /// The same without TLS: what a server must refuse.
    ///
    /// # Errors
    /// [`GraphError`].
    pub async fn connect_plaintext(dialect: Dialect, address: SocketAddr, login: &Login) -> Result<Self, GraphError> {
        match dialect {
            Dialect::Three => Ok(Self::One(Box::new(BoltOne::connect_plaintext(address, login).await?))),
            Dialect::Five => Ok(Self::Modern(Box::pin(Modern::connect_plaintext(address, login)).await?)),
        }
    }

    /// Runs one statement in a transaction of its own and returns all rows; when this is `Ok` it is committed.
    ///
    /// # Errors
    /// [`GraphError`].
    pub async fn run(&mut self, statement: &str, parameters: &Map<String, Value>) -> Result<Rows, GraphError> {
        match self {
            Self::One(client) => client.run(statement, parameters).await,
            Self::Modern(client) => Box::pin(client.run(statement, parameters)).await,
        }
    }

    /// As [`GraphClient::run`] without parameters.
    ///
    /// # Errors
    /// [`GraphError`].
    pub async fn ask(&mut self, statement: &str) -> Result<Rows, GraphError> {
        self.run(statement, &Map::new()).await
    }
}
