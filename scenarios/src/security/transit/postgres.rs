//! `PostgreSQL`: servers, Patroni's REST API, etcd, the pooler with its `HAProxy`.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_fixtures::{assets, queries};
use dora_harness::{
    database::{
        Cluster as _,
        postgres::{AccessError, Login, POOLER_PORT, PostgresCluster, SERVER_PORT, connect},
    },
    patience::within,
    platform::all_healthy,
    topology::{Member, Node},
};
use serde_json::json;
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::time::timeout;

use super::{
    ExtraPort, TransitTarget, Which, links, listeners,
    target::{AUTHORITY, restore},
    trust_both,
};
use crate::{Database, Pillar, Sabotage, Scenario, ScenarioError, Trial};

const EXTRA_PORT: &str = "extra-port-on-one-server";
const OLD_TLS: &str = "tls-1-2-on-the-pooler";
const OLD_TLS_REST: &str = "tls-1-2-on-patroni";
const OLD_TLS_ETCD: &str = "tls-1-2-on-one-etcd-member";
const PLAINTEXT: &str = "plaintext-on-the-pooler";
const EXPOSED: &str = "haproxy-open-to-the-network";
const NO_CERTIFICATE: &str = "etcd-without-client-certificates";
const FOREIGN_AUTHORITY: &str = "etcd-trusts-a-foreign-authority";
const PLAIN_POOL: &str = "pooler-to-server-in-plaintext";
const PLAIN_REPLICATION: &str = "replication-in-plaintext";

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "security/postgres/listeners",
        title: "PostgreSQL: every listener of every node, and no other",
        pillar: Pillar::Security,
        database: Database::Postgres,
        clauses: &["SEC-TLS-PG", "SEC-TLS-LINKS"],
        goal: "Find out what servers, Patroni, etcd and the pooler accept, and whether anything listens that the model does not know.",
        method: &[
            "read the sockets that listen from each node's own tables and compare them with the model",
            "at every listener: each protocol version alone, weak suites alone, the protocol without TLS, a client that must not trust the server",
            "at etcd, which checks certificates: none, a foreign one, an expired one, a node's",
        ],
        does_not_show: &["what travels on the links (security/postgres/links)", "who may do what after the login (SEC-AUTH-PG)"],
        needs_high_availability: false,
        deadline: Duration::from_secs(240),
        sabotages: &[
            Sabotage { id: EXTRA_PORT, what: "something else listens on one server", expects: "undeclared-listener" },
            Sabotage { id: OLD_TLS, what: "the pooler accepts TLS 1.2", expects: "old-tls-accepted" },
            Sabotage { id: OLD_TLS_REST, what: "Patroni's REST API on one standby accepts TLS 1.2", expects: "old-tls-accepted" },
            Sabotage { id: OLD_TLS_ETCD, what: "one etcd member accepts TLS 1.2", expects: "old-tls-accepted" },
            Sabotage { id: PLAINTEXT, what: "the pooler lets clients in without TLS", expects: "plaintext-accepted" },
            Sabotage { id: EXPOSED, what: "the HAProxy beside the pooler listens for the network", expects: "listener-exposed" },
            Sabotage {
                id: NO_CERTIFICATE,
                what: "one etcd member asks no client for a certificate",
                expects: "missing-certificate-accepted",
            },
            Sabotage {
                id: FOREIGN_AUTHORITY,
                what: "one etcd member trusts a foreign authority, too",
                expects: "foreign-certificate-accepted",
            },
        ],
        run: |trial| Box::pin(async move { listeners(trial, &Target::of(trial).await?, Which::All).await }),
    },
    Scenario {
        id: "security/postgres/links",
        title: "PostgreSQL: nothing readable between the nodes",
        pillar: Pillar::Security,
        database: Database::Postgres,
        clauses: &["SEC-TLS-LINKS"],
        goal: "Find out whether anything that is written can be read from the packets of clients, pooler, replication, Patroni or etcd.",
        method: &[
            "capture every packet in every node's network namespace",
            "write a text through the pooler, read it at every server",
            "search each packet and each stream for it; check that each link was seen and consists of TLS records",
            "find a text that was sent readable on purpose in each capture, and no lost packet",
        ],
        does_not_show: &["links that exist on an occasion only: base backup, rewind, a race for leadership"],
        needs_high_availability: true,
        deadline: Duration::from_secs(180),
        sabotages: &[
            Sabotage { id: PLAIN_POOL, what: "the pooler reaches the server without TLS", expects: "canary-on-the-wire" },
            Sabotage { id: PLAIN_REPLICATION, what: "one standby copies from its primary without TLS", expects: "canary-on-the-wire" },
        ],
        run: |trial| Box::pin(async move { links(trial, &Target::of(trial).await?).await }),
    },
];

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const STATEMENT_LIMIT: Duration = Duration::from_secs(10);
const SETTLE_LIMIT: Duration = Duration::from_secs(60);
/// A port that no software of the platform uses.
const NOBODYS_PORT: u16 = 4444;
const POOLER_SETTINGS: &str = "/dora/config/pgbouncer.ini";
const HAPROXY_SETTINGS: &str = "/dora/config/haproxy.cfg";
const ETCD_SETTINGS: &str = "/dora/config/etcd.yml";
const ETCD_NEW_TLS: &str = "tls-min-version: TLS1.3";
const ETCD_OLD_TLS: &str = "tls-min-version: TLS1.2";
/// Patroni has no setting of its own: its oldest version is that of OpenSSL in its container. PostgreSQL states its own.
const OPENSSL_SETTINGS: &str = "/dora/config/openssl.cnf";
const OPENSSL_NEW_TLS: &str = "MinProtocol = TLSv1.3";
const OPENSSL_OLD_TLS: &str = "MinProtocol = TLSv1.2";
const ACCESS_RULES: &str = "/dora/data/pgdata/pg_hba.conf";
const NO_PLAINTEXT: &str = "hostnossl all all 0.0.0.0/0 reject";
const SOME_PLAINTEXT: &str = "hostnossl replication replicator 0.0.0.0/0 scram-sha-256\nhostnossl all all 0.0.0.0/0 scram-sha-256";
const ETCD_ASKS: &str =
    "  key-file: /dora/tls/node.pem\n  client-cert-auth: true\n  trusted-ca-file: /dora/tls/ca.crt\npeer-transport-security:";
const ETCD_DOES_NOT_ASK: &str = "  key-file: /dora/tls/node.pem\npeer-transport-security:";

struct Target {
    cluster: Arc<PostgresCluster>,
}

/// A setting of the pooler: file, as it is, as the defect has it.
fn pooler_change(id: &str) -> (&'static str, &'static str, &'static str) {
    match id {
        OLD_TLS => (POOLER_SETTINGS, "client_tls_protocols = tlsv1.3", "client_tls_protocols = tlsv1.2,tlsv1.3"),
        PLAINTEXT => (POOLER_SETTINGS, "client_tls_sslmode = require", "client_tls_sslmode = allow"),
        EXPOSED => (HAPROXY_SETTINGS, "bind 127.0.0.1:5000", "bind 0.0.0.0:5000"),
        _ => (POOLER_SETTINGS, "server_tls_sslmode = verify-full", "server_tls_sslmode = disable"),
    }
}

impl Target {
    async fn of(trial: &Trial) -> Result<Self, ScenarioError> {
        let missing = || ScenarioError::Missing("there is no PostgreSQL cluster".to_owned());
        Ok(Self { cluster: trial.platform().postgres.cluster().await.ok_or_else(missing)? })
    }

    async fn healthy(&self) -> Result<(), ScenarioError> {
        within("a healthy PostgreSQL cluster", SETTLE_LIMIT, Duration::from_millis(200), || async {
            all_healthy(&self.cluster.health().await)
        })
        .await?;
        Ok(())
    }

    async fn change(&self, node: &Node, file: &str, from: &str, to: &str) -> Result<(), ScenarioError> {
        node.edit_file(file, from, to).await?;
        self.restart(node).await
    }

    async fn restart(&self, node: &Node) -> Result<(), ScenarioError> {
        node.kill().await?;
        node.start().await?;
        self.healthy().await
    }

    fn last_etcd(&self) -> Result<&Node, ScenarioError> {
        self.cluster.etcd().last().ok_or_else(|| ScenarioError::Missing("there is no etcd".to_owned()))
    }

    /// A server whose restart moves no leadership.
    async fn standby(&self) -> Result<&Node, ScenarioError> {
        let primary = self.cluster.find_primary().await.map_err(|why| ScenarioError::client("find the primary", why))?;
        let standby = self.cluster.servers().iter().find(|server| server.name() != primary.name());
        standby.ok_or_else(|| ScenarioError::Missing("the primary has no standby".into()))
    }

    /// Wherever it was planted: roles may have changed since.
    async fn restore_openssl(&self) -> Result<(), ScenarioError> {
        for server in self.cluster.servers() {
            let files = server.get_files(OPENSSL_SETTINGS).await?;
            if files.iter().any(|(_, content)| String::from_utf8_lossy(content).contains(OPENSSL_OLD_TLS)) {
                self.change(server, OPENSSL_SETTINGS, OPENSSL_OLD_TLS, OPENSSL_NEW_TLS).await?;
            }
        }
        Ok(())
    }

    async fn run_script(login: &Login, script: &str) -> Result<(), ScenarioError> {
        let work = async {
            let mut connection = connect(login, CONNECT_LIMIT).await?;
            for statement in queries::statements(script) {
                sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
            }
            Ok::<_, AccessError>(())
        };
        let failed = |why: String| ScenarioError::client("run a script on a server", why);
        timeout(STATEMENT_LIMIT, work).await.map_err(|_| failed("no answer".into()))?.map_err(|error| failed(error.to_string()))
    }

    /// Lets connections without TLS in on the primary, or refuses them again.
    async fn allow_plaintext(&self, allow: bool) -> Result<(), ScenarioError> {
        for server in self.cluster.servers() {
            if allow {
                server.edit_file(ACCESS_RULES, NO_PLAINTEXT, SOME_PLAINTEXT).await?;
            } else {
                restore(server, ACCESS_RULES, SOME_PLAINTEXT, NO_PLAINTEXT).await?;
            }
            Self::run_script(&self.cluster.superuser_login(server), assets::text("schema/postgres/sabotage/reload.sql")?).await?;
        }
        Ok(())
    }

    async fn replicate_in_plaintext(&self, plain: bool) -> Result<(), ScenarioError> {
        let primary = self.cluster.find_primary().await.map_err(|why| ScenarioError::client("find the primary", why))?;
        let standby = self.standby().await?;
        let variables = json!({"name": standby.name(), "primary": primary.address()});
        let script = if plain {
            assets::render("schema/postgres/sabotage/replicate_in_plaintext.sql.j2", variables)?
        } else {
            assets::text("schema/postgres/sabotage/replicate_as_configured.sql")?.to_owned()
        };
        Self::run_script(&self.cluster.superuser_login(standby), &script).await?;
        let question = assets::text("schema/postgres/monitoring/unencrypted_followers.sql")?;
        let wanted = i64::from(plain);
        within("the standby's new connection", SETTLE_LIMIT, Duration::from_millis(200), || async {
            let mut connection = connect(&self.cluster.superuser_login(&primary), CONNECT_LIMIT).await?;
            let seen: i64 = sqlx::query_scalar(question).fetch_one(&mut connection).await?;
            if seen == wanted { Ok(()) } else { Err(AccessError::Client(sqlx::Error::Protocol(format!("{seen} without TLS")))) }
        })
        .await?;
        Ok(())
    }

    async fn seen_at(&self, server: &Node, text: &str) -> Result<(), String> {
        let login = self.cluster.application_login(server.socket(SERVER_PORT));
        let mut connection = connect(&login, CONNECT_LIMIT).await.map_err(|error| error.to_string())?;
        let question = assets::text("schema/postgres/canary/read.sql").map_err(|error| error.to_string())?;
        let count: i64 = sqlx::query_scalar(question).bind(text).fetch_one(&mut connection).await.map_err(|error| error.to_string())?;
        if count == 1 { Ok(()) } else { Err(format!("{} has it {count} times", server.name())) }
    }
}

async fn write(connection: &mut PgConnection, text: &str) -> Result<(), String> {
    let said = |error: sqlx::Error| error.to_string();
    let sql = |name: &str| assets::text(&format!("schema/postgres/canary/{name}.sql")).map_err(|error| error.to_string());
    sqlx::raw_sql(sql("prepare")?).execute(&mut *connection).await.map_err(said)?;
    sqlx::query(sql("write")?).persistent(false).bind(text).execute(&mut *connection).await.map_err(said)?;
    Ok(())
}

#[async_trait]
impl TransitTarget for Target {
    fn member(&self) -> Member {
        Member::Postgres
    }

    async fn write_canary(&self, text: &str) -> Result<(), ScenarioError> {
        let failed = |why: String| ScenarioError::client("write through the pooler", why);
        let login = self.cluster.application_login(self.cluster.pooler().socket(POOLER_PORT));
        let mut connection = connect(&login, CONNECT_LIMIT).await.map_err(|error| failed(error.to_string()))?;
        timeout(STATEMENT_LIMIT, write(&mut connection, text)).await.map_err(|_| failed("no answer".into()))?.map_err(failed)?;
        for server in self.cluster.servers() {
            within("the text on every server", SETTLE_LIMIT, Duration::from_millis(100), || self.seen_at(server, text)).await?;
        }
        let remove = assets::text("schema/postgres/canary/remove.sql")?;
        sqlx::raw_sql(remove).execute(&mut connection).await.map_err(|error| failed(error.to_string()))?;
        Ok(())
    }

    async fn sabotage(&self, trial: &Trial, id: &str) -> Result<(), ScenarioError> {
        match id {
            EXTRA_PORT => ExtraPort::new(self.cluster.servers()[0].clone(), NOBODYS_PORT).open().await,
            OLD_TLS_REST => self.change(self.standby().await?, OPENSSL_SETTINGS, OPENSSL_NEW_TLS, OPENSSL_OLD_TLS).await,
            OLD_TLS_ETCD => self.change(self.last_etcd()?, ETCD_SETTINGS, ETCD_NEW_TLS, ETCD_OLD_TLS).await,
            NO_CERTIFICATE => self.change(self.last_etcd()?, ETCD_SETTINGS, ETCD_ASKS, ETCD_DOES_NOT_ASK).await,
            FOREIGN_AUTHORITY => {
                trust_both(trial, self.last_etcd()?, AUTHORITY, true).await?;
                self.restart(self.last_etcd()?).await
            }
            PLAIN_REPLICATION => {
                self.allow_plaintext(true).await?;
                self.replicate_in_plaintext(true).await
            }
            other => {
                if other == PLAIN_POOL {
                    self.allow_plaintext(true).await?;
                }
                let (file, from, to) = pooler_change(other);
                self.change(self.cluster.pooler(), file, from, to).await
            }
        }
    }

    async fn undo_sabotage(&self, trial: &Trial, id: &str) -> Result<(), ScenarioError> {
        match id {
            EXTRA_PORT => ExtraPort::new(self.cluster.servers()[0].clone(), NOBODYS_PORT).close().await,
            OLD_TLS_REST => self.restore_openssl().await,
            OLD_TLS_ETCD => {
                restore(self.last_etcd()?, ETCD_SETTINGS, ETCD_OLD_TLS, ETCD_NEW_TLS).await?;
                self.restart(self.last_etcd()?).await
            }
            NO_CERTIFICATE => {
                restore(self.last_etcd()?, ETCD_SETTINGS, ETCD_DOES_NOT_ASK, ETCD_ASKS).await?;
                self.restart(self.last_etcd()?).await
            }
            FOREIGN_AUTHORITY => {
                trust_both(trial, self.last_etcd()?, AUTHORITY, false).await?;
                self.restart(self.last_etcd()?).await
            }
            PLAIN_REPLICATION => {
                let replicates = self.replicate_in_plaintext(false).await;
                self.allow_plaintext(false).await?;
                replicates?;
                self.healthy().await
            }
            other => {
                let (file, intended, planted) = pooler_change(other);
                restore(self.cluster.pooler(), file, planted, intended).await?;
                self.restart(self.cluster.pooler()).await?;
                if other == PLAIN_POOL {
                    self.allow_plaintext(false).await?;
                }
                self.healthy().await
            }
        }
    }
}
