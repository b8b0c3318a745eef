//! Redis: what servers, Sentinels and Cluster nodes accept from a client.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_harness::{
    database::{
        Cluster as _,
        redis::{Access, Account, PORT, Replicated, SENTINEL_PORT, Sharded, ask},
    },
    security::StartTls,
    topology::Node,
};

use super::{Listener, TlsTarget, client_port};
use crate::{Database, Pillar, Sabotage, Scenario, ScenarioError, Trial};

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "security/redis",
    title: "Redis: every client port speaks TLS 1.3 and nothing else",
    pillar: Pillar::Security,
    database: Database::Redis,
    clauses: &["SEC-TLS-RDS"],
    goal: "No server, Sentinel or Cluster node takes an older protocol or plaintext, and the client refuses who cannot prove the name.",
    method: &[
        "OpenSSL offers one protocol version at a time to every client port, from inside the network",
        "the real client logs in over TLS and pings; it also tries without TLS",
        "the real client trusts a foreign authority, or connects to an address that the certificate does not name: it must refuse",
    ],
    does_not_show: &[
        "the links between the nodes (SEC-TLS-LINKS)",
        "who may do what after the login (SEC-AUTH-RDS)",
        "which cipher suites of TLS 1.3 are on offer",
    ],
    needs_high_availability: false,
    deadline: Duration::from_secs(120),
    sabotages: &[Sabotage { id: "tls-1-2-on-one-node", what: "one server also accepts TLS 1.2", expects: "old-tls-accepted" }],
    run: |trial| Box::pin(async move { client_port(trial, &Target::of(trial).await?).await }),
}];

/// The client ports, for scenarios beside this one.
///
/// # Errors
/// [`ScenarioError::Missing`].
pub(super) async fn client_ports(trial: &Trial) -> Result<Box<dyn TlsTarget>, ScenarioError> {
    Ok(Box::new(Target::of(trial).await?))
}

struct Target {
    replicated: Arc<Replicated>,
    sharded: Option<Arc<Sharded>>,
}

impl Target {
    async fn of(trial: &Trial) -> Result<Self, ScenarioError> {
        let part = &trial.platform().redis;
        let replicated = part.replicated.get().await.ok_or_else(|| ScenarioError::Missing("there is no Redis in this run".into()))?;
        Ok(Self { replicated, sharded: part.sharded.get().await })
    }

    /// The passwords of the cluster that the node belongs to.
    fn access(&self, node: &Node) -> &Access {
        match &self.sharded {
            Some(sharded) if node.cluster() == Sharded::NAME => sharded.access(),
            _ => self.replicated.access(),
        }
    }

    /// The last server: a replica, where there is one.
    async fn set_protocols(&self, protocols: &str) -> Result<(), ScenarioError> {
        let node = self.replicated.servers().last().ok_or_else(|| ScenarioError::Missing("there is no Redis server".into()))?;
        let failed = |error| ScenarioError::client("set the TLS protocols", error);
        let mut connection = self.replicated.access().connect(node.socket(PORT), Account::Admin).await.map_err(failed)?;
        ask::<()>(&mut connection, &["CONFIG", "SET", "tls-protocols", protocols]).await.map_err(failed)
    }
}

#[async_trait]
impl TlsTarget for Target {
    async fn listeners(&self) -> Result<Vec<Listener>, ScenarioError> {
        let on = |nodes: &[Node], port: u16| {
            nodes.iter().map(|node| Listener { node: node.clone(), port, start: StartTls::None }).collect::<Vec<_>>()
        };
        let mut listeners = on(self.replicated.servers(), PORT);
        listeners.extend(on(self.replicated.sentinels().nodes(), SENTINEL_PORT));
        if let Some(sharded) = &self.sharded {
            listeners.extend(on(&sharded.nodes(), PORT));
        }
        Ok(listeners)
    }

    async fn connect(&self, listener: &Listener, address: SocketAddr, authority: &str) -> Result<(), String> {
        let access = self.access(&listener.node).trusting(authority);
        let mut connection = access.connect(address, Account::App).await.map_err(|error| error.to_string())?;
        ask::<String>(&mut connection, &["PING"]).await.map(drop).map_err(|error| error.to_string())
    }

    async fn connect_plaintext(&self, listener: &Listener) -> Result<(), String> {
        let access = self.access(&listener.node);
        let mut connection =
            access.connect_plaintext(listener.node.socket(listener.port), Account::App).await.map_err(|error| error.to_string())?;
        ask::<String>(&mut connection, &["PING"]).await.map(drop).map_err(|error| error.to_string())
    }

    async fn sabotage(&self, _id: &str) -> Result<(), ScenarioError> {
        self.set_protocols("TLSv1.2 TLSv1.3").await
    }

    async fn undo_sabotage(&self, _id: &str) -> Result<(), ScenarioError> {
        self.set_protocols("TLSv1.3").await
    }
}
