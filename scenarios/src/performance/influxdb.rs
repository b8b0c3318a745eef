//! InfluxDB under load: dashboards ask, agents write.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_fixtures::{
    Store,
    dataset::{
        Dataset,
        expected::{TimeBucket, close},
    },
    queries::{Bound, NamedQuery, arguments},
};
use dora_harness::{
    database::{
        Cluster as _,
        influxdb::{Answer, Consistency, DATABASE, Influx, InfluxClient, PORT, influxql},
    },
    workload::QueryClient,
};
use serde_json::Value;

use super::{LoadTarget, driver::SLOW_LINK_ID, open_load};
use crate::{Database, Pillar, Sabotage, Scenario, ScenarioError, Trial};

/// Written points go to a database of their own, so that the domain's content stays what its model says.
const INGEST: &str = "ingest";
/// Points in one written batch.
const BATCH: u64 = 20;
/// Different sets of arguments that the load walks over.
const VARIANTS: u64 = 32;
/// One request; the driver's own limit for a query is the same.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "performance/influxdb",
    title: "InfluxDB holds its latency objective on the domain's queries",
    pillar: Pillar::Performance,
    database: Database::Influxdb,
    clauses: &["PERF-SLO"],
    goal: "find out whether queries over time and batches of points are answered within the objective at the stated rate",
    method: &[
        "load the domain's points",
        "send six queries over time, two of audit events and two batches of 20 points in every ten requests, due at a fixed rate",
        "count latency from the moment a request was due, and compare every answer with the model's",
    ],
    does_not_show: &["the highest rate that the database can serve", "more data than this run's size has"],
    needs_high_availability: false,
    deadline: Duration::from_secs(120),
    sabotages: &[Sabotage {
        id: SLOW_LINK_ID,
        what: "5 ms are added in each direction of the clients' link",
        expects: "latency-p50-exceeded",
    }],
    run: |trial| Box::pin(run(trial)),
}];

async fn run(trial: &Trial) -> Result<(), ScenarioError> {
    let deployments = trial.platform().influxdb.deployments().await;
    let influx = deployments.into_iter().next().ok_or_else(|| ScenarioError::Missing("no InfluxDB was started".into()))?;
    open_load(trial, &Load { influx }).await
}

struct Load {
    influx: Arc<Influx>,
}

/// A statement and what must come back.
enum Prepared {
    Windows { statement: String, buckets: Vec<TimeBucket> },
    Actions { statement: String, counts: Vec<(String, i64)> },
}

#[async_trait]
impl LoadTarget for Load {
    async fn load(&self, dataset: &Dataset) -> Result<(), ScenarioError> {
        self.influx.load_domain(dataset).await.map_err(|error| ScenarioError::client("load the domain's points", error))?;
        self.influx
            .ensure_database(INGEST, self.influx.copies())
            .await
            .map_err(|error| ScenarioError::client("make a database for written points", error))
    }

    async fn entry(&self) -> Result<SocketAddr, ScenarioError> {
        Ok(self.influx.nodes()[0].socket(PORT))
    }

    fn mix(&self) -> &'static str {
        "60 % one metric of an asset by time, 20 % audit events of an organisation by action, 20 % batches of 20 points (quorum)"
    }

    async fn clients(&self, address: SocketAddr, count: usize, dataset: &Dataset) -> Result<Vec<Box<dyn QueryClient>>, ScenarioError> {
        let prepared = Arc::new(prepare(dataset)?);
        let mut clients: Vec<Box<dyn QueryClient>> = Vec::with_capacity(count);
        for index in 0..count {
            let failed = |error| ScenarioError::client("connect a client of the load", error);
            let client = InfluxClient::new(address, self.influx.application(), REQUEST_LIMIT).map_err(failed)?;
            // The first request opens the connection, so that the handshake is not in the measured path.
            client.query_in(DATABASE, influxql("monitoring/measurements").map_err(failed)?, None).await.map_err(failed)?;
            clients.push(Box::new(Dashboard { client, prepared: Arc::clone(&prepared), index }));
        }
        Ok(clients)
    }
}

fn prepare(dataset: &Dataset) -> Result<Vec<[Prepared; 2]>, ScenarioError> {
    let failed = |error| ScenarioError::client("prepare the queries of the load", error);
    let by_time = NamedQuery::named(Store::Influxdb, "metric_by_time").map_err(failed)?;
    let by_action = NamedQuery::named(Store::Influxdb, "audit_events_by_action").map_err(failed)?;
    let bind = |query: &NamedQuery, arguments: &_| match query.bind(arguments).map_err(failed)? {
        Bound::Influxql(statement) => Ok(statement),
        _ => Err(ScenarioError::client("prepare the queries of the load", "a query of another store")),
    };
    let expected = dataset.expected();
    let text = |arguments: &serde_json::Map<String, Value>, name: &str| arguments[name].as_str().unwrap_or_default().to_owned();
    let variant = |n| {
        let arguments = arguments(dataset, n);
        let window_s = arguments["window_s"].as_i64().unwrap_or(300);
        let buckets = expected.metric_by_time(&text(&arguments, "watched_asset_id"), &text(&arguments, "metric"), window_s);
        let counts = expected.audit_events_by_action(&text(&arguments, "organisation_id")).into_iter().collect();
        Ok([
            Prepared::Windows { statement: bind(&by_time, &arguments)?, buckets },
            Prepared::Actions { statement: bind(&by_action, &arguments)?, counts },
        ])
    };
    (0..VARIANTS).map(variant).collect()
}

struct Dashboard {
    client: InfluxClient,
    prepared: Arc<Vec<[Prepared; 2]>>,
    index: usize,
}

#[async_trait]
impl QueryClient for Dashboard {
    async fn query(&mut self, sequence: u64) -> Result<(), String> {
        let [windows, actions] = &self.prepared[(sequence % VARIANTS) as usize];
        match sequence % 10 {
            0..6 => self.ask(windows).await,
            6 | 7 => self.ask(actions).await,
            _ => self.write(sequence).await,
        }
    }
}

impl Dashboard {
    async fn write(&self, sequence: u64) -> Result<(), String> {
        let line = |n| format!("readings,client=c{} value={}i {}", self.index, sequence, sequence * BATCH + n + 1);
        let lines: Vec<String> = (0..BATCH).map(line).collect();
        self.client.write(INGEST, lines.join("\n"), Consistency::Quorum).await.map_err(|error| error.to_string())
    }

    async fn ask(&self, prepared: &Prepared) -> Result<(), String> {
        let (Prepared::Windows { statement, .. } | Prepared::Actions { statement, .. }) = prepared;
        let answer = self.client.query_in(DATABASE, statement, Some("s")).await.map_err(|error| error.to_string())?;
        let right = match prepared {
            Prepared::Windows { buckets, .. } => has_buckets(&answer, buckets),
            Prepared::Actions { counts, .. } => has_counts(&answer, counts),
        };
        if right { Ok(()) } else { Err(format!("another answer than the model's to {statement}")) }
    }
}

fn has_buckets(answer: &Answer, buckets: &[TimeBucket]) -> bool {
    let rows: Vec<&Vec<Value>> = answer.series.iter().flat_map(|series| &series.values).collect();
    let same = |(row, bucket): (&&Vec<Value>, &TimeBucket)| match row.as_slice() {
        [time, count, mean, max] => {
            time.as_i64() == Some(bucket.start_s)
                && count.as_i64() == Some(bucket.count)
                && mean.as_f64().is_some_and(|mean| close(mean, bucket.mean))
                && max.as_f64().is_some_and(|max| close(max, bucket.max))
        }
        _ => false,
    };
    rows.len() == buckets.len() && rows.iter().zip(buckets).all(same)
}

fn has_counts(answer: &Answer, counts: &[(String, i64)]) -> bool {
    let mut found: Vec<(String, i64)> = answer
        .series
        .iter()
        .filter_map(|series| Some((series.tags.get("action")?.as_str()?.to_owned(), series.values.first()?.get(1)?.as_i64()?)))
        .collect();
    found.sort();
    found == counts
}
