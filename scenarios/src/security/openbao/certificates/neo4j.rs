//! Neo4j: this version reads its certificates at its start only, so the servers are restarted one after the other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use dora_fixtures::assets;
use dora_harness::{
    database::{
        Cluster as _,
        neo4j::{Access, BOLT, CausalCluster, CommunityServer, HTTPS, RoutingDriver},
    },
    patience::within,
    platform::all_healthy,
    security::StartTls,
    topology::Node,
};
use futures_util::future::try_join_all;
use serde_json::Map;
use tokio::time::sleep;

use super::{
    driver::{METHOD, SABOTAGES, listeners_of, rotate},
    repeat::Repeats,
    target::CertificateTarget,
};
use crate::{Database, Pillar, Sabotage, Scenario, ScenarioError, Trial, security::Listener};

const AT_ONCE: &str = "cores-away-at-once";

/// A core without its chain is none: it would have to be brought back from outside.
const PLANTED: [Sabotage; 5] = {
    let [one_skipped, not_taken_up, _, foreign, old_authority] = SABOTAGES;
    [
        one_skipped,
        not_taken_up,
        foreign,
        old_authority,
        Sabotage {
            id: AT_ONCE,
            what: "no core is started again before the last one is stopped, and then later than clients repeat",
            expects: "requests-failed",
        },
    ]
};

/// The scenario.
pub const SCENARIO: Scenario = Scenario {
    id: "security/openbao/certificates-neo4j",
    title: "Neo4j: certificates and their authority change under load, by a rolling restart",
    pillar: Pillar::Security,
    database: Database::Openbao,
    clauses: &["SEC-CERT"],
    goal: "Every core, read replica and single server gets its certificate from OpenBao, and another authority's after that; a client with a \
           routing driver loses no request, although each of them has to be restarted.",
    method: METHOD,
    does_not_show: &[
        "clients that do not repeat a transaction: the drivers of this database do, and how often it was needed is in the measures",
        "requests to the single server, for which nobody stands in while it restarts",
        "revoked certificates of clients: Bolt and HTTPS ask for none (client_auth=NONE), as clients log in by password",
        "revoked certificates of members: they do ask each other for one, but are given no lists: this version reads them \
         (revoked_dir) at its start only, and each would cost another rolling restart",
        "discovery and backup, which have no TLS in this version",
        "another root: the clients trust the run's root throughout, and the chain brings the intermediate along",
    ],
    needs_high_availability: true,
    deadline: Duration::from_secs(480),
    sabotages: &PLANTED,
    run: |trial| Box::pin(run(trial)),
};

/// Transactions between the members, and raft.
const MEMBER_PORTS: [u16; 2] = [6000, 7000];
/// One attempt at one server.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(3);
/// As long as drivers of this database repeat a transaction before they give up, unless told otherwise.
const REPEAT_LIMIT: Duration = Duration::from_secs(30);
const STOP_GRACE: Duration = Duration::from_secs(10);
/// From a core's new process to its role.
const RETURN_LIMIT: Duration = Duration::from_secs(90);

async fn run(trial: &Trial) -> Result<(), ScenarioError> {
    let part = &trial.platform().neo4j;
    let cluster = part.cluster.get().await.ok_or_else(|| ScenarioError::Missing("there is no causal cluster in this run".into()))?;
    let leader = cluster.leader().await.map_err(|error| ScenarioError::client("find the leader", error))?;
    // Who leads comes last, so that the leadership moves as seldom as possible.
    let mut cores: Vec<Node> = cluster.cores().to_vec();
    cores.sort_by_key(|core| core.name() == leader.name());
    let target = Neo4jCertificates {
        trial,
        cores,
        cluster,
        community: part.community.get().await,
        turn: AtomicUsize::default(),
        repeats: Repeats::within(REPEAT_LIMIT),
        write: assets::text("schema/neo4j/certificates/write.cypher")?,
        read: assets::text("schema/neo4j/certificates/read.cypher")?,
    };
    let outcome = rotate(trial, &target).await;
    let healthy = within("a healthy Neo4j", RETURN_LIMIT, Duration::from_millis(300), || target.healthy()).await;
    outcome.and(healthy.map_err(Into::into))
}

struct Neo4jCertificates<'a> {
    trial: &'a Trial,
    /// The one that led at the start is the last.
    cores: Vec<Node>,
    cluster: Arc<CausalCluster>,
    community: Option<Arc<CommunityServer>>,
    turn: AtomicUsize,
    repeats: Repeats,
    write: &'static str,
    read: &'static str,
}

impl Neo4jCertificates<'_> {
    /// A transaction at the leader, and one wherever the routing table sends reads; all connections are new.
    async fn attempt(&self) -> Result<(), String> {
        let number = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut driver = RoutingDriver::new(&self.cluster, self.cluster.login(ATTEMPT_LIMIT), number);
        driver.run(Access::Write, self.write, &Map::new()).await.map_err(|error| format!("write: {error}"))?;
        driver.run(Access::Read, self.read, &Map::new()).await.map_err(|error| format!("read: {error}"))?;
        Ok(())
    }

    /// Every core has a role, and one of them leads: until then the next one must not leave.
    async fn all_cores(&self) -> Result<(), String> {
        for core in &self.cores {
            self.cluster.role(core).await.map_err(|error| format!("{}: {error}", core.name()))?;
        }
        self.cluster.leader().await.map(drop).map_err(|error| error.to_string())
    }

    async fn healthy(&self) -> Result<(), String> {
        all_healthy(&self.cluster.health().await)?;
        match &self.community {
            Some(community) => all_healthy(&community.health().await),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl CertificateTarget for Neo4jCertificates<'_> {
    fn nodes(&self) -> Vec<Node> {
        let single = self.community.iter().map(|community| community.node());
        self.cluster.replicas().iter().chain(&self.cores).chain(single).cloned().collect()
    }

    fn listeners(&self) -> Vec<Listener> {
        let members: Vec<Node> = self.cluster.replicas().iter().chain(&self.cores).cloned().collect();
        let client_ports = [BOLT, HTTPS].into_iter().flat_map(|port| listeners_of(&self.nodes(), port, StartTls::None));
        let mut listeners: Vec<Listener> = client_ports.collect();
        listeners.extend(listeners_of(&members, MEMBER_PORTS[0], StartTls::None));
        listeners.extend(listeners_of(&self.cores, MEMBER_PORTS[1], StartTls::None));
        listeners
    }

    async fn request(&self) -> Result<(), String> {
        self.repeats.until_answered(|| Box::pin(self.attempt())).await
    }

    fn request_limit(&self) -> Duration {
        REPEAT_LIMIT + ATTEMPT_LIMIT * 2
    }

    fn repeats(&self) -> Vec<&Repeats> {
        vec![&self.repeats]
    }

    async fn take_up(&self, node: &Node) -> Result<(), ScenarioError> {
        node.stop(STOP_GRACE).await?;
        let at = self.cores.iter().position(|core| core.name() == node.name());
        if at.is_some() && self.trial.is_sabotaged_by(AT_ONCE) {
            if at == Some(self.cores.len() - 1) {
                sleep(REPEAT_LIMIT).await;
                try_join_all(self.cores.iter().map(Node::start)).await?;
            }
            return Ok(());
        }
        node.start().await?;
        // Nobody's majority depends on the others, so they come back while the rotation goes on.
        if at.is_some() {
            within("all cores with a leader", RETURN_LIMIT, Duration::from_millis(300), || self.all_cores()).await?;
        }
        Ok(())
    }

    fn take_up_limit(&self) -> Duration {
        RETURN_LIMIT
    }
}
