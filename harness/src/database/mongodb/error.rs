//! What can go wrong between the harness and a replica set.

use std::{future::IntoFuture, time::Duration};

use dora_fixtures::assets::AssetError;

/// A request to a replica set failed.
#[derive(Debug, thiserror::Error)]
pub enum MongodbError {
    /// The driver or the server refused it.
    #[error("failed to {what}: {source}")]
    Driver {
        /// What was asked, as a verb phrase.
        what: String,
        /// The driver's error.
        source: Box<mongodb::error::Error>,
    },
    /// No answer came in time.
    #[error("failed to {what}: no answer within {:.1} s", limit.as_secs_f64())]
    Deadline {
        /// What was asked, as a verb phrase.
        what: String,
        /// The deadline.
        limit: Duration,
    },
    /// An answer, a file or an archive is not of the form that it must have.
    #[error("failed to {what}: {why}")]
    Unusable {
        /// What was asked, as a verb phrase.
        what: String,
        /// What is wrong.
        why: String,
    },
    /// A file of the project.
    #[error(transparent)]
    Asset(#[from] AssetError),
}

impl MongodbError {
    /// Something is not of the form that it must have.
    pub fn unusable(what: impl Into<String>, why: impl std::fmt::Display) -> Self {
        Self::Unusable { what: what.into(), why: why.to_string() }
    }

    /// What was asked, as a verb phrase, and why it failed.
    pub fn into_parts(self) -> (String, String) {
        match self {
            Self::Driver { what, source } => (what, source.to_string()),
            Self::Deadline { what, limit } => (what, format!("no answer within {:.1} s", limit.as_secs_f64())),
            Self::Unusable { what, why } => (what, why),
            Self::Asset(error) => ("use a file of the project".to_owned(), error.to_string()),
        }
    }

    /// Names what the driver was asked when it failed.
    pub fn driver(what: &str) -> impl FnOnce(mongodb::error::Error) -> Self {
        let what = what.to_owned();
        move |source| Self::Driver { what, source: Box::new(source) }
    }
}

/// Waits for the driver at most `limit` (stretched by the patience factor): it has no time-out of its own for a silent server.
///
/// # Errors
/// [`MongodbError::Driver`], [`MongodbError::Deadline`].
pub async fn limited<T>(
    what: &str,
    limit: Duration,
    request: impl IntoFuture<Output = Result<T, mongodb::error::Error>>,
) -> Result<T, MongodbError> {
    let limit = crate::patience::stretched(limit);
    match tokio::time::timeout(limit, request.into_future()).await {
        Ok(answer) => answer.map_err(MongodbError::driver(what)),
        Err(_elapsed) => Err(MongodbError::Deadline { what: what.to_owned(), limit }),
    }
}
