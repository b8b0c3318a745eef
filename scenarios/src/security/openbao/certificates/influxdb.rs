//! InfluxDB: the cluster's sidecars, which hold all its listeners, reload; the single node reads its certificate at its start only.

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
        influxdb::{Consistency, Form, Influx, InfluxError, PORT},
    },
    security::StartTls,
    topology::Node,
};

use super::{
    driver::{METHOD, SABOTAGES, listeners_of, rotate},
    repeat::Repeats,
    target::CertificateTarget,
};
use crate::{Database, Pillar, Scenario, ScenarioError, Trial, security::Listener};

/// The scenario.
pub const SCENARIO: Scenario = Scenario {
    id: "security/openbao/certificates-influxdb",
    title: "InfluxDB: certificates of sidecars and servers and their authority change under load",
    pillar: Pillar::Security,
    database: Database::Openbao,
    clauses: &["SEC-CERT"],
    goal: "Every sidecar of the cluster, for clients and between the nodes, and the single node get their certificates from OpenBao, and another \
           authority's after that; an agent that keeps its points until they are taken loses none.",
    method: METHOD,
    does_not_show: &[
        "clients that do not repeat a write: agents of this database do, and how often it was needed is in the measures",
        "connections between sidecars that stay open: they keep the certificate under which they were made",
        "revoked certificates: the sidecars are given no list",
        "another root: clients and sidecars trust the run's root throughout, and the chain brings the intermediate along",
    ],
    needs_high_availability: false,
    deadline: Duration::from_secs(240),
    sabotages: &SABOTAGES,
    run: |trial| Box::pin(run(trial)),
};

const DATABASE: &str = "certificates";
/// Clients; raft, writes and reads between the nodes; the meta service between the nodes.
const SIDECAR_PORTS: [u16; 3] = [PORT, 8088, 8091];
/// One attempt at one node.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(3);
/// As long as an agent keeps a point that nobody takes.
const REPEAT_LIMIT: Duration = Duration::from_secs(12);
const STOP_GRACE: Duration = Duration::from_secs(5);
const STEP_LIMIT: Duration = Duration::from_secs(10);

async fn run(trial: &Trial) -> Result<(), ScenarioError> {
    let part = &trial.platform().influxdb;
    let deployments = part.deployments().await;
    if deployments.is_empty() {
        return Err(ScenarioError::Missing("there is no InfluxDB in this run".into()));
    }
    let failed = |error: InfluxError| ScenarioError::client("prepare InfluxDB's database", error);
    for influx in &deployments {
        influx.ensure_database(DATABASE, influx.copies()).await.map_err(failed)?;
    }
    let loads = deployments.into_iter().map(|influx| Load { influx, repeats: Repeats::within(REPEAT_LIMIT) }).collect();
    let target = InfluxCertificates { loads, turn: AtomicUsize::default() };
    let outcome = rotate(trial, &target).await;
    for Load { influx, .. } in &target.loads {
        influx.drop_database(DATABASE).await.map_err(failed)?;
    }
    outcome
}

/// A deployment, and what its clients had to repeat.
struct Load {
    influx: Arc<Influx>,
    repeats: Repeats,
}

struct InfluxCertificates {
    /// The cluster first.
    loads: Vec<Load>,
    turn: AtomicUsize,
}

impl InfluxCertificates {
    fn nodes_of(&self, form: Form) -> Vec<Node> {
        self.loads.iter().filter(|load| load.influx.form() == form).flat_map(|load| load.influx.nodes()).collect()
    }

    /// One point to the node whose turn it is, over a new connection.
    async fn write(&self, influx: &Influx) -> Result<(), InfluxError> {
        let nodes = influx.nodes();
        let number = self.turn.fetch_add(1, Ordering::Relaxed);
        let client = influx.client(&nodes[number % nodes.len()], influx.application(), ATTEMPT_LIMIT)?;
        client.write(DATABASE, format!("certificates number={number}i"), Consistency::Quorum).await
    }
}

#[async_trait]
impl CertificateTarget for InfluxCertificates {
    fn nodes(&self) -> Vec<Node> {
        [Form::Cluster, Form::Single].into_iter().flat_map(|form| self.nodes_of(form)).collect()
    }

    fn listeners(&self) -> Vec<Listener> {
        let cluster = self.nodes_of(Form::Cluster);
        let mut listeners: Vec<Listener> =
            SIDECAR_PORTS.into_iter().flat_map(|port| listeners_of(&cluster, port, StartTls::None)).collect();
        listeners.extend(listeners_of(&self.nodes_of(Form::Single), PORT, StartTls::None));
        listeners
    }

    async fn request(&self) -> Result<(), String> {
        for Load { influx, repeats } in &self.loads {
            repeats.until_answered(|| self.write(influx)).await.map_err(|error| format!("{}: {error}", influx.form().name()))?;
        }
        Ok(())
    }

    fn request_limit(&self) -> Duration {
        (REPEAT_LIMIT + ATTEMPT_LIMIT) * 2
    }

    fn repeats(&self) -> Vec<&Repeats> {
        self.loads.iter().map(|load| &load.repeats).collect()
    }

    async fn take_up(&self, node: &Node) -> Result<(), ScenarioError> {
        if self.nodes_of(Form::Single).iter().any(|single| single.name() == node.name()) {
            node.stop(STOP_GRACE).await?;
            node.start().await?;
            return Ok(());
        }
        node.exec_ok(&["sh", "-s"], assets::bytes("config/influxdb-cluster/reload-sidecar.sh")?, STEP_LIMIT).await?;
        Ok(())
    }
}
