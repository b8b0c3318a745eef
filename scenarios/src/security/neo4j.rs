//! Neo4j: Bolt and HTTPS of every server.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_fixtures::assets;
use dora_harness::{
    database::{
        Cluster as _,
        neo4j::{BOLT, CausalCluster, CommunityServer, Dialect, GraphClient, HTTPS, Login, TLS_CIPHERS, TLS_VERSIONS, USER, cypher},
    },
    patience::within,
    platform::{Platform, all_healthy},
    security::{Secret, StartTls, client_config},
    topology::Node,
};
use serde_json::json;

use super::{Listener, TlsTarget, client_port};
use crate::{Database, Pillar, Sabotage, Scenario, ScenarioError};

const OLD_TLS: &str = "old-tls-on-one-server";
const CONFIGURATION: &str = "/dora/config/neo4j.conf";
const CLIENT_LIMIT: Duration = Duration::from_secs(8);
const STOP_GRACE: Duration = Duration::from_secs(10);
const HEALTH_LIMIT: Duration = Duration::from_secs(60);

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "security/neo4j",
    title: "Neo4j: Bolt and HTTPS speak TLS 1.3 only",
    pillar: Pillar::Security,
    database: Database::Neo4j,
    clauses: &["SEC-TLS-NEO"],
    goal: "Every port that clients use accepts TLS 1.3 and nothing older and no plaintext, and a client tells a foreign authority and a wrong name apart.",
    method: &[
        "OpenSSL inside the run's network offers each protocol version alone to Bolt and HTTPS of every core, replica and single server",
        "the drivers log in and ask for something over TLS 1.3",
        "the same without TLS, with another authority's certificate, and through an address that no certificate names",
    ],
    does_not_show: &[
        "links between members: raft and transactions use mutual TLS 1.3, discovery is a named exception",
        "weak suites of TLS 1.3, of which there are none",
    ],
    needs_high_availability: false,
    deadline: Duration::from_secs(120),
    sabotages: &[Sabotage { id: OLD_TLS, what: "one server is configured to accept TLS 1.2, too", expects: "old-tls-accepted" }],
    run: |trial| Box::pin(async move { client_port(trial, &Target::of(trial.platform()).await?).await }),
}];

/// The client ports, for scenarios beside this one.
///
/// # Errors
/// [`ScenarioError::Missing`].
pub(super) async fn client_ports(trial: &crate::Trial) -> Result<Box<dyn TlsTarget>, ScenarioError> {
    Ok(Box::new(Target::of(trial.platform()).await?))
}

struct Target {
    cluster: Option<Arc<CausalCluster>>,
    community: Option<Arc<CommunityServer>>,
}

impl Target {
    async fn of(platform: &Platform) -> Result<Self, ScenarioError> {
        let (cluster, community) = (platform.neo4j.cluster.get().await, platform.neo4j.community.get().await);
        if cluster.is_none() && community.is_none() {
            return Err(ScenarioError::Missing("there is no Neo4j".into()));
        }
        Ok(Self { cluster, community })
    }

    fn nodes(&self) -> Vec<Node> {
        let members = self.cluster.iter().flat_map(|cluster| cluster.nodes());
        members.chain(self.community.iter().map(|community| community.node().clone())).collect()
    }

    fn dialect(&self, node: &Node) -> Dialect {
        let single = self.community.as_ref().is_some_and(|community| community.node().name() == node.name());
        if single { Dialect::Five } else { Dialect::Three }
    }

    fn password(&self, node: &Node) -> Option<Secret> {
        match self.dialect(node) {
            Dialect::Three => self.cluster.as_ref().map(|cluster| cluster.password().clone()),
            Dialect::Five => self.community.as_ref().map(|community| community.password().clone()),
        }
    }

    fn login(&self, node: &Node, authority: &str) -> Login {
        Login { authority: authority.to_owned(), password: self.password(node), limit: CLIENT_LIMIT }
    }

    /// The server that is cheapest to restart.
    fn sabotaged(&self) -> Result<Node, ScenarioError> {
        self.nodes().pop().ok_or_else(|| ScenarioError::Missing("there is no Neo4j".into()))
    }

    /// Replaces texts in the configuration of the sabotaged server and restarts it.
    async fn reconfigure(&self, changes: &[(String, String)]) -> Result<(), ScenarioError> {
        let node = self.sabotaged()?;
        for (from, to) in changes {
            node.edit_file(CONFIGURATION, from, to).await?;
        }
        node.stop(STOP_GRACE).await?;
        node.start().await?;
        within("a healthy Neo4j", HEALTH_LIMIT, Duration::from_millis(300), || self.healthy()).await?;
        Ok(())
    }

    async fn healthy(&self) -> Result<(), String> {
        if let Some(cluster) = &self.cluster {
            all_healthy(&cluster.health().await)?;
        }
        if let Some(community) = &self.community {
            all_healthy(&community.health().await)?;
        }
        Ok(())
    }

    /// The settings of clients' listeners: the intended values and the sabotaged ones.
    fn settings() -> [(String, String); 2] {
        [
            (format!("tls_versions={TLS_VERSIONS}\n"), format!("tls_versions=TLSv1.2,{TLS_VERSIONS}\n")),
            (format!("ciphers={TLS_CIPHERS}\n"), format!("ciphers={TLS_CIPHERS},TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384\n")),
        ]
    }
}

async fn ask_over_http(
    client: reqwest::Client,
    scheme: &str,
    address: SocketAddr,
    dialect: Dialect,
    password: Option<Secret>,
) -> Result<(), String> {
    let question = assets::text("roles/neo4j/questions/login.cypher").map_err(|error| error.to_string())?;
    let request = match dialect {
        Dialect::Three => client.get(format!("{scheme}://{address}/db/data/")),
        Dialect::Five => client.post(format!("{scheme}://{address}/db/neo4j/query/v2")).json(&json!({ "statement": question })),
    };
    let answer = request.basic_auth(USER, password.as_ref().map(Secret::reveal)).send().await.map_err(|error| format!("{error:?}"))?;
    if answer.status().is_success() { Ok(()) } else { Err(answer.status().to_string()) }
}

#[async_trait]
impl TlsTarget for Target {
    async fn listeners(&self) -> Result<Vec<Listener>, ScenarioError> {
        let of = |node: Node| [BOLT, HTTPS].map(|port| Listener { node: node.clone(), port, start: StartTls::None });
        Ok(self.nodes().into_iter().flat_map(of).collect())
    }

    async fn connect(&self, listener: &Listener, address: SocketAddr, authority: &str) -> Result<(), String> {
        let dialect = self.dialect(&listener.node);
        if listener.port == HTTPS {
            let tls = client_config(authority).map_err(|error| error.to_string())?;
            let client = reqwest::Client::builder()
                .tls_backend_preconfigured(tls)
                .timeout(CLIENT_LIMIT)
                .no_proxy()
                .build()
                .map_err(|error| error.to_string())?;
            return ask_over_http(client, "https", address, dialect, self.password(&listener.node)).await;
        }
        let alive = cypher("monitoring/alive").map_err(|error| error.to_string())?;
        let mut client =
            GraphClient::connect(dialect, address, &self.login(&listener.node, authority)).await.map_err(|error| error.to_string())?;
        client.ask(alive).await.map(drop).map_err(|error| error.to_string())
    }

    async fn connect_plaintext(&self, listener: &Listener) -> Result<(), String> {
        let (dialect, address) = (self.dialect(&listener.node), listener.node.socket(listener.port));
        if listener.port == HTTPS {
            dora_harness::security::install_provider();
            let client = reqwest::Client::builder().timeout(CLIENT_LIMIT).no_proxy().build().map_err(|error| error.to_string())?;
            return ask_over_http(client, "http", address, dialect, self.password(&listener.node)).await;
        }
        let alive = cypher("monitoring/alive").map_err(|error| error.to_string())?;
        let mut client =
            GraphClient::connect_plaintext(dialect, address, &self.login(&listener.node, "")).await.map_err(|error| error.to_string())?;
        client.ask(alive).await.map(drop).map_err(|error| error.to_string())
    }

    async fn sabotage(&self, _id: &str) -> Result<(), ScenarioError> {
        self.reconfigure(&Self::settings()).await
    }

    async fn undo_sabotage(&self, _id: &str) -> Result<(), ScenarioError> {
        self.reconfigure(&Self::settings().map(|(intended, planted)| (planted, intended))).await
    }
}
