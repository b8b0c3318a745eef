//! Redis: servers and Sentinels take up new files by `CONFIG SET`.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_harness::{
    database::redis::{Account, PORT, Replicated, SENTINEL_PORT, ask},
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
    goal: "Every server and Sentinel gets its certificate from OpenBao, and another authority's after that, and no client notices.",
    method: METHOD,
    does_not_show: &[
        "the Cluster beside the replicated set",
        "revoked certificates: Redis has no list of revoked ones and asks its clients for no certificate here",
        "another root: the clients trust the run's root throughout, and the chain brings the intermediate along",
        "connections that stay open: they keep the certificate under which they were made",
    ],
    needs_high_availability: false,
    deadline: Duration::from_secs(180),
    sabotages: &SABOTAGES,
    run: |trial| {
        Box::pin(async move {
            let replicated = trial.platform().redis.replicated.get().await;
            rotate_if_there(trial, replicated.map(|replicated| RedisCertificates { replicated }), "Redis").await
        })
    },
};

struct RedisCertificates {
    replicated: Arc<Replicated>,
}

#[async_trait]
impl CertificateTarget for RedisCertificates {
    fn nodes(&self) -> Vec<Node> {
        self.replicated.sentinels().nodes().iter().chain(self.replicated.servers()).cloned().collect()
    }

    fn listeners(&self) -> Vec<Listener> {
        let mut listeners = listeners_of(self.replicated.servers(), PORT, StartTls::None);
        listeners.extend(listeners_of(self.replicated.sentinels().nodes(), SENTINEL_PORT, StartTls::None));
        listeners
    }

    async fn request(&self) -> Result<(), String> {
        let mut connection = self.replicated.connect(Account::App).await?;
        ask::<i64>(&mut connection, &["INCR", "app:certificates"]).await.map(drop).map_err(|error| error.to_string())
    }

    async fn take_up(&self, node: &Node) -> Result<(), ScenarioError> {
        let failed = |error| ScenarioError::client(format!("make {} take up its certificate", node.name()), error);
        let is_server = self.replicated.servers().iter().any(|server| server.name() == node.name());
        if is_server {
            let mut connection = self.replicated.access().connect(node.socket(PORT), Account::Admin).await.map_err(failed)?;
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
