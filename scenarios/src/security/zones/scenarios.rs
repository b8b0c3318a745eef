//! The scenarios: one a database, with the services of its part.

use std::time::Duration;

use dora_harness::topology::Node;
use dora_reports::evidence::Finding;

use super::{
    defect::{
        BACKUP_EVERYWHERE, ESTABLISHED_SPARED, EXTRA_PORT, FLUSHED, FORGOTTEN_LISTENER, NODE_NOT_RESTORED, NODE_NOT_SEVERED,
        OTHERS_SEVERED, PORT_CLOSED, REGION_EVERYWHERE, WRONG_ZONE,
    },
    driver,
};
use crate::{
    Database, Pillar, Sabotage, Scenario, ScenarioError, Trial,
    security::{TlsTarget, influxdb, mongodb, neo4j, postgres, redis},
};

const METHOD: &[&str] = &[
    "read each node's ports from the kernel's socket table, and connect to all of them from a seat in each of the five zones, without rules: each answers",
    "put the policy in force in the nodes' own namespaces (nftables) and connect again from each zone: every port of the policy, every port on which something listens, and a sample on which nothing does",
    "allowed ports must answer, all others must be silent while the socket table says that somebody listens; a listener that the policy does not know is a finding",
    "cut the application zone off: the seats say when the last open connection was acknowledged and the last new one was made, in the severed zone and in the others; the database's driver logs in through seats meanwhile",
    "let it back in, and measure until each port is reached again",
];

const DOES_NOT_SHOW: &[&str] = &[
    "each of 65535 ports: where nobody listens nothing can answer, so of those only a sample is tried",
    "datagrams (UDP) and IPv6: the rules drop both, and nothing here listens to them from outside",
    "the harness's seat: its own clients come from the engine's end of the bridge, which the rules let through to every port and which stands for no zone",
    "what a zone's member may do beyond the network: all nodes are in the data zone, and reach each other's ports as the data zone may",
    "operation under the rules: they are in force while this scenario runs, and not in the rest of the run",
    "what nodes may open themselves: the rules restrict what comes in, and only a severed zone is cut off in both directions",
];

const fn scenario(
    id: &'static str,
    title: &'static str,
    database: Database,
    sabotages: &'static [Sabotage],
    run: crate::scenario::Run,
) -> Scenario {
    Scenario {
        id,
        title,
        pillar: Pillar::Security,
        database,
        clauses: &["SEC-NET"],
        goal: "From each zone exactly the allowed ports answer, and a zone that is cut off is cut off at once, completely and alone.",
        method: METHOD,
        does_not_show: DOES_NOT_SHOW,
        needs_high_availability: false,
        deadline: Duration::from_secs(210),
        sabotages,
        run,
    }
}

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[
    scenario(
        "security/postgres/zones",
        "PostgreSQL, pooler, etcd and OpenBao: who reaches which port",
        Database::Postgres,
        &[EXTRA_PORT, FLUSHED, NODE_NOT_SEVERED],
        |trial| Box::pin(async move { run(trial, &*postgres::client_ports(trial).await?).await }),
    ),
    scenario(
        "security/neo4j/zones",
        "Neo4j: who reaches which port",
        Database::Neo4j,
        &[PORT_CLOSED, FORGOTTEN_LISTENER, ESTABLISHED_SPARED],
        |trial| Box::pin(async move { run(trial, &*neo4j::client_ports(trial).await?).await }),
    ),
    scenario(
        "security/mongodb/zones",
        "MongoDB: who reaches which port",
        Database::Mongodb,
        &[WRONG_ZONE, REGION_EVERYWHERE, NODE_NOT_RESTORED],
        |trial| Box::pin(async move { run(trial, &*mongodb::client_ports(trial).await?).await }),
    ),
    scenario(
        "security/influxdb/zones",
        "InfluxDB: who reaches which port",
        Database::Influxdb,
        &[EXTRA_PORT, BACKUP_EVERYWHERE, OTHERS_SEVERED],
        |trial| Box::pin(async move { run(trial, &*influxdb::client_ports(trial).await?).await }),
    ),
    scenario(
        "security/redis/zones",
        "Redis, Sentinel and Redis Cluster: who reaches which port",
        Database::Redis,
        &[
            EXTRA_PORT,
            PORT_CLOSED,
            BACKUP_EVERYWHERE,
            REGION_EVERYWHERE,
            WRONG_ZONE,
            FLUSHED,
            FORGOTTEN_LISTENER,
            NODE_NOT_SEVERED,
            ESTABLISHED_SPARED,
            OTHERS_SEVERED,
            NODE_NOT_RESTORED,
        ],
        |trial| Box::pin(async move { run(trial, &*redis::client_ports(trial).await?).await }),
    ),
];

async fn run(trial: &Trial, target: &dyn TlsTarget) -> Result<(), ScenarioError> {
    let mut nodes: Vec<Node> = Vec::new();
    for member in trial.scenario.members() {
        let clusters = trial.platform().part(*member).clusters().await;
        if clusters.is_empty() {
            let message = format!(
                "there is no {member} here, so nobody looked at its ports: a run that selects {} by name starts it",
                trial.scenario.id
            );
            trial.find(Finding::unconfirmed("part-not-there", message));
        }
        nodes.extend(clusters.iter().flat_map(|cluster| cluster.nodes()));
    }
    driver::zones(trial, &nodes, target).await
}
