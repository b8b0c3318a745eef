//! A client's connection, and what its errors say.

use std::time::Duration;

use dora_harness::{
    database::postgres::{AccessError, Login, connect},
    history::Outcome,
};
use sqlx::PgConnection;
use tokio::{task::JoinSet, time::timeout};

/// An operation whose client is not connected by then has failed; the next one tries again, or goes on waiting.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// How long an attempt to connect goes on that outlives the operation it was begun for.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(10);

/// A connection that is opened when it is needed. Whoever takes it puts it back only when it is fit for the next operation: one that is
/// cut off in the middle takes its connection along.
pub struct Line {
    login: Login,
    limit: Duration,
    connection: Option<PgConnection>,
    /// How long an attempt goes on where attempts outlive operations.
    attempt_limit: Duration,
    /// The attempt that is under way, at most one, where attempts outlive operations.
    attempt: Option<JoinSet<Result<PgConnection, AccessError>>>,
}

impl Line {
    /// Not connected yet.
    pub fn new(login: Login) -> Self {
        Self::patient(login, CONNECT_LIMIT)
    }

    /// As [`Line::new`], with another limit for connecting.
    pub fn patient(login: Login, limit: Duration) -> Self {
        Self { login, limit, connection: None, attempt_limit: limit, attempt: None }
    }

    /// As [`Line::new`], but an attempt to connect goes on while operations fail for want of it. On a busy machine many clients that give up
    /// and begin anew each second only make the work that keeps them from connecting.
    pub fn persistent(login: Login) -> Self {
        Self::persistent_for(login, ATTEMPT_LIMIT)
    }

    /// As [`Line::persistent`], with another limit for an attempt.
    pub fn persistent_for(login: Login, attempt_limit: Duration) -> Self {
        Self { attempt_limit, attempt: Some(JoinSet::new()), ..Self::new(login) }
    }

    /// The open connection, or a new one.
    pub async fn take(&mut self) -> Result<PgConnection, AccessError> {
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        let Some(attempt) = &mut self.attempt else { return connect(&self.login, self.limit).await };
        if attempt.is_empty() {
            let (login, limit) = (self.login.clone(), self.attempt_limit);
            attempt.spawn(async move { connect(&login, limit).await });
        }
        match timeout(self.limit, attempt.join_next()).await {
            Ok(Some(Ok(connected))) => connected,
            // It was ended with the runtime, or has not come to an end: either way there is no connection yet.
            Ok(_) | Err(_) => Err(AccessError::Deadline(self.limit)),
        }
    }

    /// Puts it back for the next operation.
    pub fn put(&mut self, connection: PgConnection) {
        self.connection = Some(connection);
    }
}

/// Errors that say that the statement was not carried out. All others leave it open.
pub fn was_refused(error: &sqlx::Error) -> bool {
    let Some(database) = error.as_database_error() else { return false };
    // 25006: read-only transaction. 57P03: the server is starting up. Class 53: no resources for a connection. Class 40: the
    // transaction was rolled back, for a conflict or a deadlock; its 40003 alone says that nobody knows.
    let refused = database
        .code()
        .is_some_and(|code| code == "25006" || code == "57P03" || code.starts_with("53") || (code.starts_with("40") && code != "40003"));
    // The pooler's own word for "no server took it".
    refused || database.message().contains("server login has been failing") || database.message().contains("query_wait_timeout")
}

/// How a write ended that failed after it was sent.
pub fn outcome_of(error: &sqlx::Error) -> Outcome {
    if was_refused(error) { Outcome::Fail(error.to_string()) } else { Outcome::Unknown(error.to_string()) }
}
