//! Why a scenario could not be carried out. None of these is a verdict on the platform.

use dora_fixtures::{assets::AssetError, catalogue::Unpromised};
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
    Asset(#[from] AssetError),
    /// A number that only the catalogue may state.
    #[error(transparent)]
    Unpromised(#[from] Unpromised),
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

/// What a database and its commands say, in whatever case, when the engine's disk is full.
const DISK_FULL: &str = "no space left on device";

impl ScenarioError {
    /// Wraps a client's error.
    pub fn client(what: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::Client { what: what.into(), reason: reason.to_string() }
    }

    /// Whether a database, or a command of its own, refused something, failed at it or did not do it in time. Everything else says nothing of
    /// the platform, it only kept the harness from finding out: the engine with its disk and addresses, the harness's own files and certificates.
    ///
    /// A container that the engine does not start is the engine's failure: the database in it has read nothing yet.
    pub fn is_of_the_database(&self) -> bool {
        if self.to_string().to_lowercase().contains(DISK_FULL) {
            return false;
        }
        match self {
            Self::Client { .. } | Self::Deadline(_) => true,
            Self::Engine(error) => ran_in_a_node(error),
            Self::Ground(error) => match error {
                GroundError::Database { .. } | GroundError::Deadline(_) => true,
                GroundError::Engine(error) => ran_in_a_node(error),
                GroundError::Authority(_) | GroundError::Asset(_) | GroundError::Topology(_) | GroundError::Volume(_) => false,
            },
            Self::Fault(_)
            | Self::History(_)
            | Self::Tls(_)
            | Self::Openbao(_)
            | Self::Pki(_)
            | Self::Network(_)
            | Self::Asset(_)
            | Self::Unpromised(_)
            | Self::Missing(_) => false,
        }
    }
}

/// Whether the engine did what it was asked, and something inside a node did not.
fn ran_in_a_node(error: &EngineError) -> bool {
    matches!(error, EngineError::Exec { .. } | EngineError::ExecDeadline { .. } | EngineError::Deadline(_))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn exec(output: &str) -> EngineError {
        EngineError::Exec { node: "idb1".into(), command: "sh /dora/bin/restore.sh".into(), code: 1, output: output.into() }
    }

    fn deadline() -> DeadlineError {
        DeadlineError { what: "the restored shards".into(), after: Duration::from_secs(60), last: "the server answered 503".into() }
    }

    #[test]
    fn what_a_database_refuses_or_does_not_do_in_time_is_its_own() {
        let errors: &[ScenarioError] = &[
            // As PostgreSQL, Redis and MongoDB answer to a backup that is cut short.
            GroundError::database(
                "postgres",
                "restores and has its role did not happen, for node r-pg1 has ended, last log lines:\n    ERROR: [029]",
            )
            .into(),
            GroundError::database("redis", "has its role did not happen, for node r-rds1 has ended, last log lines:\n    Short read")
                .into(),
            ScenarioError::client("restore the backup", "dora.analysis_results is damaged: its SHA-256 is not the one of the backup"),
            GroundError::Engine(exec("bad checksum")).into(),
            exec("bad checksum").into(),
            EngineError::ExecDeadline { node: "idb1".into(), command: "sh".into(), limit: Duration::from_secs(60) }.into(),
            EngineError::Deadline(deadline()).into(),
            GroundError::Deadline(deadline()).into(),
            deadline().into(),
        ];
        for error in errors {
            assert!(error.is_of_the_database(), "{error}");
        }
    }

    #[test]
    fn what_engine_disk_and_files_of_the_harness_refuse_is_not() {
        let missing = || AssetError::NotFound { path: "config/postgres/restore.sh".into() };
        let errors: &[ScenarioError] = &[
            EngineError::Gone { what: "start pg1".into() }.into(),
            GroundError::Engine(EngineError::Gone { what: "start pg1".into() }).into(),
            EngineError::Unreachable { reason: "no answer".into() }.into(),
            GroundError::Engine(EngineError::DiskFull { what: "start node pg1".into() }).into(),
            GroundError::Engine(EngineError::NoAddress { network: "data".into() }).into(),
            GroundError::Engine(EngineError::Start { node: "pg1".into(), reason: "no such image".into(), log_tail: Vec::new() }).into(),
            missing().into(),
            GroundError::Asset(missing()).into(),
            Unpromised { number: "restore_ms_max" }.into(),
            ScenarioError::Missing("there is no PostgreSQL cluster".into()),
            // A full disk, in the words of whoever met it first.
            GroundError::database("postgres", "ERROR: [082]: unable to write '/dora/data/pgdata/base/1/2': [28] No space left on device")
                .into(),
            exec("write /dora/data/data: no space left on device").into(),
            ScenarioError::client("restore the collection policies", "14031: No space left on device"),
        ];
        for error in errors {
            assert!(!error.is_of_the_database(), "{error}");
        }
    }
}
