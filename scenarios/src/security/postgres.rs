//! `PostgreSQL`: every server's port and the pooler's.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_fixtures::{assets, queries};
use dora_harness::{
    database::postgres::{AccessError, Login, POOLER_PORT, PostgresCluster, SERVER_PORT, connect},
    patience::within,
    security::StartTls,
    topology::Node,
};
use tokio::time::timeout;

use super::{Listener, TlsTarget, driver};
use crate::{Database, Pillar, Sabotage, Scenario, ScenarioError};

const OLD_TLS: &str = "old-tls-on-one-server";

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "security/postgres",
    title: "PostgreSQL: TLS 1.3 only on every client port",
    pillar: Pillar::Security,
    database: Database::Postgres,
    clauses: &["SEC-TLS-PG"],
    goal: "Every PostgreSQL server and the pooler accept TLS 1.3 and nothing else, and the client refuses whom it should not trust.",
    method: &[
        "OpenSSL in a pod of the run offers exactly one protocol version at a time, after PostgreSQL's SSLRequest",
        "the real client logs in over TLS with chain and address verified, and without TLS",
        "the real client meets a foreign authority, and an address that the certificate does not name",
    ],
    does_not_show: &[
        "single cipher suites",
        "the links inside the cluster: replication, etcd, Patroni's REST API, the pooler's own connections to the servers",
    ],
    needs_high_availability: false,
    deadline: Duration::from_mins(2),
    sabotages: &[Sabotage { id: OLD_TLS, what: "the last PostgreSQL server accepts TLS 1.2", expects: "old-tls-accepted" }],
    run: |trial| Box::pin(async move { driver::client_port(trial, &*client_ports(trial).await?).await }),
}];

/// The client ports, for scenarios beside this one.
///
/// # Errors
/// [`ScenarioError::Missing`].
pub(super) async fn client_ports(trial: &crate::Trial) -> Result<Box<dyn TlsTarget>, ScenarioError> {
    let missing = || ScenarioError::Missing("there is no PostgreSQL cluster".to_owned());
    let cluster = trial.platform().postgres.cluster().await.ok_or_else(missing)?;
    Ok(Box::new(PostgresTls { cluster }))
}

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const STATEMENT_LIMIT: Duration = Duration::from_secs(10);

struct PostgresTls {
    cluster: Arc<PostgresCluster>,
}

impl PostgresTls {
    /// The node that the sabotage is planted on: the last one, so that a probe of the first alone would miss it.
    fn weak_server(&self) -> Result<&Node, ScenarioError> {
        self.cluster.servers().last().ok_or_else(|| ScenarioError::Missing("there is no PostgreSQL server".to_owned()))
    }

    /// Runs the script on the weak server and waits until the server itself says `expected`.
    async fn set_minimum(&self, script: &str, expected: &str) -> Result<(), ScenarioError> {
        let failed = |reason: String| ScenarioError::client("change the lowest protocol version", reason);
        let login = self.cluster.superuser_login(self.weak_server()?);
        let script = assets::text(script)?;
        let change = async {
            let mut connection = connect(&login, CONNECT_LIMIT).await?;
            for statement in queries::statements(script) {
                sqlx::raw_sql(statement).execute(&mut connection).await?;
            }
            Ok::<_, AccessError>(())
        };
        timeout(STATEMENT_LIMIT, change)
            .await
            .map_err(|_elapsed| failed(AccessError::Deadline(STATEMENT_LIMIT).to_string()))?
            .map_err(|error| failed(error.to_string()))?;
        let question = assets::text("schema/postgres/monitoring/lowest_tls.sql")?;
        within("the server's new setting", STATEMENT_LIMIT, Duration::from_millis(100), || async {
            let mut connection = connect(&login, CONNECT_LIMIT).await?;
            let shown: String = sqlx::query_scalar(question).fetch_one(&mut connection).await?;
            if shown == expected { Ok(()) } else { Err(AccessError::Client(sqlx::Error::Protocol(format!("it is {shown}")))) }
        })
        .await?;
        Ok(())
    }
}

async fn ask(login: &Login) -> Result<(), String> {
    let question = assets::text("schema/postgres/monitoring/alive.sql").map_err(|error| error.to_string())?;
    let mut connection = connect(login, CONNECT_LIMIT).await.map_err(|error| error.to_string())?;
    timeout(STATEMENT_LIMIT, sqlx::query(question).execute(&mut connection))
        .await
        .map_err(|_elapsed| AccessError::Deadline(STATEMENT_LIMIT).to_string())?
        .map_err(|error| error.to_string())?;
    Ok(())
}

#[async_trait]
impl TlsTarget for PostgresTls {
    async fn listeners(&self) -> Result<Vec<Listener>, ScenarioError> {
        let listener = |node: &Node, port| Listener { node: node.clone(), port, start: StartTls::Postgres };
        let servers = self.cluster.servers().iter().map(|server| listener(server, SERVER_PORT));
        Ok(servers.chain([listener(self.cluster.pooler(), POOLER_PORT)]).collect())
    }

    async fn connect(&self, _listener: &Listener, address: SocketAddr, authority: &str) -> Result<(), String> {
        ask(&Login { authority: Some(authority.to_owned()), ..self.cluster.application_login(address) }).await
    }

    async fn connect_plaintext(&self, listener: &Listener) -> Result<(), String> {
        ask(&Login { authority: None, ..self.cluster.application_login(listener.node.socket(listener.port)) }).await
    }

    async fn sabotage(&self, _id: &str) -> Result<(), ScenarioError> {
        self.set_minimum("schema/postgres/sabotage/accept_old_tls.sql", "TLSv1.2").await
    }

    async fn undo_sabotage(&self, _id: &str) -> Result<(), ScenarioError> {
        self.set_minimum("schema/postgres/sabotage/refuse_old_tls.sql", "TLSv1.3").await
    }
}
