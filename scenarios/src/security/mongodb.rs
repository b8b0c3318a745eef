//! The client ports of both replica sets.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_harness::{
    database::{
        Cluster as _,
        mongodb::{APPLICATION, Access, MemberState, MongodbError, PORT, ReplicaSet, ask_in_plaintext},
    },
    patience::within,
    platform::all_healthy,
    security::StartTls,
    topology::Node,
};
use mongodb::bson::doc;

use super::{Listener, TlsTarget, client_port};
use crate::{Database, Pillar, Sabotage, Scenario, ScenarioError, Trial};

/// One small request.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
/// A restarted member has its role again within this time.
const RETURN_LIMIT: Duration = Duration::from_secs(60);
const OLD_TLS_ID: &str = "tls-1-2-on-one-member";
const CONFIG: &str = "/dora/config/mongod.conf";
const ONLY_1_3: &str = "disabledProtocols: TLS1_0,TLS1_1,TLS1_2";
const ALSO_1_2: &str = "disabledProtocols: TLS1_0,TLS1_1";

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "security/mongodb",
    title: "MongoDB's client ports speak TLS 1.3 and nothing else",
    pillar: Pillar::Security,
    database: Database::Mongodb,
    clauses: &["SEC-TLS-MDB"],
    goal: "Find out whether any member of any set accepts an old protocol version or plaintext, and whether the driver accepts a wrong server.",
    method: &[
        "Offer every protocol version alone to every member, arbiter included, with OpenSSL from inside the network.",
        "Speak MongoDB's protocol without TLS.",
        "Connect with the Rust driver: own and foreign authority, a named and an unnamed address; log in with SCRAM-SHA-256 and run a command.",
    ],
    does_not_show: &[
        "the links between members, which use the same port and settings",
        "weak suites of TLS 1.3 (it has none)",
        "a login at the arbiter, which knows no users: it is asked for its role",
    ],
    needs_high_availability: false,
    deadline: Duration::from_secs(120),
    sabotages: &[Sabotage { id: OLD_TLS_ID, what: "one member accepts TLS 1.2", expects: "old-tls-accepted" }],
    run: |trial| Box::pin(async move { client_port(trial, &*client_ports(trial).await?).await }),
}];

/// The client ports, for scenarios beside this one.
///
/// # Errors
/// [`ScenarioError::Missing`].
pub(super) async fn client_ports(trial: &Trial) -> Result<Box<dyn TlsTarget>, ScenarioError> {
    let platform = &trial.platform().mongodb;
    let sets: Vec<_> = [platform.replica_set.get().await, platform.arbitrated.get().await].into_iter().flatten().collect();
    if sets.is_empty() {
        return Err(ScenarioError::Missing("no replica set is there".into()));
    }
    Ok(Box::new(ClientPorts { sets }))
}

struct ClientPorts {
    sets: Vec<Arc<ReplicaSet>>,
}

impl ClientPorts {
    fn set_of(&self, node: &Node) -> Result<&ReplicaSet, String> {
        let owner = self.sets.iter().find(|set| set.nodes().iter().any(|member| member.name() == node.name()));
        owner.map(|set| &**set).ok_or_else(|| format!("{} is in no set", node.name()))
    }

    /// A member whose restart costs nothing: a secondary where there is one.
    async fn spare(&self) -> Result<(&ReplicaSet, Node), ScenarioError> {
        let set = &self.sets[0];
        let mut chosen = set.data_nodes()[0].clone();
        for node in set.data_nodes() {
            if matches!(set.state(node).await, Ok(MemberState::Secondary)) {
                chosen = node.clone();
            }
        }
        Ok((set, chosen))
    }
}

/// Replaces a text in a member's configuration and restarts it; the set is healthy when this returns.
///
/// # Errors
/// [`ScenarioError`].
pub(crate) async fn reconfigure(set: &ReplicaSet, node: &Node, from: &str, to: &str) -> Result<(), ScenarioError> {
    node.edit_file(CONFIG, from, to).await?;
    // An orderly stop first waits 15 s for clients to leave; the journal makes a kill as good.
    node.kill().await?;
    node.start().await?;
    within("the member's return", RETURN_LIMIT, Duration::from_millis(200), || async { all_healthy(&set.health().await) }).await?;
    Ok(())
}

#[async_trait]
impl TlsTarget for ClientPorts {
    async fn listeners(&self) -> Result<Vec<Listener>, ScenarioError> {
        let nodes = self.sets.iter().flat_map(|set| set.nodes());
        Ok(nodes.map(|node| Listener { node, port: PORT, start: StartTls::None }).collect())
    }

    async fn connect(&self, listener: &Listener, address: SocketAddr, authority: &str) -> Result<(), String> {
        let set = self.set_of(&listener.node)?;
        let access = Access::anonymous(authority).map_err(|error| error.to_string())?;
        if set.data_nodes().iter().any(|node| node.name() == listener.node.name()) {
            access
                .with_password(APPLICATION, &set.passwords().application)
                .ask(address, doc! { "connectionStatus": 1 }, REQUEST_LIMIT)
                .await
        } else {
            access.ask(address, doc! { "hello": 1 }, REQUEST_LIMIT).await
        }
    }

    async fn connect_plaintext(&self, listener: &Listener) -> Result<(), String> {
        ask_in_plaintext(listener.node.socket(listener.port), doc! { "hello": 1 }, REQUEST_LIMIT).await
    }

    async fn sabotage(&self, _id: &str) -> Result<(), ScenarioError> {
        let (set, node) = self.spare().await?;
        reconfigure(set, &node, ONLY_1_3, ALSO_1_2).await
    }

    async fn undo_sabotage(&self, _id: &str) -> Result<(), ScenarioError> {
        // Roles may have changed since: whichever member has the weak line gets the strong one back.
        for set in &self.sets {
            for node in set.data_nodes() {
                let files = node.get_files(CONFIG).await?;
                let is_weak = files.iter().any(|(_, content)| !String::from_utf8_lossy(content).contains(ONLY_1_3));
                if is_weak {
                    reconfigure(set, node, ALSO_1_2, ONLY_1_3).await?;
                }
            }
        }
        Ok(())
    }
}

/// A set's error as the scenario's.
pub(crate) fn client_error(error: MongodbError) -> ScenarioError {
    match error {
        MongodbError::Asset(error) => error.into(),
        error => {
            let (what, why) = error.into_parts();
            ScenarioError::client(what, why)
        }
    }
}

/// The set of data nodes.
///
/// # Errors
/// [`ScenarioError::Missing`].
pub(crate) async fn replica_set(trial: &Trial) -> Result<Arc<ReplicaSet>, ScenarioError> {
    trial.platform().mongodb.replica_set.get().await.ok_or_else(|| ScenarioError::Missing("no replica set is there".into()))
}
