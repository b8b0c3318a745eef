//! etcd, which reads its files for every handshake, and Patroni's REST API, which takes them up on SIGHUP.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use dora_harness::{
    database::postgres::{ETCD_PORT, PostgresCluster},
    security::{Identity, StartTls},
    topology::Node,
};

use super::{
    driver::{METHOD, SABOTAGES, listeners_of, rotate},
    https::ask,
    repeat::Repeats,
    target::CertificateTarget,
};
use crate::{
    Database, Pillar, Scenario, ScenarioError, Trial,
    security::{Listener, openbao::parts},
};

/// The scenario.
pub const SCENARIO: Scenario = Scenario {
    id: "security/openbao/certificates-etcd",
    title: "etcd and Patroni's REST API: certificates and their authority change under load",
    pillar: Pillar::Security,
    database: Database::Openbao,
    clauses: &["SEC-CERT"],
    goal: "Every etcd member, for clients and for the other members, and Patroni's REST API on every server get their certificates from OpenBao, \
           and another authority's after that; no question to etcd and none of an application to the primary is lost.",
    method: METHOD,
    does_not_show: &[
        "PostgreSQL's own port and the pooler's certificate (security/openbao/certificates-postgres)",
        "a Patroni that answers all the time: it closes its port for a moment to take files up, and its clients ask again",
        "connections that stay open: Patroni's to etcd and the members' among themselves keep the certificate under which they were made",
        "revoked certificates: etcd is given no list",
        "another root: clients and members trust the run's root throughout, and the chain brings the intermediate along",
    ],
    needs_high_availability: false,
    deadline: Duration::from_secs(180),
    sabotages: &SABOTAGES,
    run: |trial| Box::pin(run(trial)),
};

/// etcd's members among themselves.
const PEER_PORT: u16 = 2380;
/// Patroni's REST API.
const REST_PORT: u16 = 8008;
/// Patroni closes its port and opens it again to take files up. Who asks it, asks again.
const REPEAT_LIMIT: Duration = Duration::from_secs(2);

async fn run(trial: &Trial) -> Result<(), ScenarioError> {
    let cluster = parts::postgres(trial).await?;
    let primary = cluster.find_primary().await.map_err(|error| ScenarioError::client("find the primary", error))?;
    // A planted defect is for the last node: not for the one that everybody writes to.
    let mut servers: Vec<Node> = cluster.servers().to_vec();
    servers.sort_by_key(|server| server.name() != primary.name());
    let identity = trial.ground().authority().issue_client("certificate-load");
    let identity = identity.map_err(|error| ScenarioError::client("make a client's certificate", error))?;
    let repeats = Repeats::within(REPEAT_LIMIT);
    let target = EtcdCertificates { cluster, servers, identity, turn: AtomicUsize::default(), repeats };
    rotate(trial, &target).await
}

struct EtcdCertificates {
    cluster: PostgresCluster,
    /// The primary first.
    servers: Vec<Node>,
    /// etcd demands a client's.
    identity: Identity,
    turn: AtomicUsize,
    repeats: Repeats,
}

#[async_trait]
impl CertificateTarget for EtcdCertificates {
    fn nodes(&self) -> Vec<Node> {
        self.cluster.etcd().iter().chain(&self.servers).cloned().collect()
    }

    fn listeners(&self) -> Vec<Listener> {
        let mut listeners = listeners_of(self.cluster.etcd(), ETCD_PORT, StartTls::None);
        listeners.extend(listeners_of(self.cluster.etcd(), PEER_PORT, StartTls::None));
        listeners.extend(listeners_of(&self.servers, REST_PORT, StartTls::None));
        listeners
    }

    /// A read that a majority of the members has to confirm, at the member whose turn it is, an application's question to the primary, whom the
    /// pooler knows from Patroni, and a question about the cluster to a Patroni.
    async fn request(&self) -> Result<(), String> {
        let number = self.turn.fetch_add(1, Ordering::Relaxed);
        let member = &self.cluster.etcd()[number % self.cluster.etcd().len()];
        let url = format!("https://{}/v3/kv/range", member.socket(ETCD_PORT));
        // The key is "/dora", in the base 64 of etcd's gateway.
        ask(self.cluster.authority(), Some(&self.identity), |client| client.post(url).body(r#"{"key":"L2RvcmE="}"#))
            .await
            .map_err(|error| format!("{}: {error}", member.name()))?;
        parts::ask_through_pooler(&self.cluster).await.map_err(|error| format!("{}: {error}", self.cluster.pooler().name()))?;
        let server = &self.servers[number % self.servers.len()];
        let asked = self.repeats.until_answered(|| async {
            let url = format!("https://{}/cluster", server.socket(REST_PORT));
            ask(self.cluster.authority(), None, |client| client.get(url)).await.map(drop)
        });
        asked.await.map_err(|error| format!("{}: {error}", server.name()))
    }

    fn repeats(&self) -> Vec<&Repeats> {
        vec![&self.repeats]
    }

    async fn take_up(&self, node: &Node) -> Result<(), ScenarioError> {
        // Of a server's, the first process hands it on to Patroni; etcd looks for itself.
        if self.servers.iter().any(|server| server.name() == node.name()) {
            node.signal("HUP").await?;
        }
        Ok(())
    }
}
