//! A client's connection, and what its errors say.

use std::time::Duration;

use dora_harness::{
    database::postgres::{AccessError, Login, connect},
    history::Outcome,
};
use sqlx::PgConnection;

/// A client that cannot connect by then has failed; the next operation tries again.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// A connection that is opened when it is needed. Whoever takes it puts it back only when it is fit for the next operation: one that is
/// cut off in the middle takes its connection along.
pub struct Line {
    login: Login,
    limit: Duration,
    connection: Option<PgConnection>,
}

impl Line {
    /// Not connected yet.
    pub fn new(login: Login) -> Self {
        Self::patient(login, CONNECT_LIMIT)
    }

    /// As [`Line::new`], with another limit for connecting.
    pub fn patient(login: Login, limit: Duration) -> Self {
        Self { login, limit, connection: None }
    }

    /// The open connection, or a new one.
    pub async fn take(&mut self) -> Result<PgConnection, AccessError> {
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => connect(&self.login, self.limit).await,
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
