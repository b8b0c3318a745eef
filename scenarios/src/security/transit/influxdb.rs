//! InfluxDB: the cluster, whose links all run through sidecars, and the single node.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_harness::{
    database::{
        Cluster as _,
        influxdb::{Consistency, Form, Influx, PORT, influxql},
    },
    patience::within,
    topology::{Member, Node},
};

use super::{
    ExtraPort, TransitTarget, Which, links, listeners,
    target::{AUTHORITY, restore},
    trust_both,
};
use crate::{Database, Pillar, Sabotage, Scenario, ScenarioError, Trial};

const EXTRA_PORT: &str = "extra-port-on-one-node";
const EXPOSED: &str = "backup-port-open-to-the-network";
const PLAINTEXT: &str = "plaintext-on-the-single-node";
const OLD_TLS_CLIENTS: &str = "tls-1-2-for-clients-of-one-sidecar";
const OLD_TLS_PEERS: &str = "tls-1-2-for-peers-of-one-sidecar";
const WEAK_SUITE: &str = "weak-suite-on-one-sidecar";
const FOREIGN_AUTHORITY: &str = "foreign-authority-trusted-by-one-sidecar";
const NO_CERTIFICATE: &str = "sidecar-without-client-certificates";
const NO_IDENTITY: &str = "sidecar-takes-any-certificate-of-the-authority";
const BYPASS: &str = "sidecar-bypass-open";
const PLAIN_LINK: &str = "one-link-past-the-sidecars";

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "security/influxdb/listeners",
        title: "InfluxDB: every listener of every node, and no other",
        pillar: Pillar::Security,
        database: Database::Influxdb,
        clauses: &["SEC-TLS-IDB", "SEC-TLS-LINKS"],
        goal: "Find out what each listener accepts, and whether anything listens that the model does not know.",
        method: &[
            "read the sockets that listen from each node's own tables and compare them with the model",
            "at every listener: each protocol version alone, weak suites alone, the protocol without TLS, a client that must not trust the server",
            "between the nodes, where certificates are demanded: none, a foreign one, an expired one, a node's",
        ],
        does_not_show: &["what travels on the links (security/influxdb/links)", "who may do what after the login (SEC-AUTH-IDB)"],
        needs_high_availability: false,
        deadline: Duration::from_secs(240),
        sabotages: &[
            Sabotage { id: EXTRA_PORT, what: "something else listens on one node", expects: "undeclared-listener" },
            Sabotage { id: EXPOSED, what: "the single node's backup port listens for the network", expects: "listener-exposed" },
            Sabotage { id: PLAINTEXT, what: "the single node serves clients without TLS", expects: "plaintext-accepted" },
            Sabotage {
                id: FOREIGN_AUTHORITY,
                what: "one sidecar trusts a foreign authority, too",
                expects: "foreign-certificate-accepted",
            },
            Sabotage { id: OLD_TLS_CLIENTS, what: "one sidecar accepts TLS 1.2 from clients", expects: "old-tls-accepted" },
            Sabotage { id: OLD_TLS_PEERS, what: "one sidecar accepts TLS 1.2 from the other nodes", expects: "old-tls-accepted" },
        ],
        run: |trial| Box::pin(async move { listeners(trial, &Target::of(trial).await?, Which::All).await }),
    },
    Scenario {
        id: "security/influxdb/mesh",
        title: "InfluxDB: the sidecars let nobody in who is no node of the cluster",
        pillar: Pillar::Security,
        database: Database::Influxdb,
        clauses: &["SEC-MESH"],
        goal: "Find out whether a peer without a node's identity gets through a sidecar, and whether anything leads past it.",
        method: &[
            "at each port of each sidecar: no certificate, a foreign one, an expired one, one of the right authority that names no node, a node's own",
            "the engine's protocols without TLS at the same ports of the pod's address",
            "every further port that listens for the network on such a node is asked without TLS",
        ],
        does_not_show: &["the links of databases that have TLS themselves (SEC-TLS-LINKS)"],
        needs_high_availability: true,
        deadline: Duration::from_secs(180),
        sabotages: &[
            Sabotage { id: NO_CERTIFICATE, what: "one sidecar asks no peer for a certificate", expects: "missing-certificate-accepted" },
            Sabotage { id: NO_IDENTITY, what: "one sidecar takes any certificate of the authority", expects: "stranger-accepted" },
            Sabotage { id: BYPASS, what: "a port on one node leads past the sidecar", expects: "sidecar-bypassed" },
            Sabotage {
                id: FOREIGN_AUTHORITY,
                what: "one sidecar trusts a foreign authority, too",
                expects: "foreign-certificate-accepted",
            },
            Sabotage { id: WEAK_SUITE, what: "one sidecar accepts a suite with a short tag", expects: "weak-suite-accepted" },
        ],
        run: |trial| Box::pin(async move { listeners(trial, &Target::of(trial).await?, Which::Sidecars).await }),
    },
    Scenario {
        id: "security/influxdb/links",
        title: "InfluxDB: nothing readable between the nodes",
        pillar: Pillar::Security,
        database: Database::Influxdb,
        clauses: &["SEC-TLS-LINKS", "SEC-MESH"],
        goal: "Find out whether anything that is written can be read from the packets between the nodes, off the pods' own loopback.",
        method: &[
            "capture every packet in every node's network namespace",
            "write a text as a point to all copies, read it at every node",
            "search each packet and each stream off the loopback for it; check that each link was seen and consists of TLS records",
            "find a text that was sent readable on purpose in each capture, and no lost packet",
        ],
        does_not_show: &["the way between a database and its own sidecar, which stays inside the pod and is named in the table"],
        needs_high_availability: true,
        deadline: Duration::from_secs(180),
        sabotages: &[Sabotage {
            id: PLAIN_LINK,
            what: "the first node reaches the second one past the sidecars' TLS",
            expects: "canary-on-the-wire",
        }],
        run: |trial| Box::pin(async move { links(trial, &Target::of(trial).await?).await }),
    },
];

const REQUEST_LIMIT: Duration = Duration::from_secs(8);
const SETTLE_LIMIT: Duration = Duration::from_secs(60);
const STOP_GRACE: Duration = Duration::from_secs(5);
/// A port that no software of the platform uses.
const NOBODYS_PORT: u16 = 4444;
/// Where the planted way past the sidecar begins and where it turns inside the pod.
const BYPASS_PORT: u16 = 18_088;
const TURN_PORT: u16 = 18_443;
/// Between the nodes: raft, writes and reads.
const RPC_PORT: u16 = 8088;
/// Between the nodes: meta service.
const META_PORT: u16 = 8091;
const SIDECAR_SETTINGS: &str = "/dora/config/stunnel.conf";
const SETTINGS: &str = "/dora/config/influxdb.toml";
const DATABASE: &str = "canary";

/// A text of a file.
struct Change {
    intended: String,
    defect: String,
    /// Whether the defect is put in the intended text's place, or the other way round.
    plants: bool,
}

struct Target {
    cluster: Option<Arc<Influx>>,
    single: Option<Arc<Influx>>,
}

impl Target {
    async fn of(trial: &Trial) -> Result<Self, ScenarioError> {
        let part = &trial.platform().influxdb;
        let (cluster, single) = (part.slot(Form::Cluster).get().await, part.slot(Form::Single).get().await);
        if cluster.is_none() && single.is_none() {
            return Err(ScenarioError::Missing("no InfluxDB was started".into()));
        }
        Ok(Self { cluster, single })
    }

    fn nodes_of(&self, form: Form) -> Result<(&Influx, Vec<Node>), ScenarioError> {
        let slot = if form == Form::Cluster { &self.cluster } else { &self.single };
        let influx = slot.as_ref().ok_or_else(|| ScenarioError::Missing(format!("there is no InfluxDB as {form:?}")))?;
        Ok((influx, influx.nodes()))
    }

    /// Puts the defect into a node's file, or takes it out, and restarts the node.
    async fn change(&self, influx: &Influx, node: &Node, file: &str, change: &Change) -> Result<(), ScenarioError> {
        if change.plants {
            node.edit_file(file, &change.intended, &change.defect).await?;
        } else {
            restore(node, file, &change.defect, &change.intended).await?;
        }
        self.restart(influx, node).await
    }

    async fn restart(&self, influx: &Influx, node: &Node) -> Result<(), ScenarioError> {
        node.stop(STOP_GRACE).await?;
        node.start().await?;
        within("the restarted node", SETTLE_LIMIT, Duration::from_millis(200), || async {
            let health = influx.node_health(node).await;
            if health.healthy { Ok(()) } else { Err(health.observed) }
        })
        .await?;
        Ok(())
    }

    /// What is changed in a sidecar's settings: node, as it is, as the defect has it.
    fn sidecar_changes(&self, id: &str) -> Result<Vec<(Node, String, String)>, ScenarioError> {
        let (_, nodes) = self.nodes_of(Form::Cluster)?;
        let (first, second) = (nodes[0].clone(), nodes[1].clone());
        let last = nodes.len();
        let end = nodes[last - 1].clone();
        let peers = nodes[..last - 1].iter().fold(String::new(), |text, peer| text + "\ncheckHost = " + peer.name());
        let inside = format!("connect = 127.0.1.{last}:{META_PORT}");
        let verified = format!("{inside}\nverifyChain = yes{peers}");
        let strong = "ciphersuites = TLS_AES_256_GCM_SHA384:";
        // stunnel encrypts on one side only, so plaintext in and plaintext out are two of its services, one behind the other.
        let way = |name: &str, accept: String, connect: String| {
            format!(
                "[{name}-in]\nclient = yes\naccept = {accept}\nconnect = 127.0.0.1:{TURN_PORT}\n[{name}-out]\naccept = 127.0.0.1:{TURN_PORT}\nconnect = {connect}\n"
            )
        };
        let client_section = "[client]\n".to_owned();
        Ok(match id {
            NO_CERTIFICATE => vec![(end, verified, inside)],
            NO_IDENTITY => vec![(end, verified, format!("{inside}\nverifyChain = yes"))],
            OLD_TLS_CLIENTS => {
                // Only the clients' section has this pair of lines.
                let oldest = |version: &str| format!(":{PORT}\nsslVersionMin = TLSv{version}");
                vec![(end, oldest("1.3"), oldest("1.2"))]
            }
            OLD_TLS_PEERS => {
                // Holds for every section without a line of its own: all but the clients'.
                let oldest = |version: &str| format!("sslVersionMin = TLSv{version}\nciphersuites");
                vec![(end, oldest("1.3"), oldest("1.2"))]
            }
            WEAK_SUITE => vec![(end, strong.to_owned(), format!("securityLevel = 0\n{strong}TLS_AES_128_CCM_8_SHA256:"))],
            BYPASS => {
                let past = way("bypass", format!("{}:{BYPASS_PORT}", end.address()), format!("127.0.1.{last}:{META_PORT}"));
                vec![(end, client_section.clone(), format!("{past}{client_section}"))]
            }
            _ => {
                let to_second = format!("[to-{}-{RPC_PORT}]\nclient = yes\naccept = 127.0.1.2:{RPC_PORT}", second.name());
                // The section keeps its name and listens where nobody connects; the planted one takes its place.
                let aside = format!("[to-{}-{RPC_PORT}]\nclient = yes\naccept = 127.0.1.2:{}", second.name(), RPC_PORT + 10);
                let out = way("past", format!("127.0.1.2:{RPC_PORT}"), format!("{}:{BYPASS_PORT}", second.address()));
                let arrives = way("arrives", format!("{}:{BYPASS_PORT}", second.address()), format!("127.0.1.2:{RPC_PORT}"));
                vec![(second, client_section.clone(), format!("{arrives}{client_section}")), (first, to_second, format!("{out}{aside}"))]
            }
        })
    }

    async fn write_and_read(influx: &Influx, text: &str) -> Result<(), ScenarioError> {
        let failed = |error: dora_harness::database::influxdb::InfluxError| ScenarioError::client("write and read a point", error);
        influx.ensure_database(DATABASE, influx.copies()).await.map_err(failed)?;
        let nodes = influx.nodes();
        for (number, node) in nodes.iter().enumerate() {
            let writer = influx.client(node, influx.application(), REQUEST_LIMIT).map_err(failed)?;
            // A written point is on every node, so the links carry it whoever takes it.
            let line = format!("canary,from={number} words=\"{text}\"");
            within("the point on all copies", SETTLE_LIMIT, Duration::from_millis(200), || {
                writer.write(DATABASE, line.clone(), Consistency::All)
            })
            .await?;
        }
        let question = influxql("canary/words").map_err(failed)?;
        for node in &nodes {
            let owner = influx.owner(node).map_err(failed)?;
            let answer = owner.query_in(DATABASE, question, None).await.map_err(failed)?;
            if !format!("{answer:?}").contains(text) {
                return Err(ScenarioError::client("read the point", format!("{} does not have it", node.name())));
            }
        }
        influx.drop_database(DATABASE).await.map_err(failed)
    }

    async fn plant(&self, trial: &Trial, id: &str, planted: bool) -> Result<(), ScenarioError> {
        match id {
            EXTRA_PORT => {
                let form = if self.single.is_some() { Form::Single } else { Form::Cluster };
                let port = ExtraPort::new(self.nodes_of(form)?.1.remove(0), NOBODYS_PORT);
                if planted { port.open().await } else { port.close().await }
            }
            EXPOSED => {
                let (influx, nodes) = self.nodes_of(Form::Single)?;
                let (intended, defect) = ("bind-address = \"127.0.0.1:8088\"".into(), "bind-address = \"0.0.0.0:8088\"".into());
                self.change(influx, &nodes[0], SETTINGS, &Change { intended, defect, plants: planted }).await
            }
            PLAINTEXT => {
                let (influx, nodes) = self.nodes_of(Form::Single)?;
                let (intended, defect) = ("https-enabled = true", "https-enabled = false");
                if !planted {
                    restore(&nodes[0], SETTINGS, defect, intended).await?;
                    return self.restart(influx, &nodes[0]).await;
                }
                nodes[0].edit_file(SETTINGS, intended, defect).await?;
                nodes[0].stop(STOP_GRACE).await?;
                nodes[0].start().await?;
                // Whoever asks for its health would do it over TLS.
                within("the restarted node's port", SETTLE_LIMIT, Duration::from_millis(200), || async {
                    if nodes[0].accepts(PORT).await { Ok(()) } else { Err("nobody listens there") }
                })
                .await?;
                Ok(())
            }
            FOREIGN_AUTHORITY => {
                let (influx, nodes) = self.nodes_of(Form::Cluster)?;
                let node = &nodes[nodes.len() - 1];
                trust_both(trial, node, AUTHORITY, planted).await?;
                self.restart(influx, node).await
            }
            other => {
                let (influx, _) = self.nodes_of(Form::Cluster)?;
                for (node, intended, defect) in self.sidecar_changes(other)? {
                    self.change(influx, &node, SIDECAR_SETTINGS, &Change { intended, defect, plants: planted }).await?;
                }
                Ok(())
            }
        }
    }
}

#[async_trait]
impl TransitTarget for Target {
    fn member(&self) -> Member {
        Member::Influxdb
    }

    async fn write_canary(&self, text: &str) -> Result<(), ScenarioError> {
        for influx in [&self.cluster, &self.single].into_iter().flatten() {
            Self::write_and_read(influx, text).await?;
        }
        Ok(())
    }

    async fn sabotage(&self, trial: &Trial, id: &str) -> Result<(), ScenarioError> {
        self.plant(trial, id, true).await
    }

    async fn undo_sabotage(&self, trial: &Trial, id: &str) -> Result<(), ScenarioError> {
        self.plant(trial, id, false).await
    }
}
