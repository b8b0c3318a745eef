//! Neo4j: the domain's graph questions at the leader.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_fixtures::{
    Store,
    dataset::{
        Dataset,
        expected::{Walk, close},
        graph::Relation,
    },
    queries::{Bound, NamedQuery, arguments},
};
use dora_harness::{
    database::neo4j::{BOLT, Dialect, GraphClient, Login, Rows, domain},
    platform::Platform,
    workload::QueryClient,
};
use serde_json::{Map, Value, json};

use super::{LoadTarget, driver::SLOW_LINK_ID, open_load};
use crate::{Database, Pillar, Sabotage, Scenario, ScenarioError};

const LOAD_LIMIT: Duration = Duration::from_secs(30);
const QUERY_LIMIT: Duration = Duration::from_secs(5);
/// Steps of a risk's propagation, as the query has it.
const HOPS: usize = 4;
/// Longest path of dependencies, as the query has it.
const LONGEST: usize = 15;
/// Prepared questions; a client walks over them.
const QUESTIONS: u64 = 120;

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "performance/neo4j",
    title: "Neo4j: graph questions at a stated rate",
    pillar: Pillar::Performance,
    database: Database::Neo4j,
    clauses: &["PERF-SLO"],
    goal: "The leader answers the domain's questions correctly at the stated rate within the stated latencies, counted from when each question was due.",
    method: &[
        "the domain's graph is loaded; sixteen clients connect to the leader (the single server where there is no cluster)",
        "questions are sent at the stated rate whether answers come or not; each answer is compared with an in-memory reference graph",
    ],
    does_not_show: &["reads at followers and replicas", "graphs larger than memory", "the highest rate that the server bears"],
    needs_high_availability: false,
    deadline: Duration::from_secs(120),
    sabotages: &[Sabotage {
        id: SLOW_LINK_ID,
        what: "5 ms are added in each direction between the clients and the server",
        expects: "latency-p50-exceeded",
    }],
    run: |trial| Box::pin(async move { open_load(trial, &Target::of(trial.platform()).await?).await }),
}];

struct Target {
    entry: SocketAddr,
    dialect: Dialect,
    login: Login,
}

impl Target {
    async fn of(platform: &Platform) -> Result<Self, ScenarioError> {
        if let Some(cluster) = platform.neo4j.cluster.get().await {
            let leader = cluster.leader().await.map_err(|error| ScenarioError::client("find the leader", error))?;
            return Ok(Self { entry: leader.socket(BOLT), dialect: Dialect::Three, login: cluster.login(QUERY_LIMIT) });
        }
        let community = platform.neo4j.community.get().await.ok_or_else(|| ScenarioError::Missing("there is no Neo4j".into()))?;
        Ok(Self { entry: community.node().socket(BOLT), dialect: Dialect::Five, login: community.login(QUERY_LIMIT) })
    }
}

#[async_trait]
impl LoadTarget for Target {
    async fn load(&self, dataset: &Dataset) -> Result<(), ScenarioError> {
        let login = Login { limit: LOAD_LIMIT, ..self.login.clone() };
        let mut client =
            GraphClient::connect(self.dialect, self.entry, &login).await.map_err(|error| ScenarioError::client("reach Neo4j", error))?;
        domain::load(&mut client, self.dialect, dataset).await.map_err(|error| ScenarioError::client("load the domain's graph", error))
    }

    async fn entry(&self) -> Result<SocketAddr, ScenarioError> {
        Ok(self.entry)
    }

    fn mix(&self) -> &'static str {
        "40 % an asset's surroundings, 20 % policies over an asset, 10 % each risk propagation, paths of dependency, concentration of suppliers, recorded incidents"
    }

    async fn clients(&self, address: SocketAddr, count: usize, dataset: &Dataset) -> Result<Vec<Box<dyn QueryClient>>, ScenarioError> {
        let questions = Arc::new(questions(dataset).map_err(|error| ScenarioError::client("prepare the questions", error))?);
        let mut clients: Vec<Box<dyn QueryClient>> = Vec::new();
        let run = rand::random::<u32>();
        for _ in 0..count {
            let connection = GraphClient::connect(self.dialect, address, &self.login)
                .await
                .map_err(|error| ScenarioError::client("open a client's connection", error))?;
            clients.push(Box::new(Asker {
                connection: Some(connection),
                address,
                dialect: self.dialect,
                login: self.login.clone(),
                questions: Arc::clone(&questions),
                run,
            }));
        }
        Ok(clients)
    }
}

/// A question with the answer that the model gives.
struct Question {
    statement: &'static str,
    parameters: Map<String, Value>,
    answer: Answer,
}

enum Answer {
    /// These rows in this order.
    Rows(Rows),
    /// These risks by asset, compared as numbers.
    Risks(std::collections::BTreeMap<String, f64>),
    /// The incident's own id.
    Written,
}

impl Answer {
    fn check(&self, rows: &Rows, parameters: &Map<String, Value>) -> Result<(), String> {
        let right = match self {
            Self::Rows(expected) => rows == expected,
            Self::Risks(expected) => {
                rows.len() == expected.len()
                    && rows.iter().all(|row| {
                        let id = row.get("id").and_then(Value::as_str).unwrap_or_default();
                        let risk = row.get("risk").and_then(Value::as_f64).unwrap_or(f64::NAN);
                        expected.get(id).is_some_and(|expected| close(*expected, risk))
                    })
            }
            Self::Written => rows.first().and_then(|row| row.get("id")) == parameters.get("write_id"),
        };
        if right { Ok(()) } else { Err(format!("a wrong answer: {}", rows.iter().take(3).cloned().map(Value::Object).collect::<Value>())) }
    }
}

fn rows(values: impl IntoIterator<Item = Value>) -> Rows {
    values.into_iter().filter_map(|value| if let Value::Object(members) = value { Some(members) } else { None }).collect()
}

fn questions(dataset: &Dataset) -> Result<Vec<Question>, String> {
    let expected = dataset.expected();
    let graph = expected.graph();
    (0..QUESTIONS)
        .map(|n| {
            let name = match n % 10 {
                0..=3 => "asset_with_surroundings",
                4 | 5 => "policies_over_asset",
                6 => "risk_propagation",
                7 => "dependency_path",
                8 => "vendor_concentration",
                _ => "record_incident",
            };
            let arguments = arguments(dataset, n);
            let text = |name: &str| arguments.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let answer = match name {
                "asset_with_surroundings" => Answer::Rows(surroundings(dataset, &text("asset_id"))),
                "policies_over_asset" => Answer::Rows(rows(graph.policies_over(&text("asset_id")).into_iter().map(|id| json!({"id": id})))),
                "risk_propagation" => Answer::Risks(graph.risk_from(&text("asset_id"), HOPS)),
                "dependency_path" => {
                    let steps =
                        graph.shortest_path(&text("policy_id"), &text("other_policy_id"), &[Relation::DependsOn], Walk::Along, LONGEST);
                    Answer::Rows(rows(steps.map(|steps| json!({"steps": steps}))))
                }
                "vendor_concentration" => {
                    let lines = expected.vendor_concentration(arguments.get("criticality").and_then(Value::as_i64).unwrap_or_default());
                    Answer::Rows(rows(
                        lines.iter().map(|line| json!({"id": line.vendor_id, "assets": line.assets, "organisations": line.organisations})),
                    ))
                }
                _ => Answer::Written,
            };
            match NamedQuery::named(Store::Neo4j, name).and_then(|query| query.bind(&arguments)) {
                Ok(Bound::Cypher { text, parameters }) => Ok(Question { statement: text, parameters, answer }),
                Ok(_) => Err(format!("{name} is not Cypher")),
                Err(error) => Err(error.to_string()),
            }
        })
        .collect()
}

fn surroundings(dataset: &Dataset, asset_id: &str) -> Rows {
    let asset = dataset.assets().iter().find(|asset| asset.id == asset_id);
    rows(asset.map(|asset| {
        let system = dataset.systems().iter().find(|system| system.id == asset.system_id).map(|system| system.name.as_str());
        let vendor =
            dataset.vendors().iter().find(|vendor| Some(&vendor.id) == asset.vendor_id.as_ref()).map(|vendor| vendor.name.as_str());
        json!({"name": asset.name, "criticality": asset.criticality, "system": system, "vendor": vendor})
    }))
}

struct Asker {
    connection: Option<GraphClient>,
    address: SocketAddr,
    dialect: Dialect,
    login: Login,
    questions: Arc<Vec<Question>>,
    run: u32,
}

#[async_trait]
impl QueryClient for Asker {
    async fn query(&mut self, sequence: u64) -> Result<(), String> {
        let question = &self.questions[(sequence % self.questions.len() as u64) as usize];
        let mut parameters = question.parameters.clone();
        if matches!(question.answer, Answer::Written) {
            parameters.insert("write_id".to_owned(), Value::from(format!("w{:08x}-{sequence}", self.run)));
        }
        // Taken out while in use: a query that is cut off must not leave half an exchange to the next one.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => GraphClient::connect(self.dialect, self.address, &self.login).await.map_err(|error| error.to_string())?,
        };
        let rows = connection.run(question.statement, &parameters).await.map_err(|error| error.to_string())?;
        self.connection = Some(connection);
        question.answer.check(&rows, &parameters)
    }
}
