//! Redis: sessions, cache, notifications and counters at a stated rate.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use dora_fixtures::{
    Store,
    dataset::{
        Dataset,
        keys::{KeySpace, KeyValue},
    },
    queries::{Bound, NamedQuery, arguments},
};
use dora_harness::{
    database::redis::{Access, Account, PORT, Replicated, content},
    workload::QueryClient,
};
use redis::{FromRedisValue as _, RedisResult, Value, aio::MultiplexedConnection};

use super::{LoadTarget, driver::SLOW_LINK_ID, open_load};
use crate::{Database, Pillar, Sabotage, Scenario, ScenarioError, Trial, backup::redis::load_everywhere};

/// Queries that are bound beforehand; the load goes round in them.
const BOUND: u64 = 2_000;
/// Most notifications that the query asks for.
const NOTIFICATIONS_MAX: usize = 10;

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "performance/redis",
    title: "Redis: sessions, cache, notifications and counters under open-loop load",
    pillar: Pillar::Performance,
    database: Database::Redis,
    clauses: &["PERF-SLO"],
    goal: "At the stated rate the application's own requests are answered rightly within the latency objective.",
    method: &[
        "sixteen connections over TLS send the requests when they are due, whether earlier ones were answered or not",
        "nine in ten read (session, cached policy, notifications) and are compared with the dataset's model; one in ten counts a request or opens a session",
        "latency counts from the moment a request was due; the first seconds are not counted",
    ],
    does_not_show: &[
        "the highest rate that the set could carry",
        "the load of a real day, whose keys are not evenly asked for",
        "the Redis Cluster",
    ],
    needs_high_availability: false,
    deadline: Duration::from_secs(120),
    sabotages: &[Sabotage {
        id: SLOW_LINK_ID,
        what: "5 ms are added in each direction on the way to the master",
        expects: "latency-p50-exceeded",
    }],
    run: |trial| Box::pin(async move { open_load(trial, &Target::of(trial).await?).await }),
}];

struct Target {
    set: Arc<Replicated>,
}

impl Target {
    async fn of(trial: &Trial) -> Result<Self, ScenarioError> {
        let set = trial.platform().redis.replicated.get().await;
        set.map(|set| Self { set }).ok_or_else(|| ScenarioError::Missing("there is no Redis set in this run".into()))
    }
}

#[async_trait]
impl LoadTarget for Target {
    async fn load(&self, dataset: &Dataset) -> Result<(), ScenarioError> {
        load_everywhere(&self.set, dataset).await
    }

    async fn entry(&self) -> Result<SocketAddr, ScenarioError> {
        let master = self.set.master().await.map_err(|error| ScenarioError::client("find the master", error))?;
        Ok(master.socket(PORT))
    }

    fn mix(&self) -> &'static str {
        "60 % session, 20 % cached policy, 10 % notifications, 6 % count a request, 4 % open a session"
    }

    async fn clients(&self, address: SocketAddr, count: usize, dataset: &Dataset) -> Result<Vec<Box<dyn QueryClient>>, ScenarioError> {
        let requests = Arc::new(requests(dataset)?);
        let mut clients: Vec<Box<dyn QueryClient>> = Vec::with_capacity(count);
        for _ in 0..count {
            let access = self.set.access().clone();
            let connection =
                access.connect(address, Account::App).await.map_err(|error| ScenarioError::client("connect to the master", error))?;
            clients.push(Box::new(Requester { access, address, connection: Some(connection), requests: Arc::clone(&requests) }));
        }
        Ok(clients)
    }
}

/// One request with the answer that the model gives.
struct Request {
    name: &'static str,
    commands: Vec<Vec<String>>,
    expected: Answer,
}

#[derive(Debug, PartialEq)]
enum Answer {
    Hash(BTreeMap<String, String>),
    Text(String),
    List(Vec<String>),
    /// A counter that others count up, too: at least one.
    Counted,
    /// A write whose expiry was set.
    Expires,
}

/// The request that has a place in the mix, out of a hundred.
const fn name_at(place: u64) -> &'static str {
    match place {
        0..60 => "session",
        60..80 => "cached_policy",
        80..90 => "notifications",
        90..96 => "count_request",
        _ => "open_session",
    }
}

fn requests(dataset: &Dataset) -> Result<Vec<Request>, ScenarioError> {
    let bad = |error: &dyn std::fmt::Display| ScenarioError::client("bind a query", error);
    let queries: HashMap<String, NamedQuery> =
        NamedQuery::all(Store::Redis).map_err(|error| bad(&error))?.into_iter().map(|query| (query.name.clone(), query)).collect();
    let model: HashMap<String, KeyValue> =
        KeySpace::ALL.into_iter().flat_map(|space| dataset.keys(space)).map(|entry| (entry.key, entry.value)).collect();
    (0..BOUND)
        .map(|n| {
            // 37 has no divisor in common with 100, so every hundred requests hold the whole mix, spread out.
            let name = name_at(n * 37 % 100);
            let query = queries.get(name).ok_or_else(|| bad(&format!("there is no query {name}")))?;
            let Bound::Commands(commands) = query.bind(&arguments(dataset, n)).map_err(|error| bad(&error))? else {
                return Err(bad(&format!("{name} is no Redis query")));
            };
            let expected = match name {
                "count_request" => Answer::Counted,
                "open_session" => Answer::Expires,
                _ => {
                    let key = commands.first().and_then(|words| words.get(1)).ok_or_else(|| bad(&format!("{name} names no key")))?;
                    answer_of(model.get(key).ok_or_else(|| bad(&format!("the model has no key {key}")))?)
                }
            };
            Ok(Request { name, commands, expected })
        })
        .collect()
}

fn answer_of(value: &KeyValue) -> Answer {
    match value {
        KeyValue::Hash(members) => Answer::Hash(members.clone()),
        KeyValue::String(text) => Answer::Text(text.clone()),
        KeyValue::List(items) => Answer::List(items.iter().take(NOTIFICATIONS_MAX).cloned().collect()),
        KeyValue::Set(items) => Answer::List(items.iter().cloned().collect()),
    }
}

struct Requester {
    access: Access,
    address: SocketAddr,
    connection: Option<MultiplexedConnection>,
    requests: Arc<Vec<Request>>,
}

#[async_trait]
impl QueryClient for Requester {
    async fn query(&mut self, sequence: u64) -> Result<(), String> {
        let requests = Arc::clone(&self.requests);
        let request = &requests[(sequence % requests.len() as u64) as usize];
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.access.connect(self.address, Account::App).await.map_err(|error| error.to_string())?,
        };
        let mut pipeline = redis::pipe();
        for words in &request.commands {
            content::add(&mut pipeline, words);
        }
        let answers: Vec<Value> = pipeline.query_async(&mut connection).await.map_err(|error| format!("{}: {error}", request.name))?;
        self.connection = Some(connection);
        match is_right(&request.expected, &answers) {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("{}: the answer is not the expected one", request.name)),
            Err(error) => Err(format!("{}: {error}", request.name)),
        }
    }
}

fn is_right(expected: &Answer, answers: &[Value]) -> RedisResult<bool> {
    let (Some(first), Some(last)) = (answers.first().cloned(), answers.last().cloned()) else { return Ok(false) };
    Ok(match expected {
        Answer::Hash(members) => BTreeMap::<String, String>::from_redis_value(first)? == *members,
        Answer::Text(text) => String::from_redis_value(first)? == *text,
        Answer::List(items) => Vec::<String>::from_redis_value(first)? == *items,
        Answer::Counted => u64::from_redis_value(first)? >= 1,
        Answer::Expires => u64::from_redis_value(last)? == 1,
    })
}

#[cfg(test)]
mod tests {
    use dora_fixtures::dataset::{Seed, Size};

    use super::*;

    #[test]
    fn every_request_of_the_mix_has_an_answer_in_the_model() {
        let dataset = Dataset::generate(Seed(7), Size::Small);
        let requests = requests(&dataset).unwrap();
        assert_eq!(requests.len() as u64, BOUND);
        let reads = requests.iter().filter(|request| !matches!(request.expected, Answer::Counted | Answer::Expires)).count();
        assert_eq!(reads * 10, requests.len() * 9);
    }

    #[test]
    fn a_wrong_answer_is_told_from_a_right_one() {
        let answer = [Value::BulkString(b"policy".to_vec())];
        assert!(is_right(&Answer::Text("policy".into()), &answer).unwrap());
        assert!(!is_right(&Answer::Text("another".into()), &answer).unwrap());
        assert!(!is_right(&Answer::Counted, &[]).unwrap());
    }
}
