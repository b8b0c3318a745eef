//! PostgreSQL: servers reload, PgBouncer reloads; the servers check what clients show against a list of revoked certificates.

use std::time::Duration;

use async_trait::async_trait;
use dora_fixtures::assets;
use dora_harness::{
    database::postgres::{AccessError, POOLER_PORT, PostgresCluster, SERVER_PORT, connect, show_certificate},
    patience::within,
    security::StartTls,
    service::openbao::Pki,
    topology::Node,
};
use dora_reports::evidence::ProbeMatrix;
use sqlx::PgConnection;
use tokio::time::timeout;

use super::{
    driver::{METHOD, SABOTAGES, listeners_of, rotate_if_there},
    shown::{self, Kind},
    target::CertificateTarget,
};
use crate::{
    Database, Pillar, Sabotage, Scenario, ScenarioError, Trial,
    security::{
        Listener,
        openbao::parts::{ask_through_pooler, openbao},
    },
};

const NO_LIST: &str = "revocation-list-not-configured";
const FOREIGN_TRUSTED: &str = "foreign-authority-trusted";

const PLANTED: [Sabotage; 7] = {
    let [one_skipped, not_taken_up, chain_cut, foreign, old_authority] = SABOTAGES;
    [
        one_skipped,
        not_taken_up,
        chain_cut,
        foreign,
        old_authority,
        Sabotage {
            id: NO_LIST,
            what: "the servers are not told of the list of revoked certificates",
            expects: "revoked-certificate-accepted",
        },
        Sabotage {
            id: FOREIGN_TRUSTED,
            what: "the last server trusts somebody else's authority, too",
            expects: "foreign-certificate-accepted",
        },
    ]
};

/// The scenario.
pub const SCENARIO: Scenario = Scenario {
    id: "security/openbao/certificates-postgres",
    title: "PostgreSQL: certificates and their authority change under load; expired, revoked and foreign ones are refused",
    pillar: Pillar::Security,
    database: Database::Openbao,
    clauses: &["SEC-CERT"],
    goal: "Every server and the pooler get their certificates from OpenBao, and another authority's after that, and no client notices; \
           who shows the servers a bad certificate is turned away for that reason.",
    method: METHOD,
    does_not_show: &[
        "etcd and Patroni's REST API beside them (security/openbao/certificates-etcd); HAProxy presents no certificate",
        "clients that show no certificate: PostgreSQL lets them log in by password",
        "another root: the clients trust the run's root throughout, and the chain brings the intermediate along",
        "that lists of revoked certificates are brought to the servers by themselves: the harness brings them here",
    ],
    needs_high_availability: false,
    deadline: Duration::from_secs(240),
    sabotages: &PLANTED,
    run: |trial| {
        Box::pin(async move {
            let cluster = trial.platform().postgres.cluster().await;
            rotate_if_there(trial, cluster.map(|cluster| PostgresCertificates { trial, cluster: (*cluster).clone() }), "PostgreSQL").await
        })
    },
};

const LIMIT: Duration = Duration::from_secs(10);
/// Lifetime of the certificate that is left to expire; the server backdates its beginning, not its end.
const SHORT: Duration = Duration::from_secs(4);
const LIST: &str = "/dora/tls/revoked.crl";
const BUNDLE: &str = "/dora/tls/ca.crt";

struct PostgresCertificates<'a> {
    trial: &'a Trial,
    cluster: PostgresCluster,
}

impl PostgresCertificates<'_> {
    async fn on_server(&self, server: &Node, asset: &str) -> Result<(), ScenarioError> {
        let failed = |error: String| ScenarioError::client(format!("configure {}", server.name()), error);
        let mut connection = self.superuser(server).await?;
        for statement in dora_fixtures::queries::statements(assets::text(asset)?) {
            let done = timeout(LIMIT, sqlx::raw_sql(statement).execute(&mut connection)).await;
            let done = done.map_err(|_elapsed| failed(AccessError::Deadline(LIMIT).to_string()))?;
            done.map_err(|error| failed(error.to_string()))?;
        }
        Ok(())
    }

    async fn superuser(&self, server: &Node) -> Result<PgConnection, ScenarioError> {
        let login = self.cluster.superuser_login(server);
        connect(&login, LIMIT).await.map_err(|error| ScenarioError::client(format!("log in to {}", server.name()), error))
    }

    /// Puts a file beside the node's certificate.
    async fn put(&self, server: &Node, path: &str, text: &str) -> Result<(), ScenarioError> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("/", path));
        server.put_files(folder, &[(name, text.as_bytes(), 0o644)]).await?;
        server.exec_as_root(&["chown", "--reference=/dora/tls", path], &[], LIMIT).await?;
        Ok(())
    }

    /// What each kind of certificate gets from each server.
    async fn probe(&self, kinds: &[Kind<'_>]) -> ProbeMatrix {
        let authority = self.trial.ground().authority().certificate();
        let mut answers = Vec::new();
        for server in self.cluster.servers() {
            for (_, _, identity) in kinds {
                answers.push(show_certificate(server.socket(SERVER_PORT), authority, identity).await);
            }
        }
        shown::matrix(self.cluster.servers(), SERVER_PORT, "Client certificates that were shown to the servers", kinds, answers)
    }
}

#[async_trait]
impl CertificateTarget for PostgresCertificates<'_> {
    fn nodes(&self) -> Vec<Node> {
        self.cluster.servers().iter().chain([self.cluster.pooler()]).cloned().collect()
    }

    fn listeners(&self) -> Vec<Listener> {
        let mut listeners = listeners_of(self.cluster.servers(), SERVER_PORT, StartTls::Postgres);
        listeners.extend(listeners_of(std::slice::from_ref(self.cluster.pooler()), POOLER_PORT, StartTls::Postgres));
        listeners
    }

    async fn request(&self) -> Result<(), String> {
        ask_through_pooler(&self.cluster).await
    }

    async fn take_up(&self, node: &Node) -> Result<(), ScenarioError> {
        if node.name() == self.cluster.pooler().name() {
            // Its start script hands the signal on.
            node.signal("HUP").await?;
            return Ok(());
        }
        self.on_server(node, "schema/postgres/certificates/reload.sql").await
    }

    /// Certificates that clients show: a good one is taken, the others are refused by the alert that says why.
    async fn further(&self) -> Result<(), ScenarioError> {
        let trial = self.trial;
        let bao = openbao(trial).await?;
        let root = trial.ground().authority();
        let authority_failed = |error| ScenarioError::client("make a certificate", error);
        let pki = Pki::set_up(&bao, root, "client-certificates", "clients one").await?;
        let good = pki.issue_client("good", Duration::from_secs(3600)).await?;
        let revoked = pki.issue_client("revoked", Duration::from_secs(3600)).await?;
        let expired = pki.issue_client("expired", SHORT).await?;
        pki.revoke(&revoked).await?;
        let lists = format!("{}{}", pki.revocation_list().await?, root.revocation_list().map_err(authority_failed)?);
        let last = self.cluster.servers().last().map(|server| server.name().to_owned()).unwrap_or_default();
        for server in self.cluster.servers() {
            if !trial.is_sabotaged_by(NO_LIST) {
                self.put(server, LIST, &lists).await?;
                self.on_server(server, "schema/postgres/certificates/check_revocation.sql").await?;
            }
            if trial.is_sabotaged_by(FOREIGN_TRUSTED) && server.name() == last {
                let bundle = format!("{}{}", root.certificate(), trial.ground().foreign_authority().certificate());
                self.put(server, BUNDLE, &bundle).await?;
                // Without the list: the stranger publishes none, and a chain without a list is refused.
                self.on_server(server, "schema/postgres/certificates/forget_revocation.sql").await?;
            }
        }
        let left = expired.expires - time::OffsetDateTime::now_utc().unix_timestamp();
        tokio::time::sleep(Duration::from_secs(u64::try_from(left + 1).unwrap_or_default())).await;
        let foreign = trial.ground().foreign_authority().issue_client("foreign").map_err(authority_failed)?;
        let kinds = [
            ("good", "accepted", good.identity),
            ("expired", "CertificateExpired", expired.identity),
            ("revoked", "CertificateRevoked", revoked.identity),
            ("by a foreign authority", "UnknownCA", foreign),
        ];
        // A reload reaches the process that accepts connections a moment later: what counts is the last state that was seen.
        let settled = within("every certificate's due answer", LIMIT, Duration::from_millis(300), || async {
            let matrix = self.probe(&kinds).await;
            if matrix.ok() { Ok(matrix) } else { Err("some answers differ") }
        });
        let matrix = match settled.await {
            Ok(matrix) => matrix,
            Err(_deadline) => self.probe(&kinds).await,
        };
        for server in self.cluster.servers() {
            self.on_server(server, "schema/postgres/certificates/forget_revocation.sql").await?;
            if trial.is_sabotaged_by(FOREIGN_TRUSTED) && server.name() == last {
                self.put(server, BUNDLE, root.certificate()).await?;
                self.on_server(server, "schema/postgres/certificates/reload.sql").await?;
            }
        }
        shown::judge(trial, &matrix, &kinds);
        trial.matrix(matrix);
        pki.remove().await?;
        Ok(())
    }
}
