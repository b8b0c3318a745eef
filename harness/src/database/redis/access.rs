//! Accounts of a Redis cluster, and connections under them.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, FromRedisValue, IntoConnectionInfo as _, RedisConnectionInfo, RedisResult,
    TlsCertificates, TlsMode,
    aio::MultiplexedConnection,
    cluster::{ClusterClient, ClusterClientBuilder},
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};
use serde::{Deserialize, Serialize};

use crate::security::{Secret, generate_secret, install_provider};

/// Name under which the Sentinels watch the master.
pub const MASTER_NAME: &str = "mymaster";
/// A server that does not take a connection within this time is not there.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// A Cluster's client connects to all nodes at once, so each of them may take longer.
const CLUSTER_CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// A command that takes longer has an unknown outcome.
const ANSWER_LIMIT: Duration = Duration::from_millis(1500);

/// Who connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// Operators: everything.
    Admin,
    /// The application: what lies under `app:`.
    App,
    /// Takes backups and reads no key.
    Backup,
}

impl Account {
    /// Its user name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::App => "app",
            Self::Backup => "backup",
        }
    }
}

/// The passwords of one cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Passwords {
    pub(super) admin: Secret,
    pub(super) app: Secret,
    pub(super) replica: Secret,
    pub(super) sentinel: Secret,
    pub(super) backup: Secret,
}

impl Passwords {
    /// New ones.
    pub fn generate() -> Self {
        Self {
            admin: generate_secret(),
            app: generate_secret(),
            replica: generate_secret(),
            sentinel: generate_secret(),
            backup: generate_secret(),
        }
    }

    /// The password of one account.
    pub fn of(&self, account: Account) -> &Secret {
        match account {
            Account::Admin => &self.admin,
            Account::App => &self.app,
            Account::Backup => &self.backup,
        }
    }
}

/// What a client needs: the authority that it trusts, and the passwords.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Access {
    pub(super) authority: String,
    pub(super) passwords: Passwords,
}

impl Access {
    /// The same passwords under another authority.
    #[must_use]
    pub fn trusting(&self, authority: &str) -> Self {
        Self { authority: authority.to_owned(), passwords: self.passwords.clone() }
    }

    /// The same with another password for one account.
    #[must_use]
    pub fn with_password(&self, account: Account, password: Secret) -> Self {
        let mut access = self.clone();
        match account {
            Account::Admin => access.passwords.admin = password,
            Account::App => access.passwords.app = password,
            Account::Backup => access.passwords.backup = password,
        }
        access
    }

    /// The authority that it trusts, PEM.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The passwords.
    pub fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    /// Connects over TLS and logs in; the certificate is verified against the address.
    ///
    /// # Errors
    /// Any error of the client.
    pub async fn connect(&self, address: SocketAddr, account: Account) -> RedisResult<MultiplexedConnection> {
        let settings = RedisConnectionInfo::default().set_username(account.name()).set_password(self.passwords.of(account).reveal());
        let info = tls_address(address).into_connection_info()?.set_redis_settings(settings);
        open(Client::build_with_tls(info, self.certificates())?).await
    }

    /// Connects over TLS and does not log in.
    ///
    /// # Errors
    /// Any error of the client.
    pub async fn connect_anonymously(&self, address: SocketAddr) -> RedisResult<MultiplexedConnection> {
        open(Client::build_with_tls(tls_address(address), self.certificates())?).await
    }

    /// Connects without TLS and logs in.
    ///
    /// # Errors
    /// Any error of the client.
    pub async fn connect_plaintext(&self, address: SocketAddr, account: Account) -> RedisResult<MultiplexedConnection> {
        let settings = RedisConnectionInfo::default().set_username(account.name()).set_password(self.passwords.of(account).reveal());
        let plain = ConnectionAddr::Tcp(address.ip().to_string(), address.port());
        open(Client::open(plain.into_connection_info()?.set_redis_settings(settings))?).await
    }

    /// The driver's own client that asks Sentinels where the master is.
    ///
    /// # Errors
    /// Any error of the client.
    pub fn sentinel_client(&self, sentinels: &[SocketAddr], account: Account) -> RedisResult<SentinelClient> {
        install_provider();
        let password = self.passwords.of(account).reveal();
        SentinelClientBuilder::new(sentinels.iter().copied().map(tls_address), MASTER_NAME, SentinelServerType::Master)?
            .set_client_to_sentinel_tls_mode(TlsMode::Secure)
            .set_client_to_sentinel_certificates(self.certificates())
            .set_client_to_sentinel_username(account.name())
            .set_client_to_sentinel_password(password)
            .set_client_to_redis_tls_mode(TlsMode::Secure)
            .set_client_to_redis_certificates(self.certificates())
            .set_client_to_redis_username(account.name())
            .set_client_to_redis_password(password)
            .build()
    }

    /// The driver's own client of a Cluster. It tries no command again, but follows a redirection to another node up to `redirections`
    /// times; with any of them it also repeats a command whose connection broke, so that writes must bear repetition.
    ///
    /// # Errors
    /// Any error of the client.
    pub fn cluster_client(&self, nodes: &[SocketAddr], account: Account, redirections: u32) -> RedisResult<ClusterClient> {
        install_provider();
        ClusterClientBuilder::new(nodes.iter().copied().map(tls_address))
            .tls(TlsMode::Secure)
            .certs(self.certificates())
            .username(account.name())
            .password(self.passwords.of(account).reveal())
            .connection_timeout(CLUSTER_CONNECT_LIMIT)
            .response_timeout(ANSWER_LIMIT)
            .retries(redirections)
            .build()
    }

    fn certificates(&self) -> TlsCertificates {
        TlsCertificates { client_tls: None, root_cert: Some(self.authority.as_bytes().to_vec()) }
    }
}

/// Limits of every connection: soon noticed that nobody answers.
pub fn connection_limits() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_LIMIT)).set_response_timeout(Some(ANSWER_LIMIT))
}

fn tls_address(address: SocketAddr) -> ConnectionAddr {
    ConnectionAddr::TcpTls { host: address.ip().to_string(), port: address.port(), insecure: false, tls_params: None }
}

async fn open(client: Client) -> RedisResult<MultiplexedConnection> {
    install_provider();
    client.get_multiplexed_async_connection_with_config(&connection_limits()).await
}

/// Sends one command, given as its words.
///
/// # Errors
/// Any error of the client or the server.
pub async fn ask<T: FromRedisValue>(connection: &mut MultiplexedConnection, words: &[&str]) -> RedisResult<T> {
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(*word);
    }
    command.query_async(connection).await
}

/// The lines `name:value` of `INFO section` or `CLUSTER INFO`.
pub(super) fn fields(text: &str) -> BTreeMap<String, String> {
    text.lines().filter_map(|line| line.trim_end().split_once(':')).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// One section of `INFO`.
///
/// # Errors
/// Any error of the client or the server.
pub async fn info(connection: &mut MultiplexedConnection, section: &str) -> RedisResult<BTreeMap<String, String>> {
    Ok(fields(&ask::<String>(connection, &["INFO", section]).await?))
}
