//! Errors of the command line, each with its exit code.

use std::{io::ErrorKind, path::PathBuf};

use dora_harness::{
    check::Mismatch,
    engine::EngineError,
    fault::FaultError,
    history::ReadError,
    network::PolicyFileError,
    patience::PatienceError,
    topology::{GroundError, UnknownName},
};
use dora_reports::BundleError;
use dora_scenarios::{Unmatched, runner::SessionError};

/// Why a command ended without doing what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// A filter that selects nothing.
    #[error(transparent)]
    Unmatched(#[from] Unmatched),
    /// No such profile or part.
    #[error(transparent)]
    Unknown(#[from] UnknownName),
    /// Something else that the user can set right.
    #[error("{0}")]
    Usage(String),
    /// The configuration file.
    #[error("the configuration {} is not usable: {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line.
        reason: String,
    },
    /// How patient to be.
    #[error(transparent)]
    Patience(#[from] PatienceError),
    /// The policy of the zones.
    #[error(transparent)]
    Policy(#[from] PolicyFileError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The platform.
    #[error(transparent)]
    Ground(#[from] GroundError),
    /// A fault that was ordered by hand.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// A bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A history that is none.
    #[error("the history is not usable: {0}")]
    History(#[from] ReadError),
    /// A history of another model than the one that was asked for.
    #[error("line {line}: {mismatch}; choose the model that fits with --model")]
    Mismatch {
        /// From 1.
        line: u64,
        /// The operation.
        mismatch: Box<Mismatch>,
    },
    /// A file.
    #[error("failed to {what} {}: {source}{}", path.display(), room(source))]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

impl CliError {
    /// 2: the user can set it right on the command line or in a file. 3: it could not run.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Unmatched(_)
            | Self::Unknown(_)
            | Self::Usage(_)
            | Self::Config { .. }
            | Self::Patience(_)
            | Self::Policy(_)
            | Self::History(_)
            | Self::Mismatch { .. }
            | Self::Engine(EngineError::UnknownImage { .. }) => 2,
            Self::Engine(_) | Self::Ground(_) | Self::Fault(_) | Self::Bundle(_) | Self::File { .. } => 3,
        }
    }
}

/// What to do about a file that found no room.
fn room(error: &std::io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => "; make room there, then start again",
        _ => "",
    }
}

impl From<SessionError> for CliError {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Engine(error) | SessionError::Ground(GroundError::Engine(error)) => Self::Engine(error),
            SessionError::Ground(error) => Self::Ground(error),
            SessionError::Reaper(source) => Self::File { what: "start the reaper of", path: "a second part".into(), source },
        }
    }
}
