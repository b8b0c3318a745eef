//! Connections as an application makes them: TLS 1.3, chain and address verified, a password that does not cross the line.

use std::{io, net::SocketAddr, sync::LazyLock, time::Duration};

use sqlx::{
    ConnectOptions as _, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
    time::timeout,
};

use crate::{measure::as_ordered, security::Secret};

/// Logins have a runtime of their own. The driver hashes a password 4096 times and after every fifth lets all other tasks of its runtime go
/// first (sqlx-postgres 0.9, `sasl::hi`): behind the operations of several loads that took more than four seconds, in which every prober
/// was blind and every client was kept out by itself.
static LOGINS: LazyLock<io::Result<Runtime>> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(1).thread_name("logins").enable_all().build());

/// A connection or a question failed.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The client's or the server's words.
    #[error(transparent)]
    Client(#[from] sqlx::Error),
    /// It took too long.
    #[error("no answer within {:.1} s", .0.as_secs_f64())]
    Deadline(Duration),
}

/// Who connects to what, and whom it trusts.
#[derive(Debug, Clone)]
pub struct Login {
    /// Server or pooler.
    pub address: SocketAddr,
    /// Role.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// Database.
    pub database: String,
    /// Certificate of the authority to trust, PEM; [`None`] connects without TLS.
    pub authority: Option<String>,
}

/// Connects and logs in.
///
/// # Errors
/// [`AccessError`], also after `limit`.
pub async fn connect(login: &Login, limit: Duration) -> Result<PgConnection, AccessError> {
    let options = PgConnectOptions::new_without_pgpass()
        .host(&login.address.ip().to_string())
        .port(login.address.port())
        .username(&login.user)
        .password(login.password.reveal())
        .database(&login.database)
        .application_name("dora");
    let options = match &login.authority {
        Some(pem) => options.ssl_mode(PgSslMode::VerifyFull).ssl_root_cert_from_pem(pem.clone().into_bytes()),
        None => options.ssl_mode(PgSslMode::Disable),
    };
    // A statement that is slow under a fault is measured, not commented on by the driver.
    let options = options.disable_statement_logging();
    let logins = LOGINS.as_ref().map_err(|error| sqlx::Error::Io(io::Error::new(error.kind(), error.to_string())))?;
    // Ended with this future, if that is dropped before.
    let mut login = JoinSet::new();
    login.spawn_on(as_ordered(async move { options.connect().await }), logins.handle());
    match timeout(limit, login.join_next()).await {
        Ok(Some(Ok(connection))) => Ok(connection?),
        Ok(Some(Err(ended))) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
        // Nobody else ends it.
        Ok(_) | Err(_) => Err(AccessError::Deadline(limit)),
    }
}
