//! Why a scenario could not be carried out. None of these is a verdict on the platform.

use dora_harness::{
    engine::EngineError,
    fault::FaultError,
    history::HistoryError,
    network::NetworkError,
    patience::DeadlineError,
    security::TlsError,
    service::openbao::{OpenbaoError, PkiError},
    topology::GroundError,
};

/// A scenario could not be carried out to its end; its verdict is `inconclusive`.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// Something could not be started.
    #[error(transparent)]
    Ground(#[from] GroundError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A fault.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// The history.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// Something was waited for in vain.
    #[error(transparent)]
    Deadline(#[from] DeadlineError),
    /// TLS material.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The key manager.
    #[error(transparent)]
    Openbao(#[from] OpenbaoError),
    /// The authority that the key manager keeps.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// Zones and their rules.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A file of the project.
    #[error(transparent)]
    Asset(#[from] dora_fixtures::assets::AssetError),
    /// A database's client.
    #[error("failed to {what}: {reason}")]
    Client {
        /// What was asked, as a verb phrase.
        what: String,
        /// The client's words.
        reason: String,
    },
    /// A part of the platform that the scenario needs is not there: `not evidenced`, with this reason.
    #[error("{0}")]
    Missing(String),
}

impl ScenarioError {
    /// Wraps a client's error.
    pub fn client(what: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::Client { what: what.into(), reason: reason.to_string() }
    }
}
