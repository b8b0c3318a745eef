//! A set of numbers as points of one measurement, written and read back node by node.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use dora_harness::{
    database::influxdb::{Answer, Influx, InfluxClient, InfluxError, influxql_with},
    topology::Node,
};
use serde_json::json;

use crate::ScenarioError;

/// The database of the sets; its points have as many copies as there are data nodes.
pub const LEDGER: &str = "ledger";
/// The same with one copy of every point.
pub const SINGLE_COPY: &str = "ledger_single_copy";

/// A measurement that nobody used before: an empty set, without the risk of a drop that half the nodes carry out.
#[derive(Debug, Clone)]
pub struct Set {
    /// The database.
    pub database: &'static str,
    /// The measurement.
    pub measurement: String,
}

impl Set {
    /// An empty one for this purpose.
    pub fn fresh(database: &'static str, purpose: &str) -> Self {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Self { database, measurement: format!("{purpose}_{now_ms}") }
    }

    /// One point for a number. The number is also the time, so that every one is a point of its own, and all lie in one shard.
    pub fn point(&self, value: u64) -> String {
        format!("{} value={value}i {}", self.measurement, value + 1)
    }

    /// Several points for a number, each of a series of its own.
    pub fn points(&self, value: u64, count: u64) -> String {
        let line = |series: u64| format!("{},series={series} value={value}i {}", self.measurement, value + 1);
        (0..count).map(line).collect::<Vec<_>>().join("\n")
    }

    /// Which numbers a node answers with, and how many points of each. A node that has a copy answers from that and asks no other.
    pub async fn held_by(&self, client: &InfluxClient) -> Result<BTreeMap<u64, u64>, InfluxError> {
        Ok(Self::found_in(&client.query_in(self.database, &self.statement()?, Some("ns")).await?))
    }

    /// What asks for every point of the set.
    pub fn statement(&self) -> Result<String, InfluxError> {
        influxql_with("inserts/held", json!({ "database": self.database, "measurement": self.measurement }))
    }

    /// Which numbers the answer to [`Set::statement`] has, and how many points of each.
    pub fn found_in(answer: &Answer) -> BTreeMap<u64, u64> {
        let mut found = BTreeMap::new();
        for value in answer.series.iter().flat_map(|series| &series.values).filter_map(|row| row.get(1)?.as_u64()) {
            *found.entry(value).or_default() += 1;
        }
        found
    }
}

/// The databases of the sets, on every node.
pub async fn make_databases(influx: &Arc<Influx>) -> Result<(), ScenarioError> {
    let made = failed("make a database for the inserted values");
    influx.ensure_database(LEDGER, influx.copies()).await.map_err(made)?;
    influx.ensure_database(SINGLE_COPY, 1).await.map_err(failed("make a database with one copy"))
}

/// Wraps a client's error.
pub fn failed(what: &str) -> impl FnOnce(InfluxError) -> ScenarioError + '_ {
    move |error| ScenarioError::client(what, error)
}

/// The nodes that are not among these.
pub fn others(nodes: &[Node], hit: &[Node]) -> Vec<Node> {
    nodes.iter().filter(|node| !crate::ha::is_hit(hit, node)).cloned().collect()
}
