//! Neo4j: cores, read replica and the single server.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_fixtures::assets;
use dora_harness::{
    database::{
        Cluster as _,
        neo4j::{
            BOLT, CONFIGURATION, CausalCluster, CommunityServer, Dialect, GraphClient, GraphError, HTTPS, Login, TLS_CIPHERS, TLS_VERSIONS,
        },
    },
    patience::within,
    platform::all_healthy,
    topology::{Member, Node},
};
use futures_util::future::try_join_all;
use serde_json::{Map, Value};

use super::{
    ExtraPort, TransitTarget, Which, links, listeners,
    target::{AUTHORITY, restore},
    trust_both,
};
use crate::{Database, Pillar, Sabotage, Scenario, ScenarioError, Trial};

const EXTRA_PORT: &str = "extra-port-on-one-server";
const PLAIN_HTTP: &str = "http-on-the-single-server";
const HTTPS_CLOSED: &str = "https-closed-on-the-single-server";
const PLAINTEXT: &str = "plaintext-on-the-single-server";
const NO_CERTIFICATE: &str = "core-without-client-certificates";
const FOREIGN_AUTHORITY: &str = "core-trusts-a-foreign-authority";
const PLAIN_MEMBERS: &str = "members-in-plaintext";
const OLD_TLS_CLIENTS: &str = "tls-1-2-for-clients-of-one-core";
const OLD_TLS_MEMBERS: &str = "tls-1-2-for-members-of-one-core";
const PLAIN_CLIENT: &str = "client-in-plaintext";

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "security/neo4j/listeners",
        title: "Neo4j: every listener of every server, and no other",
        pillar: Pillar::Security,
        database: Database::Neo4j,
        clauses: &["SEC-TLS-NEO", "SEC-TLS-LINKS"],
        goal: "Find out what each listener accepts, and whether anything listens that the model does not know.",
        method: &[
            "read the sockets that listen from each node's own tables and compare them with the model",
            "at every listener: each protocol version alone, weak suites alone, the protocol without TLS, a client that must not trust the server",
            "at raft and transactions, where certificates are demanded: none, a foreign one, an expired one, a node's",
        ],
        does_not_show: &[
            "what travels on the links (security/neo4j/links)",
            "discovery, which has no TLS in this version and is a named exception",
        ],
        needs_high_availability: false,
        deadline: Duration::from_secs(300),
        sabotages: &[
            Sabotage { id: EXTRA_PORT, what: "something else listens on one server", expects: "undeclared-listener" },
            Sabotage { id: PLAIN_HTTP, what: "the single server has a plain HTTP connector", expects: "undeclared-listener" },
            Sabotage { id: HTTPS_CLOSED, what: "the single server does not serve HTTPS", expects: "missing-listener" },
            Sabotage { id: PLAINTEXT, what: "the single server's Bolt takes clients without TLS", expects: "plaintext-accepted" },
            Sabotage { id: NO_CERTIFICATE, what: "one core asks no other for a certificate", expects: "missing-certificate-accepted" },
            Sabotage { id: FOREIGN_AUTHORITY, what: "one core trusts a foreign authority, too", expects: "foreign-certificate-accepted" },
            Sabotage { id: OLD_TLS_CLIENTS, what: "Bolt and HTTPS of one core accept TLS 1.2", expects: "old-tls-accepted" },
            Sabotage { id: OLD_TLS_MEMBERS, what: "raft and transactions of one core accept TLS 1.2", expects: "old-tls-accepted" },
        ],
        run: |trial| Box::pin(async move { listeners(trial, &Target::of(trial).await?, Which::All).await }),
    },
    Scenario {
        id: "security/neo4j/links",
        title: "Neo4j: nothing readable between the servers",
        pillar: Pillar::Security,
        database: Database::Neo4j,
        clauses: &["SEC-TLS-LINKS"],
        goal: "Find out whether anything that is written can be read from the packets of clients, raft or transaction shipping.",
        method: &[
            "capture every packet in every server's network namespace",
            "write a text through Bolt at the leader and the single server, read it at every server",
            "search each packet and each stream for it; check that each link was seen and consists of TLS records",
            "find a text that was sent readable on purpose in each capture, and no lost packet",
        ],
        does_not_show: &["that discovery is encrypted: it is not (named exception); that it carries nothing that was written is shown"],
        needs_high_availability: true,
        // The members' proof starts all of them anew, twice.
        deadline: Duration::from_secs(480),
        sabotages: &[
            Sabotage {
                id: PLAIN_CLIENT,
                what: "the single server's Bolt takes clients without TLS, and one uses it",
                expects: "canary-on-the-wire",
            },
            Sabotage {
                id: PLAIN_MEMBERS,
                what: "raft and transactions of all members have no TLS, as the software has it by default",
                expects: "link-in-plaintext",
            },
        ],
        run: |trial| Box::pin(async move { links(trial, &Target::of(trial).await?).await }),
    },
];

const CLIENT_LIMIT: Duration = Duration::from_secs(8);
const SETTLE_LIMIT: Duration = Duration::from_secs(90);
/// From a start of all members at the same time.
const START_LIMIT: Duration = Duration::from_secs(150);
const STOP_GRACE: Duration = Duration::from_secs(10);
const MEMBERS_TLS: &str = "causal_clustering.ssl_policy=cluster";
const NO_MEMBERS_TLS: &str = "# causal_clustering.ssl_policy is not set";
/// A port that no software of the platform uses.
const NOBODYS_PORT: u16 = 4444;

struct Target {
    cluster: Option<Arc<CausalCluster>>,
    community: Option<Arc<CommunityServer>>,
    plain_client: bool,
}

fn statement(name: &str) -> Result<&'static str, ScenarioError> {
    Ok(assets::text(&format!("schema/neo4j/canary/{name}.cypher"))?)
}

fn words(text: &str) -> Map<String, Value> {
    Map::from_iter([("words".to_owned(), Value::from(text))])
}

fn failed(error: GraphError) -> ScenarioError {
    ScenarioError::client("write and read a text", error)
}

/// What a core's policy is changed by, so that it takes TLS 1.2 beside 1.3: as it is, as the defect has it.
fn old_tls(policy: &str) -> Vec<(String, String)> {
    let line = |name: &str, value: &str| format!("dbms.ssl.policy.{policy}.{name}={value}");
    let change = |name: &str, intended: &str, more: &str| (line(name, intended), line(name, &format!("{more},{intended}")));
    vec![change("tls_versions", TLS_VERSIONS, "TLSv1.2"), change("ciphers", TLS_CIPHERS, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384")]
}

impl Target {
    async fn of(trial: &Trial) -> Result<Self, ScenarioError> {
        let part = &trial.platform().neo4j;
        let (cluster, community) = (part.cluster.get().await, part.community.get().await);
        if cluster.is_none() && community.is_none() {
            return Err(ScenarioError::Missing("there is no Neo4j".into()));
        }
        Ok(Self { cluster, community, plain_client: trial.is_sabotaged_by(PLAIN_CLIENT) })
    }

    fn community(&self) -> Result<&CommunityServer, ScenarioError> {
        self.community.as_deref().ok_or_else(|| ScenarioError::Missing("there is no single server".into()))
    }

    fn last_core(&self) -> Result<Node, ScenarioError> {
        let cores = self.cluster.as_ref().map(|cluster| cluster.cores().to_vec()).unwrap_or_default();
        cores.last().cloned().ok_or_else(|| ScenarioError::Missing("there is no core".into()))
    }

    async fn healthy(&self) -> Result<(), ScenarioError> {
        self.healthy_within(SETTLE_LIMIT).await
    }

    async fn healthy_within(&self, limit: Duration) -> Result<(), ScenarioError> {
        within("a healthy Neo4j", limit, Duration::from_millis(300), || async {
            if let Some(cluster) = &self.cluster {
                all_healthy(&cluster.health().await)?;
            }
            match &self.community {
                Some(community) => all_healthy(&community.health().await),
                None => Ok(()),
            }
        })
        .await?;
        Ok(())
    }

    async fn restart(&self, node: &Node) -> Result<(), ScenarioError> {
        node.stop(STOP_GRACE).await?;
        node.start().await?;
        self.healthy().await
    }

    /// Members with and members without TLS do not understand each other, so all of them change at the same time.
    async fn change_members(&self, planted: bool) -> Result<(), ScenarioError> {
        let cluster = self.cluster.as_ref().ok_or_else(|| ScenarioError::Missing("there is no cluster".into()))?;
        let members: Vec<&Node> = cluster.members().collect();
        for member in &members {
            if planted {
                member.edit_file(CONFIGURATION, MEMBERS_TLS, NO_MEMBERS_TLS).await?;
            } else {
                restore(member, CONFIGURATION, NO_MEMBERS_TLS, MEMBERS_TLS).await?;
            }
        }
        try_join_all(members.iter().map(|member| member.stop(STOP_GRACE))).await?;
        try_join_all(members.iter().map(|member| member.start())).await?;
        self.healthy_within(START_LIMIT).await
    }

    async fn write_to_cluster(cluster: &CausalCluster, text: &str) -> Result<(), ScenarioError> {
        let leader = cluster.leader().await.map_err(failed)?;
        let mut client = cluster.client_of(&leader, CLIENT_LIMIT).await.map_err(failed)?;
        client.run(statement("write_3")?, &words(text)).await.map_err(failed)?;
        for member in cluster.members() {
            let question = statement("read_3")?;
            within("the text on every server", SETTLE_LIMIT, Duration::from_millis(200), || async {
                let mut client = cluster.client_of(member, CLIENT_LIMIT).await?;
                let rows = client.run(question, &words(text)).await?;
                if rows.is_empty() { Err(GraphError::Broken(format!("{} does not have it", member.name()))) } else { Ok(()) }
            })
            .await?;
        }
        client.run(statement("remove_3")?, &words(text)).await.map_err(failed).map(drop)
    }

    async fn write_to_community(&self, community: &CommunityServer, text: &str) -> Result<(), ScenarioError> {
        let mut client = if self.plain_client {
            let login: Login = community.login(CLIENT_LIMIT);
            GraphClient::connect_plaintext(Dialect::Five, community.node().socket(BOLT), &login).await.map_err(failed)?
        } else {
            community.client(CLIENT_LIMIT).await.map_err(failed)?
        };
        client.run(statement("write_5")?, &words(text)).await.map_err(failed)?;
        let rows = client.run(statement("read_5")?, &words(text)).await.map_err(failed)?;
        if rows.is_empty() {
            return Err(ScenarioError::client("read the text", "it is not there"));
        }
        client.run(statement("remove_5")?, &words(text)).await.map_err(failed).map(drop)
    }

    async fn plant(&self, trial: &Trial, id: &str, planted: bool) -> Result<(), ScenarioError> {
        if id == PLAIN_MEMBERS {
            return self.change_members(planted).await;
        }
        if id == FOREIGN_AUTHORITY {
            let core = self.last_core()?;
            trust_both(trial, &core, AUTHORITY, planted).await?;
            return self.restart(&core).await;
        }
        if id == EXTRA_PORT {
            let node = if let Some(community) = &self.community { community.node().clone() } else { self.last_core()? };
            let port = ExtraPort::new(node, NOBODYS_PORT);
            return if planted { port.open().await } else { port.close().await };
        }
        let single = || Ok::<_, ScenarioError>(self.community()?.node().clone());
        let one = |intended: &str, defect: &str| vec![(intended.to_owned(), defect.to_owned())];
        let (node, changes) = match id {
            PLAIN_HTTP => (single()?, one("server.http.enabled=false", "server.http.enabled=true")),
            HTTPS_CLOSED => (single()?, one("server.https.enabled=true", "server.https.enabled=false")),
            NO_CERTIFICATE => {
                (self.last_core()?, one("dbms.ssl.policy.cluster.client_auth=REQUIRE", "dbms.ssl.policy.cluster.client_auth=NONE"))
            }
            OLD_TLS_CLIENTS => (self.last_core()?, old_tls("client")),
            OLD_TLS_MEMBERS => (self.last_core()?, old_tls("cluster")),
            _ => (single()?, one("server.bolt.tls_level=REQUIRED", "server.bolt.tls_level=OPTIONAL")),
        };
        for (intended, defect) in &changes {
            if planted {
                node.edit_file(CONFIGURATION, intended, defect).await?;
            } else {
                restore(&node, CONFIGURATION, defect, intended).await?;
            }
        }
        self.restart(&node).await?;
        if id == HTTPS_CLOSED && !planted {
            // Health is asked over Bolt, which a restarted server serves a little before HTTPS.
            within("HTTPS on the single server", SETTLE_LIMIT, Duration::from_millis(200), || async {
                if node.accepts(HTTPS).await { Ok(()) } else { Err("nobody listens there") }
            })
            .await?;
        }
        Ok(())
    }
}

#[async_trait]
impl TransitTarget for Target {
    fn member(&self) -> Member {
        Member::Neo4j
    }

    async fn write_canary(&self, text: &str) -> Result<(), ScenarioError> {
        if let Some(cluster) = &self.cluster {
            Box::pin(Self::write_to_cluster(cluster, text)).await?;
        }
        match &self.community {
            Some(community) => Box::pin(self.write_to_community(community, text)).await,
            None => Ok(()),
        }
    }

    async fn sabotage(&self, trial: &Trial, id: &str) -> Result<(), ScenarioError> {
        self.plant(trial, id, true).await
    }

    async fn undo_sabotage(&self, trial: &Trial, id: &str) -> Result<(), ScenarioError> {
        self.plant(trial, id, false).await
    }
}
