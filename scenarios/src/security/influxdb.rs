//! InfluxDB's client ports: every node of the cluster (behind stunnel), and the single node.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_harness::{
    database::{
        Cluster as _,
        influxdb::{Access, Form, Influx, InfluxClient, PORT, influxql},
    },
    patience::within,
    security::StartTls,
    topology::Node,
};

use super::{Listener, TlsTarget, client_port};
use crate::{Database, Pillar, Sabotage, Scenario, ScenarioError, Trial};

/// One request of the real client.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
/// A node that was restarted serves again by then.
const RESTART_LIMIT: Duration = Duration::from_secs(40);
/// A node that is asked to stop is killed after this time.
const STOP_GRACE: Duration = Duration::from_secs(5);
const OLD_TLS: &str = "tls-1-2-accepted";

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "security/influxdb",
    title: "InfluxDB's client ports speak TLS 1.3 only",
    pillar: Pillar::Security,
    database: Database::Influxdb,
    clauses: &["SEC-TLS-IDB"],
    goal: "find out whether any client port of any node accepts an old protocol version or plaintext, and whether the client can be deceived",
    method: &[
        "offer TLS 1.3, 1.2, 1.1 and 1.0, each alone, to every client port from inside the network",
        "query with user and password, but without TLS",
        "query with the real client: trusting the right and a foreign authority, by a named and by an unnamed address",
    ],
    does_not_show: &["the links between the nodes (clause SEC-TLS-LINKS)", "certificate expiry and rotation"],
    needs_high_availability: false,
    deadline: Duration::from_secs(120),
    sabotages: &[Sabotage {
        id: OLD_TLS,
        what: "one node is restarted with a configuration that accepts TLS 1.2, too",
        expects: "old-tls-accepted",
    }],
    run: |trial| Box::pin(run(trial)),
}];

async fn run(trial: &Trial) -> Result<(), ScenarioError> {
    client_port(trial, &*client_ports(trial).await?).await
}

/// The client ports, for scenarios beside this one.
///
/// # Errors
/// [`ScenarioError::Missing`].
pub(super) async fn client_ports(trial: &Trial) -> Result<Box<dyn TlsTarget>, ScenarioError> {
    let deployments = trial.platform().influxdb.deployments().await;
    if deployments.is_empty() {
        return Err(ScenarioError::Missing("no InfluxDB was started".into()));
    }
    Ok(Box::new(Ports { deployments }))
}

struct Ports {
    deployments: Vec<Arc<Influx>>,
}

impl Ports {
    fn of(&self, node: &Node) -> Result<&Influx, String> {
        let owner = self.deployments.iter().find(|influx| influx.nodes().iter().any(|each| each.name() == node.name()));
        owner.map(Arc::as_ref).ok_or_else(|| format!("no deployment has a node {}", node.name()))
    }

    /// The deployment and node that are spoiled: the single node where there is one, because it restarts fastest.
    fn spoiled(&self) -> Result<(&Influx, Node), ScenarioError> {
        let last = self.deployments.last().ok_or_else(|| ScenarioError::Missing("no InfluxDB was started".into()))?;
        Ok((last, last.nodes().remove(0)))
    }

    async fn set_oldest_version(&self, from: &str, to: &str) -> Result<(), ScenarioError> {
        let (influx, node) = self.spoiled()?;
        match influx.form() {
            Form::Single => {
                let line = |version: &str| format!("min-version = \"tls{version}\"");
                node.edit_file("/dora/config/influxdb.toml", &line(from), &line(to)).await?;
            }
            // Only the client port's section has this pair of lines; the links between nodes stay as they are.
            Form::Cluster => {
                let lines = |version: &str| format!(":{PORT}\nsslVersionMin = TLSv{version}");
                node.edit_file("/dora/config/stunnel.conf", &lines(from), &lines(to)).await?;
            }
        }
        node.stop(STOP_GRACE).await?;
        node.start().await?;
        within("the restarted node", RESTART_LIMIT, Duration::from_millis(200), || async {
            let health = influx.node_health(&node).await;
            if health.healthy { Ok(()) } else { Err(health.observed) }
        })
        .await?;
        Ok(())
    }
}

#[async_trait]
impl TlsTarget for Ports {
    async fn listeners(&self) -> Result<Vec<Listener>, ScenarioError> {
        let nodes = self.deployments.iter().flat_map(|influx| influx.nodes());
        Ok(nodes.map(|node| Listener { node, port: PORT, start: StartTls::None }).collect())
    }

    async fn connect(&self, listener: &Listener, address: SocketAddr, authority: &str) -> Result<(), String> {
        let access = Access { authority: authority.to_owned(), ..self.of(&listener.node)?.administrator() };
        let client = InfluxClient::new(address, access, REQUEST_LIMIT).map_err(|error| error.to_string())?;
        let question = influxql("monitoring/databases").map_err(|error| error.to_string())?;
        client.query(question, None).await.map(drop).map_err(|error| error.to_string())
    }

    async fn connect_plaintext(&self, listener: &Listener) -> Result<(), String> {
        let client = InfluxClient::plaintext(listener.node.socket(PORT), self.of(&listener.node)?.administrator(), REQUEST_LIMIT);
        let client = client.map_err(|error| error.to_string())?;
        let question = influxql("monitoring/databases").map_err(|error| error.to_string())?;
        client.query(question, None).await.map(drop).map_err(|error| error.to_string())
    }

    async fn sabotage(&self, _id: &str) -> Result<(), ScenarioError> {
        self.set_oldest_version("1.3", "1.2").await
    }

    async fn undo_sabotage(&self, _id: &str) -> Result<(), ScenarioError> {
        self.set_oldest_version("1.2", "1.3").await
    }
}
