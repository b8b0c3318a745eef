//! `PostgreSQL`: the domain's queries through the pooler.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_fixtures::{
    Store,
    dataset::Dataset,
    queries::{Bound, NamedQuery, arguments},
};
use dora_harness::{
    database::postgres::{POOLER_PORT, PostgresCluster, connect},
    workload::QueryClient,
};
use rand::RngExt as _;
use serde_json::{Map, Value};
use sqlx::{PgConnection, Row as _, postgres::PgRow};

use super::{LoadTarget, driver};
use crate::{Database, Pillar, Sabotage, Scenario, ScenarioError, backup};

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "performance/postgres",
    title: "PostgreSQL: the domain's queries at a stated rate",
    pillar: Pillar::Performance,
    database: Database::Postgres,
    clauses: &["PERF-SLO"],
    goal: "At the stated rate the platform's own queries through the pooler stay within their latency objective.",
    method: &[
        "the domain data are loaded",
        "sixteen connections through PgBouncer send queries when they are due, whether earlier ones are answered or not",
        "every answer is compared with the dataset's model; latency counts from when the query was due",
    ],
    does_not_show: &[
        "the highest rate that the cluster can serve",
        "data that exceed the servers' memory",
        "long-running reports beside the load",
    ],
    needs_high_availability: false,
    deadline: Duration::from_mins(2),
    sabotages: &[Sabotage {
        id: driver::SLOW_LINK_ID,
        what: "the link between clients and pooler is 5 ms longer in each direction",
        expects: "latency-p50-exceeded",
    }],
    run: |trial| {
        Box::pin(async move {
            let missing = || ScenarioError::Missing("there is no PostgreSQL cluster".to_owned());
            let cluster = trial.platform().postgres.cluster().await.ok_or_else(missing)?;
            driver::open_load(trial, &PostgresLoad { cluster }).await
        })
    },
}];

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Different arguments for each query; the dataset's small size has 40 policies.
const CASES: u64 = 120;

struct PostgresLoad {
    cluster: Arc<PostgresCluster>,
}

/// A query with its arguments and its answer.
struct Case {
    text: &'static str,
    arguments: Vec<Value>,
    expected: Vec<String>,
}

/// One case of each reading query.
struct Round {
    policies: Case,
    overview: Case,
    user: Case,
    assessments: Case,
}

#[async_trait]
impl LoadTarget for PostgresLoad {
    async fn load(&self, dataset: &Dataset) -> Result<(), ScenarioError> {
        backup::postgres::load(&self.cluster, dataset).await
    }

    async fn entry(&self) -> Result<SocketAddr, ScenarioError> {
        Ok(self.cluster.pooler().socket(POOLER_PORT))
    }

    fn mix(&self) -> &'static str {
        "40 % policies by classification, 20 % compliance overview, 20 % user by login, 10 % assessments of a policy, 10 % new audit references"
    }

    async fn clients(&self, address: SocketAddr, count: usize, dataset: &Dataset) -> Result<Vec<Box<dyn QueryClient>>, ScenarioError> {
        let rounds = Arc::new((0..CASES).map(|number| round(dataset, number)).collect::<Result<Vec<_>, _>>()?);
        let write = Arc::new(Write::of(dataset)?);
        let login = self.cluster.application_login(address);
        let mut clients: Vec<Box<dyn QueryClient>> = Vec::new();
        for _ in 0..count {
            let connection =
                connect(&login, CONNECT_LIMIT).await.map_err(|error| ScenarioError::client("connect through the pooler", error))?;
            clients.push(Box::new(Client { connection, rounds: Arc::clone(&rounds), write: Arc::clone(&write) }));
        }
        Ok(clients)
    }
}

fn named(name: &str) -> Result<NamedQuery, ScenarioError> {
    NamedQuery::named(Store::Postgres, name).map_err(|error| ScenarioError::client(format!("read the query {name}"), error))
}

fn bind(query: &NamedQuery, arguments: &Map<String, Value>) -> Result<(&'static str, Vec<Value>), ScenarioError> {
    let failed = |reason: String| ScenarioError::client(format!("bind the query {}", query.name), reason);
    match query.bind(arguments).map_err(|error| failed(error.to_string()))? {
        Bound::Sql { text, arguments } => Ok((text, arguments)),
        _ => Err(failed("it is not SQL".to_owned())),
    }
}

fn round(dataset: &Dataset, number: u64) -> Result<Round, ScenarioError> {
    let picked = arguments(dataset, number);
    let text = |name: &str| picked[name].as_str().unwrap_or_default();
    let limit = picked["limit"].as_u64().unwrap_or_default() as usize;
    let case = |name: &str, expected: Vec<String>| {
        let (text, arguments) = bind(&named(name)?, &picked)?;
        Ok::<_, ScenarioError>(Case { text, arguments, expected })
    };
    let model = dataset.expected();
    let policies = model.policies_by_classification(text("organisation_id"), text("classification"));
    let overview = model.compliance_overview().into_iter().filter(|((organisation, _), _)| organisation == text("organisation_id"));
    let user = dataset.users().iter().filter(|user| user.login == text("login") && user.active).map(|user| user.id.clone());
    let mut assessments: Vec<_> = dataset.assessments().filter(|each| each.policy_id == text("policy_id")).collect();
    assessments.sort_by_key(|each| std::cmp::Reverse(each.assessed_s));
    Ok(Round {
        policies: case("policies_by_classification", policies.into_iter().take(limit).map(ToOwned::to_owned).collect())?,
        overview: case("compliance_overview", overview.map(|((_, framework), _)| framework).collect())?,
        user: case("user_by_login", user.collect())?,
        assessments: case("assessments_of_policy", assessments.into_iter().take(limit).map(|each| each.id).collect())?,
    })
}

/// The writing query: audit references under ids that no other run has.
struct Write {
    query: NamedQuery,
    dataset: Dataset,
    run: u64,
}

impl Write {
    fn of(dataset: &Dataset) -> Result<Self, ScenarioError> {
        Ok(Self { query: named("record_audit_reference")?, dataset: dataset.clone(), run: rand::rng().random() })
    }

    fn case(&self, sequence: u64) -> Result<(&'static str, Vec<Value>), ScenarioError> {
        let mut arguments = arguments(&self.dataset, sequence);
        arguments.insert("write_id".to_owned(), Value::from(format!("{:016x}-{sequence}", self.run)));
        bind(&self.query, &arguments)
    }
}

struct Client {
    connection: PgConnection,
    rounds: Arc<Vec<Round>>,
    write: Arc<Write>,
}

#[async_trait]
impl QueryClient for Client {
    async fn query(&mut self, sequence: u64) -> Result<(), String> {
        let rounds = Arc::clone(&self.rounds);
        let round = &rounds[(sequence / 10) as usize % rounds.len()];
        let case = match sequence % 10 {
            0..4 => &round.policies,
            4..6 => &round.overview,
            6..8 => &round.user,
            8 => &round.assessments,
            _ => return self.record(sequence).await,
        };
        let rows = bound(case.text, &case.arguments).fetch_all(&mut self.connection).await.map_err(|error| error.to_string())?;
        let answer = rows.iter().map(first_column).collect::<Result<Vec<_>, _>>()?;
        if answer == case.expected { Ok(()) } else { Err(format!("{answer:?} instead of {:?}", case.expected)) }
    }
}

impl Client {
    async fn record(&mut self, sequence: u64) -> Result<(), String> {
        let (text, arguments) = self.write.case(sequence).map_err(|error| error.to_string())?;
        let done = bound(text, &arguments).execute(&mut self.connection).await.map_err(|error| error.to_string())?;
        if done.rows_affected() == 1 { Ok(()) } else { Err(format!("{} rows were written instead of 1", done.rows_affected())) }
    }
}

fn first_column(row: &PgRow) -> Result<String, String> {
    row.try_get::<String, _>(0).map_err(|error| error.to_string())
}

fn bound(text: &'static str, arguments: &[Value]) -> sqlx::query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments> {
    arguments.iter().fold(sqlx::query(text), |query, argument| match argument.as_i64() {
        Some(number) => query.bind(number),
        None => query.bind(argument.as_str().unwrap_or_default().to_owned()),
    })
}
