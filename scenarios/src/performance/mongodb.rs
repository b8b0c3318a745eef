//! The domain's queries at the primary.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_fixtures::{
    Store,
    content::canonical,
    dataset::{Dataset, documents::Collection, expected::SeverityLine},
    queries::{Bound, NamedQuery, arguments},
};
use dora_harness::{
    database::mongodb::{Connection, DATABASE, PORT, Reach, ReplicaSet, limited, load, to_json},
    workload::QueryClient,
};
use futures_util::future::try_join_all;
use mongodb::bson::{Bson, Document, doc};
use serde_json::{Map, Value};

use super::{LoadTarget, driver::SLOW_LINK_ID, open_load};
use crate::{
    Database, Pillar, Sabotage, Scenario, ScenarioError,
    security::mongodb::{client_error, replica_set},
};

/// Finding the primary, and the first request on a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Sets of arguments that the load walks over.
const ARGUMENT_SETS: u64 = 60;
/// The mix: one entry a slot, the load goes round.
const SLOTS: [Kind; 20] = [
    Kind::Policy,
    Kind::Classification,
    Kind::Agent,
    Kind::Policy,
    Kind::Controls,
    Kind::Critical,
    Kind::Policy,
    Kind::Classification,
    Kind::Agent,
    Kind::Severity,
    Kind::Policy,
    Kind::Classification,
    Kind::Record,
    Kind::Policy,
    Kind::Controls,
    Kind::Agent,
    Kind::Policy,
    Kind::Classification,
    Kind::Critical,
    Kind::Policy,
];

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "performance/mongodb",
    title: "MongoDB answers the domain's queries in time at the stated rate",
    pillar: Pillar::Performance,
    database: Database::Mongodb,
    clauses: &["PERF-SLO"],
    goal: "Find out whether the domain's queries keep their latency objective at the stated rate, with right answers.",
    method: &[
        "Load the domain's documents and files, and compare what is there with the model.",
        "Send queries at a fixed rate over TLS to the primary, whether it keeps up or not; check every answer against the model.",
        "Count latency from the moment a query was due; the first seconds are not counted.",
    ],
    does_not_show: &["data larger than memory", "reads from secondaries", "the highest rate that would still be within the objective"],
    needs_high_availability: false,
    deadline: Duration::from_secs(120),
    sabotages: &[Sabotage {
        id: SLOW_LINK_ID,
        what: "the link to the primary takes 5 ms longer in each direction",
        expects: "latency-p50-exceeded",
    }],
    run: |trial| Box::pin(async move { open_load(trial, &Primary { set: replica_set(trial).await? }).await }),
}];

struct Primary {
    set: Arc<ReplicaSet>,
}

#[async_trait]
impl LoadTarget for Primary {
    async fn load(&self, dataset: &Dataset) -> Result<(), ScenarioError> {
        load(&self.set, dataset).await.map_err(client_error)
    }

    async fn entry(&self) -> Result<SocketAddr, ScenarioError> {
        let primary = self.set.primary().await.map_err(client_error)?;
        Ok(primary.socket(PORT))
    }

    fn mix(&self) -> &'static str {
        "35 % a policy by id, 20 % policies by classification, 15 % an agent's configuration, 10 % mandatory controls (unwound), \
         10 % results with a critical finding on an asset, 5 % findings by severity (aggregated), 5 % a result recorded by a majority"
    }

    async fn clients(&self, address: SocketAddr, count: usize, dataset: &Dataset) -> Result<Vec<Box<dyn QueryClient>>, ScenarioError> {
        let questions = Arc::new(questions(dataset)?);
        let opening = (0..count).map(|_| async {
            let connection = self.set.application(&Reach::Member(address), CONNECT_LIMIT).map_err(client_error)?;
            let ping = connection.database(DATABASE);
            limited("connect to the primary", CONNECT_LIMIT, ping.run_command(doc! { "ping": 1 })).await.map_err(client_error)?;
            Ok::<_, ScenarioError>(Box::new(Client { connection, questions: Arc::clone(&questions) }) as Box<dyn QueryClient>)
        });
        try_join_all(opening).await
    }
}

/// A query of the domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Policy,
    Classification,
    Agent,
    Controls,
    Critical,
    Severity,
    Record,
}

impl Kind {
    const ALL: [Self; 7] = [Self::Policy, Self::Classification, Self::Agent, Self::Controls, Self::Critical, Self::Severity, Self::Record];

    const fn file(self) -> &'static str {
        match self {
            Self::Policy => "policy_by_id",
            Self::Classification => "policies_by_classification",
            Self::Agent => "agent_of_asset",
            Self::Controls => "mandatory_controls",
            Self::Critical => "results_with_critical_finding_on_asset",
            Self::Severity => "findings_by_severity",
            Self::Record => "record_result",
        }
    }
}

/// What an answer must be.
#[derive(Debug, Clone)]
enum Answer {
    /// These rows in this order, canonical.
    Rows(Vec<String>),
    /// So many rows, with ids among these (equal sort keys leave the order open).
    Among(usize, Vec<String>),
    /// At least so many findings of each severity: the load itself adds light ones.
    Severities(BTreeMap<String, SeverityLine>),
    /// One document written or found.
    One,
}

struct Question {
    command: Document,
    answer: Answer,
}

type Questions = BTreeMap<Kind, Vec<Question>>;

/// Every query with every set of arguments, bound before the clock runs.
fn questions(dataset: &Dataset) -> Result<Questions, ScenarioError> {
    let model = Model::of(dataset);
    let mut questions = Questions::new();
    for kind in Kind::ALL {
        let query = NamedQuery::named(Store::Mongodb, kind.file()).map_err(|error| ScenarioError::client("read a query", error))?;
        for number in 0..ARGUMENT_SETS {
            let arguments = arguments(dataset, number);
            let bound = query.bind(&arguments).map_err(|error| ScenarioError::client("bind a query", error))?;
            let Bound::Command(command) = bound else {
                return Err(ScenarioError::client("bind a query", format!("{} is no command", kind.file())));
            };
            let mut command: Document = serde_json::from_value(command).map_err(|error| ScenarioError::client("bind a query", error))?;
            if kind == Kind::Record {
                command.insert("writeConcern", doc! { "w": "majority", "wtimeout": 5_000 });
            }
            questions.entry(kind).or_default().push(Question { command, answer: model.answer(kind, &arguments) });
        }
    }
    Ok(questions)
}

/// The dataset by what the queries ask for.
struct Model<'a> {
    dataset: &'a Dataset,
    policies: Vec<Value>,
    agents: Vec<Value>,
}

impl<'a> Model<'a> {
    fn of(dataset: &'a Dataset) -> Self {
        let all = |collection| dataset.documents(collection).collect();
        Self { dataset, policies: all(Collection::PolicyDocuments), agents: all(Collection::AgentConfigurations) }
    }

    fn answer(&self, kind: Kind, arguments: &Map<String, Value>) -> Answer {
        let is = |document: &Value, field: &str, argument: &str| document[field] == arguments[argument];
        let text = |name: &str| arguments[name].as_str().unwrap_or_default();
        match kind {
            Kind::Policy => Answer::Rows(self.policies.iter().filter(|policy| is(policy, "_id", "policy_id")).map(canonical).collect()),
            Kind::Classification => {
                let fits =
                    |policy: &&Value| is(policy, "organisation_id", "organisation_id") && is(policy, "classification", "classification");
                let ids: Vec<String> = self.policies.iter().filter(fits).map(|policy| id(policy).to_owned()).collect();
                let limit = arguments["limit"].as_u64().unwrap_or(u64::MAX);
                Answer::Among(ids.len().min(usize::try_from(limit).unwrap_or(usize::MAX)), ids)
            }
            Kind::Agent => {
                Answer::Rows(self.agents.iter().filter(|agent| is(agent, "asset_id", "watched_asset_id")).map(canonical).collect())
            }
            Kind::Controls => {
                let policy = self.policies.iter().find(|policy| is(policy, "_id", "policy_id"));
                let sections = policy.and_then(|policy| policy["sections"].as_array()).into_iter().flatten();
                let controls = sections.filter_map(|section| section["controls"].as_array()).flatten();
                let mandatory = controls.filter(|control| control["mandatory"] == Value::Bool(true));
                let rows = mandatory.map(|control| canonical(&serde_json::json!({ "number": control["number"], "text": control["text"] })));
                Answer::Rows(rows.collect())
            }
            Kind::Critical => {
                let ids = self.dataset.expected().results_with_critical_finding_on_asset(text("asset_id"));
                Answer::Rows(ids.into_iter().map(|id| canonical(&serde_json::json!({ "_id": id }))).collect())
            }
            Kind::Severity => Answer::Severities(self.dataset.expected().findings_by_severity(text("organisation_id"))),
            Kind::Record => Answer::One,
        }
    }
}

fn id(document: &Value) -> &str {
    document["_id"].as_str().unwrap_or_default()
}

struct Client {
    connection: Connection,
    questions: Arc<Questions>,
}

#[async_trait]
impl QueryClient for Client {
    async fn query(&mut self, sequence: u64) -> Result<(), String> {
        let kind = SLOTS[(sequence % SLOTS.len() as u64) as usize];
        let asked = &self.questions[&kind];
        let question = &asked[((sequence / SLOTS.len() as u64 + sequence) % asked.len() as u64) as usize];
        let mut command = question.command.clone();
        if kind == Kind::Record {
            name_result(&mut command, sequence);
        }
        // The driver's own deadline is the load's: a query that takes too long is cut off there.
        let answer = self.connection.database(DATABASE).run_command(command).await.map_err(|error| error.to_string())?;
        check(&question.answer, &answer).map_err(|why| format!("{}: {why}", kind.file()))
    }
}

/// Every recorded result is a new one.
fn name_result(command: &mut Document, sequence: u64) {
    let updates = command.get_array_mut("updates");
    if let Some(filter) = updates
        .ok()
        .and_then(|updates| updates.first_mut())
        .and_then(Bson::as_document_mut)
        .and_then(|update| update.get_document_mut("q").ok())
    {
        filter.insert("_id", format!("ass-w{sequence}"));
    }
}

fn check(expected: &Answer, answer: &Document) -> Result<(), String> {
    if matches!(expected, Answer::One) {
        let errors = answer.contains_key("writeErrors") || answer.contains_key("writeConcernError");
        let one = answer.get_i32("n").is_ok_and(|count| count == 1);
        return if one && !errors { Ok(()) } else { Err(format!("the write was answered with {answer}")) };
    }
    let batch = answer.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch")).map_err(|error| error.to_string())?;
    let rows: Vec<Value> = batch.iter().map(to_json).collect();
    let right = match expected {
        Answer::Rows(expected) => rows.iter().map(canonical).eq(expected.iter().cloned()),
        Answer::Among(count, ids) => rows.len() == *count && rows.iter().all(|row| ids.iter().any(|known| known == id(row))),
        Answer::Severities(lines) => lines.iter().all(|(severity, line)| {
            let row = rows.iter().find(|row| id(row) == severity);
            row.is_some_and(|row| {
                at_least(row, "findings", line.findings, severity) && at_least(row, "weight_sum", line.weight_sum, severity)
            })
        }),
        Answer::One => true,
    };
    if right { Ok(()) } else { Err(format!("wrong answer of {} rows", rows.len())) }
}

fn at_least(row: &Value, field: &str, expected: i64, severity: &str) -> bool {
    let found = row[field].as_i64();
    if severity == "low" { found.is_some_and(|found| found >= expected) } else { found == Some(expected) }
}
