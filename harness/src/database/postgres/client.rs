//! Connections as an application makes them: TLS 1.3, chain and address verified, a password that does not cross the line.

use std::{net::SocketAddr, time::Duration};

use sqlx::{
    ConnectOptions as _, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::time::timeout;

use crate::security::Secret;

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
    Ok(timeout(limit, options.connect()).await.map_err(|_elapsed| AccessError::Deadline(limit))??)
}
