//! What the scenarios of the key manager work with.

use std::{sync::Arc, time::Duration};

use dora_fixtures::assets;
use dora_harness::{
    database::postgres::{AccessError, Login, POOLER_PORT, PostgresCluster, connect},
    patience::within,
    service::openbao::Openbao,
};
use serde_json::Value;
use sqlx::Connection as _;

use crate::{ScenarioError, Trial};

/// A connection that is not there by then does not come.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// A request of an application.
const REQUEST_LIMIT: Duration = Duration::from_secs(8);
/// A connection that was refused for another reason than its password is tried again as long.
const LOGIN_LIMIT: Duration = Duration::from_secs(15);

/// The servers.
pub async fn openbao(trial: &Trial) -> Result<Arc<Openbao>, ScenarioError> {
    trial.platform().openbao.server.get().await.ok_or_else(|| ScenarioError::Missing("there is no OpenBao in this run".into()))
}

/// The cluster whose users OpenBao makes.
pub async fn postgres(trial: &Trial) -> Result<PostgresCluster, ScenarioError> {
    let cluster = trial.platform().postgres.cluster().await;
    cluster.map(|cluster| (*cluster).clone()).ok_or_else(|| ScenarioError::Missing("there is no PostgreSQL in this run".into()))
}

/// Something small on the application's path, through the pooler to the primary, on a connection of its own.
///
/// # Errors
/// The client's words.
pub async fn ask_through_pooler(cluster: &PostgresCluster) -> Result<(), String> {
    let login = cluster.application_login(cluster.pooler().socket(POOLER_PORT));
    let mut connection = connect(&login, REQUEST_LIMIT).await.map_err(|error| error.to_string())?;
    let question = assets::text("schema/postgres/monitoring/alive.sql").map_err(|error| error.to_string())?;
    sqlx::query(question).execute(&mut connection).await.map_err(|error| error.to_string())?;
    connection.close().await.map_err(|error| error.to_string())
}

/// A text of an answer, found by its path.
pub fn text_of<'a>(answer: &'a Value, pointer: &str) -> Result<&'a str, ScenarioError> {
    answer
        .pointer(pointer)
        .and_then(Value::as_str)
        .ok_or_else(|| ScenarioError::client("read OpenBao's answer", format!("there is no {pointer} in it")))
}

/// How a login ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginOutcome {
    /// The server let it in.
    Accepted,
    /// The server refused user or password (SQLSTATE 28P01, or 28000 for a role without login).
    Refused,
}

/// Logs in, and tells a refused password from a server that was not there.
///
/// # Errors
/// The server's or client's words, when it was for another reason than user and password.
pub async fn log_in(login: &Login) -> Result<LoginOutcome, ScenarioError> {
    let outcome = within("a login's answer", LOGIN_LIMIT, Duration::from_millis(200), || async {
        match connect(login, CONNECT_LIMIT).await {
            Ok(_connection) => Ok(LoginOutcome::Accepted),
            Err(AccessError::Client(error)) if is_one_of(&error, &["28P01", "28000"]) => Ok(LoginOutcome::Refused),
            Err(error) => Err(error),
        }
    });
    Ok(outcome.await?)
}

/// Whether the server refused with one of these SQLSTATEs.
pub fn is_one_of(error: &sqlx::Error, codes: &[&str]) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|code| codes.contains(&code.as_ref()))
}
