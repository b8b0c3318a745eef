//! The server's HTTP API, as one client sees one node.

use std::{net::SocketAddr, time::Duration};

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    patience::stretched,
    security::{Secret, TlsError, client_config, remember},
};

/// The port of the API.
pub const PORT: u16 = 8200;
/// One question about the health.
const HEALTH_LIMIT: Duration = Duration::from_secs(3);
/// One request that writes. Initialising syncs a new raft store to a disk that others boot from, and must not be tried twice.
const WRITE_LIMIT: Duration = Duration::from_secs(60);

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
        what: String,
        /// The client's words, causes included.
        reason: String,
    },
    /// An answer that is not the wanted one.
    #[error("failed to {what}: the server answered {status}: {body}")]
    Refused {
        /// What was asked, as a verb phrase.
        what: String,
        /// HTTP status.
        status: StatusCode,
        /// What it said.
        body: String,
    },
    /// No node is active.
    #[error("failed to find the active server: {seen}; ask `dora health`")]
    NoLeader {
        /// What each node said.
        seen: String,
    },
}

impl OpenbaoError {
    fn request(what: &str) -> impl Fn(reqwest::Error) -> Self {
        let what = what.to_owned();
        move |error| {
            // The client's own text does not say why.
            let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
            let reason = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
            Self::Request { what: what.clone(), reason }
        }
    }
}

/// What the server says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerState {
    /// Unsealed, and the one that answers.
    Active,
    /// Unsealed, and ready to become the active one.
    Standby,
    /// Without a store.
    NotInitialised,
    /// Without its key.
    Sealed,
    /// Anything else.
    Unknown,
}

impl ServerState {
    /// The status code of `sys/health` is its answer.
    fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            200 => Self::Active,
            429 | 473 => Self::Standby,
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

/// A client of one node.
#[derive(Debug, Clone)]
pub struct Api {
    client: Client,
    base: String,
}

impl Api {
    pub(super) fn new(address: SocketAddr, authority: &str) -> Result<Self, OpenbaoError> {
        let client = Client::builder()
            .tls_backend_preconfigured(client_config(authority)?)
            .no_proxy()
            // A node that is cut off sends no reset.
            .connect_timeout(HEALTH_LIMIT)
            .build()
            .map_err(OpenbaoError::request("set the client up"))?;
        Ok(Self { client, base: format!("https://{address}/v1") })
    }

    /// The node's state, from the status code of `sys/health`.
    ///
    /// # Errors
    /// [`OpenbaoError::Request`] when it does not answer.
    pub async fn health(&self) -> Result<ServerState, OpenbaoError> {
        let question = self.client.get(format!("{}/sys/health", self.base)).timeout(stretched(HEALTH_LIMIT));
        let answer = question.send().await.map_err(OpenbaoError::request("ask for the health"))?;
        Ok(ServerState::of(answer.status()))
    }

    /// The root token. The recovery key, which would make another one, is dropped: a run's server is never recovered.
    pub(super) async fn initialise(&self) -> Result<Secret, OpenbaoError> {
        let what = "initialise";
        let body = json!({ "recovery_shares": 1, "recovery_threshold": 1 });
        let answer = self.send(what, Method::PUT, "sys/init", None, Some(&body)).await?;
        let token = answer["root_token"].as_str().map(|token| remember("OpenBao's root token", token.to_owned()));
        token.ok_or(OpenbaoError::Refused { what: what.into(), status: StatusCode::OK, body: "no root token".into() })
    }

    /// Reads `path`.
    ///
    /// # Errors
    /// [`OpenbaoError`].
    pub async fn read(&self, token: &Secret, path: &str) -> Result<Value, OpenbaoError> {
        self.send(&format!("read {path}"), Method::GET, path, Some(token), None).await
    }

    /// Writes to `path` and returns the answer, which may be nothing.
    ///
    /// # Errors
    /// [`OpenbaoError`].
    pub async fn write(&self, token: &Secret, path: &str, body: &Value) -> Result<Value, OpenbaoError> {
        self.send(&format!("write {path}"), Method::POST, path, Some(token), Some(body)).await
    }

    /// Deletes `path`.
    ///
    /// # Errors
    /// [`OpenbaoError`].
    pub async fn delete(&self, token: &Secret, path: &str) -> Result<(), OpenbaoError> {
        self.send(&format!("delete {path}"), Method::DELETE, path, Some(token), None).await.map(drop)
    }

    async fn send(
        &self,
        what: &str,
        method: Method,
        path: &str,
        token: Option<&Secret>,
        body: Option<&Value>,
    ) -> Result<Value, OpenbaoError> {
        let failed = OpenbaoError::request(what);
        let mut request = self.client.request(method, format!("{}/{path}", self.base)).timeout(stretched(WRITE_LIMIT));
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(token) = token {
            request = request.header("X-Vault-Token", token.reveal());
        }
        let answer = request.send().await.map_err(&failed)?;
        let status = answer.status();
        let body = answer.text().await.map_err(&failed)?;
        if !status.is_success() {
            return Err(OpenbaoError::Refused { what: what.into(), status, body });
        }
        // Some requests are answered with nothing.
        Ok(serde_json::from_str(&body).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::{Authority, generate_secret};

    #[tokio::test]
    async fn a_server_that_is_not_there_is_told_with_what_was_asked_and_why() -> Result<(), Box<dyn std::error::Error>> {
        // A port that was free a moment ago.
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let token = generate_secret();
        let api = Api::new(address, Authority::new("one")?.certificate())?;
        let Err(error) = api.read(&token, "sys/mounts").await else { return Err("nobody answers there".into()) };
        assert!(matches!(error, OpenbaoError::Request { .. }));
        let text = error.to_string();
        assert!(text.starts_with("failed to read sys/mounts: ") && text.contains("refused"), "{text}");
        assert!(!text.contains(token.reveal()));
        Ok(())
    }

    #[test]
    fn an_authority_that_is_none_is_refused_before_anything_is_asked() {
        let api = Api::new(SocketAddr::from(([127, 0, 0, 1], PORT)), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        assert!(matches!(api, Err(OpenbaoError::Tls(_))));
    }

    #[test]
    fn the_status_code_of_the_health_is_the_state() -> Result<(), Box<dyn std::error::Error>> {
        let states =
            [(200, ServerState::Active), (429, ServerState::Standby), (501, ServerState::NotInitialised), (503, ServerState::Sealed)];
        for (code, state) in states {
            assert_eq!(ServerState::of(StatusCode::from_u16(code)?), state);
        }
        Ok(())
    }
}
