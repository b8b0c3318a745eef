//! InfluxDB's cluster loses a node under load: quorum writes go on, hinted handoff fills the node when it is back.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use dora_harness::{
    database::{
        Cluster as _,
        influxdb::{Consistency, Influx, InfluxClient, InfluxError, PORT},
    },
    fault::Kill,
    history::Outcome,
    patience::within,
    topology::Node,
    workload::InsertClient,
};
use tokio::time::Instant;

use super::{Course, HaTarget, Strike, is_hit, outage};
use crate::{Database, Pillar, Sabotage, Scenario, ScenarioError, Trial};

/// The inserted values go to a database of their own.
const DATABASE: &str = "ledger";
/// One request of a client; the workload cuts an insert off a little later.
const REQUEST_LIMIT: Duration = Duration::from_millis(1_800);
/// A node that was restarted serves again by then.
const RESTART_LIMIT: Duration = Duration::from_secs(40);
/// A node that is asked to stop is killed after this time.
const STOP_GRACE: Duration = Duration::from_secs(5);
const HANDOFF_OFF: &str = "hinted-handoff-off";

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "ha/influxdb/data-node-killed",
    title: "InfluxDB's cluster survives the loss of a node",
    pillar: Pillar::Ha,
    database: Database::Influxdb,
    clauses: &["HA-IDB-1"],
    goal: "find out whether quorum writes go on while a node is dead, and whether the node holds everything again when it is back",
    method: &[
        "four clients insert points with consistency quorum, each taking the next node for its next insert and leaving a node alone for a second that failed",
        "kill one node with SIGKILL, keep inserting, start it again",
        "read the set from every node on its own: with as many copies as nodes, a node answers from what it holds itself",
    ],
    does_not_show: &[
        "a node that is lost with its disk",
        "an outage longer than the queue's back-off (upstream doubles it up to a minute)",
        "the loss of a majority",
    ],
    needs_high_availability: true,
    deadline: Duration::from_secs(240),
    sabotages: &[Sabotage {
        id: HANDOFF_OFF,
        what: "the two surviving nodes run with hinted handoff switched off",
        expects: "returned-node-incomplete",
    }],
    run: |trial| Box::pin(run(trial)),
}];

async fn run(trial: &Trial) -> Result<(), ScenarioError> {
    let influx =
        trial.platform().influxdb.cluster.get().await.ok_or_else(|| ScenarioError::Missing("no InfluxDB cluster was started".into()))?;
    outage(trial, &Survivors { influx, set: Mutex::new(String::new()) }, Course::returns()).await
}

struct Survivors {
    influx: Arc<Influx>,
    /// The measurement of this trial.
    set: Mutex<String>,
}

fn failed(what: &str) -> impl FnOnce(InfluxError) -> ScenarioError + '_ {
    move |error| ScenarioError::client(what, error)
}

impl Survivors {
    fn set(&self) -> String {
        self.set.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The node that dies. Which one does not matter to quorum writes: all are equal as data nodes.
    fn doomed(&self) -> Result<Node, ScenarioError> {
        self.influx.nodes().pop().ok_or_else(|| ScenarioError::Missing("the InfluxDB cluster has no nodes".into()))
    }

    fn survivors(&self, hit: &[Node]) -> Vec<Node> {
        self.influx.nodes().into_iter().filter(|node| !is_hit(hit, node)).collect()
    }

    /// The set as one node holds it.
    async fn held_by(&self, node: &Node) -> Result<BTreeSet<u64>, InfluxError> {
        let statement = format!("SELECT \"value\" FROM \"{DATABASE}\"..\"{}\"", self.set());
        let answer = self.influx.owner(node)?.query(&statement, Some("ns")).await?;
        let rows = answer.series.iter().flat_map(|series| &series.values);
        Ok(rows.filter_map(|row| row.get(1)?.as_u64()).collect())
    }

    async fn switch_handoff(&self, from: &str, to: &str) -> Result<(), ScenarioError> {
        let section = |enabled: &str| format!("enabled = {enabled}\n  dir = \"/dora/data/hh\"");
        for node in self.survivors(&[self.doomed()?]) {
            node.edit_file("/dora/config/influxdb.toml", &section(from), &section(to)).await?;
            // One after the other: the meta nodes keep their majority.
            node.stop(STOP_GRACE).await?;
            node.start().await?;
            self.wait_healthy().await?;
        }
        Ok(())
    }

    async fn wait_healthy(&self) -> Result<(), ScenarioError> {
        let attempt = || async { dora_harness::platform::all_healthy(&self.influx.health().await) };
        within("the cluster after a restart", RESTART_LIMIT, Duration::from_millis(200), attempt).await?;
        Ok(())
    }
}

#[async_trait]
impl HaTarget for Survivors {
    async fn prepare(&self) -> Result<(), ScenarioError> {
        // A measurement that nobody used before is an empty set, without the risk of a drop that half the nodes carry out.
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        *self.set.lock().unwrap_or_else(PoisonError::into_inner) = format!("inserts_{now_ms}");
        self.influx.ensure_database(DATABASE).await.map_err(failed("make a database for the inserted values"))
    }

    async fn clients(&self, count: usize) -> Result<Vec<Box<dyn InsertClient>>, ScenarioError> {
        let nodes = self.influx.nodes();
        let mut clients: Vec<Box<dyn InsertClient>> = Vec::with_capacity(count);
        for index in 0..count {
            let connect = |node| Ok((self.influx.client(node, self.influx.application(), REQUEST_LIMIT)?, None));
            let connections = nodes.iter().map(connect).collect::<Result<Vec<_>, InfluxError>>().map_err(failed("make a client"))?;
            clients.push(Box::new(Writer { connections, next: index, set: self.set() }));
        }
        Ok(clients)
    }

    async fn strike(&self) -> Result<Strike, ScenarioError> {
        let node = self.doomed()?;
        let fault = Box::new(Kill::new(node.clone(), self.influx.form().role(), PORT));
        Ok(Strike { fault, hit: vec![node] })
    }

    async fn has_noticed(&self, hit: &[Node]) -> Result<(), String> {
        // The platform's own word: a survivor keeps writes for a node that it cannot reach.
        for node in self.survivors(hit) {
            let waiting = self.influx.waiting_hints(&node).await.map_err(|error| error.to_string())?;
            if !waiting.is_empty() {
                return Ok(());
            }
        }
        Err("no survivor keeps writes for another node".into())
    }

    async fn is_redundant(&self, _hit: &[Node]) -> Result<(), String> {
        dora_harness::platform::all_healthy(&self.influx.health().await)
    }

    async fn incomplete(&self, acknowledged: &BTreeSet<u64>) -> Result<Vec<(Node, Vec<u64>)>, ScenarioError> {
        let mut incomplete = Vec::new();
        for node in self.influx.nodes() {
            let held = self.held_by(&node).await.map_err(failed("read the set of one node"))?;
            let missing: Vec<u64> = acknowledged.difference(&held).copied().collect();
            if !missing.is_empty() {
                incomplete.push((node, missing));
            }
        }
        Ok(incomplete)
    }

    async fn present(&self) -> Result<Vec<u64>, ScenarioError> {
        // There is no quorum read: a value counts as present when any node holds it, and `incomplete` asks each alone.
        let mut union = BTreeSet::new();
        for node in self.influx.nodes() {
            union.extend(self.held_by(&node).await.map_err(failed("read the set"))?);
        }
        Ok(union.into_iter().collect())
    }

    async fn sabotage(&self, _id: &str) -> Result<(), ScenarioError> {
        self.switch_handoff("true", "false").await
    }

    async fn undo_sabotage(&self, _id: &str) -> Result<(), ScenarioError> {
        self.switch_handoff("false", "true").await?;
        // The hole stays in the ledger for ever: it is no content of the domain, and the next trial uses another measurement.
        self.wait_healthy().await
    }
}

/// A node that failed is left alone for this long, as a load balancer would do; the next attempt may find it back.
const AVOID: Duration = Duration::from_secs(1);

struct Writer {
    /// Each node's client, and until when it is left alone.
    connections: Vec<(InfluxClient, Option<Instant>)>,
    next: usize,
    set: String,
}

impl Writer {
    /// The next node in turn that is not left alone; the next in turn when all are.
    fn choose(&mut self) -> usize {
        let (count, now) = (self.connections.len(), Instant::now());
        let usable = |at: &usize| self.connections[*at].1.is_none_or(|until| until <= now);
        let turn = (0..count).map(|step| (self.next + step) % count).find(usable).unwrap_or(self.next % count);
        self.next = turn + 1;
        turn
    }
}

#[async_trait]
impl InsertClient for Writer {
    async fn insert(&mut self, value: u64) -> Outcome {
        let turn = self.choose();
        // The value is also the time, so that every value is a point of its own, and all lie in one shard.
        let line = format!("{} value={value}i {}", self.set, value + 1);
        // Set before and lifted after, so that an attempt that the workload cuts off counts as a failure, too.
        self.connections[turn].1 = Some(Instant::now() + REQUEST_LIMIT + AVOID);
        let outcome = self.connections[turn].0.write(DATABASE, line, Consistency::Quorum).await;
        self.connections[turn].1 = match outcome {
            Ok(()) => None,
            Err(_) => Some(Instant::now() + AVOID),
        };
        match outcome {
            Ok(()) => Outcome::Ok,
            Err(InfluxError::Refused { status, text }) if status < 500 => Outcome::Fail(format!("{status}: {text}")),
            Err(error @ (InfluxError::Connect(_) | InfluxError::Setup(_))) => Outcome::Fail(error.to_string()),
            // A 5xx says that too few copies answered, not that none has it.
            Err(error) => Outcome::Unknown(error.to_string()),
        }
    }
}
