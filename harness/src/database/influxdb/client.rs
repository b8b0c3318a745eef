//! A client of one node: HTTP over TLS 1.3, with user and password, and no retries of its own.

use std::{net::SocketAddr, time::Duration};

use reqwest::{Client, ClientBuilder, RequestBuilder};

use super::{Answer, answer::Body};
use crate::security::{Secret, client_config};

/// A node that has not accepted the connection by then is taken for gone.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// Who asks, whom they trust, and how the server wants to be asked.
#[derive(Debug, Clone)]
pub struct Access {
    /// The authority's certificate, PEM.
    pub authority: String,
    /// The user; an empty name sends no credentials at all.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// Whether every statement goes by GET (0.11), or by POST (1.x).
    pub statements_by_get: bool,
}

/// How many copies must have a point before it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Consistency {
    /// None yet: it is enough that the node that was asked keeps the point for those that should have it.
    Any,
    /// One.
    One,
    /// More than half.
    Quorum,
    /// All.
    All,
}

impl Consistency {
    /// All of them, from the weakest to the strongest.
    pub const LEVELS: [Self; 4] = [Self::Any, Self::One, Self::Quorum, Self::All];

    /// The word that a request carries.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::One => "one",
            Self::Quorum => "quorum",
            Self::All => "all",
        }
    }
}

/// A request failed.
#[derive(Debug, thiserror::Error)]
pub enum InfluxError {
    /// No connection, so nothing was asked.
    #[error("no connection: {0}")]
    Connect(String),
    /// The connection broke or stayed silent after the request may have been sent.
    #[error("the answer did not come: {0}")]
    Broken(String),
    /// The server refused the request.
    #[error("the server answered {status}: {text}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The server's words.
        text: String,
    },
    /// The client cannot be made, or a statement of this project's own cannot be used: nothing was sent.
    #[error("unusable client or statement: {0}")]
    Setup(String),
}

/// A client of one node. Clones share its connections.
#[derive(Debug, Clone)]
pub struct InfluxClient {
    http: Client,
    base: String,
    access: Access,
}

impl InfluxClient {
    /// A client that verifies the server against the authority and against `address`.
    ///
    /// # Errors
    /// [`InfluxError::Setup`].
    pub fn new(address: SocketAddr, access: Access, limit: Duration) -> Result<Self, InfluxError> {
        let tls = client_config(&access.authority).map_err(|error| InfluxError::Setup(error.to_string()))?;
        Self::build(Client::builder().tls_backend_preconfigured(tls).https_only(true), format!("https://{address}"), access, limit)
    }

    /// A client that does not encrypt: what a server must not serve. Not for use with anything but a generated password.
    ///
    /// # Errors
    /// [`InfluxError::Setup`].
    pub fn plaintext(address: SocketAddr, access: Access, limit: Duration) -> Result<Self, InfluxError> {
        let tls = client_config(&access.authority).map_err(|error| InfluxError::Setup(error.to_string()))?;
        Self::build(Client::builder().tls_backend_preconfigured(tls), format!("http://{address}"), access, limit)
    }

    fn build(builder: ClientBuilder, base: String, access: Access, limit: Duration) -> Result<Self, InfluxError> {
        Ok(Self { http: http(builder, limit)?, base, access })
    }

    /// One statement of the owner, times in the unit of `epoch` (`ns`, `s`) where one is given.
    ///
    /// # Errors
    /// [`InfluxError`], also when the server answered with an error in a statement.
    pub async fn query(&self, statement: &str, epoch: Option<&str>) -> Result<Answer, InfluxError> {
        self.ask(None, statement, epoch).await
    }

    /// As [`InfluxClient::query`], for an account that may enter this database only: the 0.11 line checks the request's database,
    /// not the one that the statement names.
    ///
    /// # Errors
    /// As [`InfluxClient::query`].
    pub async fn query_in(&self, database: &str, statement: &str, epoch: Option<&str>) -> Result<Answer, InfluxError> {
        self.ask(Some(database), statement, epoch).await
    }

    async fn ask(&self, database: Option<&str>, statement: &str, epoch: Option<&str>) -> Result<Answer, InfluxError> {
        let url = format!("{}/query", self.base);
        let mut parameters = vec![("q", statement)];
        parameters.extend(epoch.map(|unit| ("epoch", unit)));
        parameters.extend(database.map(|name| ("db", name)));
        let request = if self.access.statements_by_get { self.http.get(url) } else { self.http.post(url) };
        first_answer(&self.send(request.query(&parameters)).await?)
    }

    /// Writes points in line protocol (nanoseconds) into a database's default retention policy.
    ///
    /// # Errors
    /// [`InfluxError`]; only [`InfluxError::Connect`] and a refusal below 500 say that nothing was written.
    pub async fn write(&self, database: &str, lines: String, consistency: Consistency) -> Result<(), InfluxError> {
        let request = self.http.post(format!("{}/write", self.base));
        let request = request.query(&[("db", database), ("consistency", consistency.name()), ("precision", "ns")]);
        self.send(request.body(lines)).await.map(drop)
    }

    async fn send(&self, request: RequestBuilder) -> Result<String, InfluxError> {
        let Access { user, password, .. } = &self.access;
        let request = if user.is_empty() { request } else { request.basic_auth(user, Some(password.reveal())) };
        answered(request).await
    }
}

/// What all clients of this database share: no proxy, no retries, a limit for each request.
pub(super) fn http(builder: ClientBuilder, limit: Duration) -> Result<Client, InfluxError> {
    builder
        // A proxy of the host's environment must not stand between the client and its node.
        .no_proxy()
        .retry(reqwest::retry::never())
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_LIMIT)
        .timeout(limit)
        .build()
        .map_err(|error| InfluxError::Setup(error.to_string()))
}

/// Sends a request; the body of a good answer.
pub(super) async fn answered(request: RequestBuilder) -> Result<String, InfluxError> {
    let response = request.send().await.map_err(sort)?;
    let status = response.status();
    let text = response.text().await.map_err(sort)?;
    if status.is_success() {
        return Ok(text);
    }
    Err(InfluxError::Refused { status: status.as_u16(), text: text.trim().to_owned() })
}

/// The answer to the only statement of a request.
pub(super) fn first_answer(text: &str) -> Result<Answer, InfluxError> {
    let body: Body = serde_json::from_str(text).map_err(|error| InfluxError::Broken(format!("the answer is not JSON: {error}")))?;
    let answer = body.results.into_iter().next().unwrap_or_default();
    match body.error.or_else(|| answer.error.clone()) {
        Some(text) => Err(InfluxError::Refused { status: 200, text }),
        None => Ok(answer),
    }
}

/// Tells what was surely not sent from what may have been.
fn sort(error: reqwest::Error) -> InfluxError {
    let connect = error.is_connect();
    // The address would be repeated by every caller, and a statement in it may hold a password.
    let error = error.without_url();
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        words = format!("{words}: {inner}");
        cause = inner.source();
    }
    if connect { InfluxError::Connect(words) } else { InfluxError::Broken(words) }
}
