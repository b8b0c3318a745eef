//! What the superuser is needed for: making roles, planting defects, reading what only it may read.

use std::time::Duration;

use dora_fixtures::{assets, queries};
use dora_harness::{
    database::postgres::{AccessError, Login, connect},
    patience::stretched,
};
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::time::timeout;

use crate::ScenarioError;

pub const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// A statement of a script; making a database copies its template.
const SCRIPT_LIMIT: Duration = Duration::from_secs(30);

/// Connects, with a word on what for.
pub async fn session(login: &Login, what: &str) -> Result<PgConnection, ScenarioError> {
    connect(login, CONNECT_LIMIT).await.map_err(|error| ScenarioError::client(what, error))
}

/// Runs a script that is sent whole: one implicit transaction.
pub async fn run_whole(connection: &mut PgConnection, script: String) -> Result<(), ScenarioError> {
    // A script of this project, filled with passwords of letters and digits.
    limited(sqlx::raw_sql(AssertSqlSafe(script)).execute(connection)).await.map(drop)
}

/// Runs a script of one statement a line, each by itself.
pub async fn run_lines(connection: &mut PgConnection, path: &str) -> Result<(), ScenarioError> {
    for statement in queries::statements(assets::text(path)?) {
        limited(sqlx::raw_sql(statement).execute(&mut *connection)).await?;
    }
    Ok(())
}

async fn limited<T>(request: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, ScenarioError> {
    let failed = |reason: String| ScenarioError::client("run a script of roles", reason);
    timeout(stretched(SCRIPT_LIMIT), request)
        .await
        .map_err(|_elapsed| failed(AccessError::Deadline(SCRIPT_LIMIT).to_string()))?
        .map_err(|error| failed(error.to_string()))
}
