//! Redis: servers and Sentinels take up new files by `CONFIG SET`.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_harness::{
    database::{
        Cluster as _,
        redis::{Access, Account, PORT, Replicated, SENTINEL_PORT, Sharded, ask},
    },
    security::StartTls,
    topology::Node,
};

use super::{
    driver::{METHOD, SABOTAGES, listeners_of, rotate_if_there},
    target::CertificateTarget,
};
use crate::{Database, Pillar, Scenario, ScenarioError, security::Listener};

/// The scenario.
pub const SCENARIO: Scenario = Scenario {
    id: "security/openbao/certificates-redis",
    title: "Redis: certificates and their authority change under load",
    pillar: Pillar::Security,
    database: Database::Openbao,
    clauses: &["SEC-CERT"],
    goal: "Every server and Sentinel, and every node of the Cluster and its bus, gets its certificate from OpenBao, and another authority's after \
           that, and no client notices.",
    method: METHOD,
    does_not_show: &[
        "revoked certificates: Redis has no setting for a list of revoked ones (redis/redis, pull request 11385, proposes one) and asks \
         clients for no certificate here (tls-auth-clients no)",
        "another root: the clients trust the run's root throughout, and the chain brings the intermediate along",
        "connections that stay open: they keep the certificate under which they were made",
    ],
    needs_high_availability: false,
    deadline: Duration::from_secs(240),
    sabotages: &SABOTAGES,
    run: |trial| {
        Box::pin(async move {
            let part = &trial.platform().redis;
            let sharded = part.sharded.get().await;
            let replicated = part.replicated.get().await;
            rotate_if_there(trial, replicated.map(|replicated| RedisCertificates { replicated, sharded }), "Redis").await
        })
    },
};

/// Where the nodes of the Cluster talk to each other.
const BUS_PORT: u16 = 16_379;
/// How often the Cluster's client follows a redirection.
const REDIRECTIONS: u32 = 3;

struct RedisCertificates {
    replicated: Arc<Replicated>,
    sharded: Option<Arc<Sharded>>,
}

impl RedisCertificates {
    fn sharded_nodes(&self) -> Vec<Node> {
        self.sharded.iter().flat_map(|sharded| sharded.nodes()).collect()
    }

    /// How one gets into the cluster that a server belongs to; [`None`] for a Sentinel.
    fn access_of(&self, node: &Node) -> Option<&Access> {
        let has = |nodes: &[Node]| nodes.iter().any(|other| other.name() == node.name());
        let of_set = has(self.replicated.servers()).then(|| self.replicated.access());
        of_set.or_else(|| self.sharded.as_ref().filter(|sharded| has(&sharded.nodes())).map(|sharded| sharded.access()))
    }

    /// One increment through the Cluster's own client, which begins at all nodes and goes where the key is.
    async fn request_of(&self, sharded: &Sharded) -> Result<(), String> {
        let client =
            sharded.access().cluster_client(&sharded.addresses(), Account::App, REDIRECTIONS).map_err(|error| error.to_string())?;
        let mut connection = client.get_async_connection().await.map_err(|error| format!("Cluster: {error}"))?;
        let mut command = redis::cmd("INCR");
        command.arg("app:certificates");
        command.query_async::<i64>(&mut connection).await.map(drop).map_err(|error| format!("Cluster: {error}"))
    }
}

#[async_trait]
impl CertificateTarget for RedisCertificates {
    fn nodes(&self) -> Vec<Node> {
        let mut nodes: Vec<Node> = self.replicated.servers().iter().chain(self.replicated.sentinels().nodes()).cloned().collect();
        nodes.extend(self.sharded_nodes());
        nodes
    }

    fn listeners(&self) -> Vec<Listener> {
        let mut listeners = listeners_of(self.replicated.servers(), PORT, StartTls::None);
        listeners.extend(listeners_of(self.replicated.sentinels().nodes(), SENTINEL_PORT, StartTls::None));
        for port in [PORT, BUS_PORT] {
            listeners.extend(listeners_of(&self.sharded_nodes(), port, StartTls::None));
        }
        listeners
    }

    async fn request(&self) -> Result<(), String> {
        let mut connection = self.replicated.connect(Account::App).await?;
        ask::<i64>(&mut connection, &["INCR", "app:certificates"]).await.map_err(|error| error.to_string())?;
        match &self.sharded {
            Some(sharded) => self.request_of(sharded).await,
            None => Ok(()),
        }
    }

    async fn take_up(&self, node: &Node) -> Result<(), ScenarioError> {
        let failed = |error| ScenarioError::client(format!("make {} take up its certificate", node.name()), error);
        if let Some(access) = self.access_of(node) {
            let mut connection = access.connect(node.socket(PORT), Account::Admin).await.map_err(failed)?;
            // Both at once: a certificate whose key is the old one is refused.
            let words = ["CONFIG", "SET", "tls-cert-file", "/dora/tls/node.crt", "tls-key-file", "/dora/tls/node.key"];
            return ask::<()>(&mut connection, &words).await.map_err(failed);
        }
        // A Sentinel has no command for it. It keeps what it knows in its own file, so a restart costs the others one voice for a moment.
        node.stop(Duration::from_secs(5)).await?;
        node.start().await?;
        dora_harness::patience::within("the Sentinel", Duration::from_secs(20), Duration::from_millis(100), || async {
            let mut connection =
                self.replicated.access().connect(node.socket(SENTINEL_PORT), Account::Admin).await.map_err(|error| error.to_string())?;
            ask::<String>(&mut connection, &["PING"]).await.map(drop).map_err(|error| error.to_string())
        })
        .await
        .map_err(Into::into)
    }
}
