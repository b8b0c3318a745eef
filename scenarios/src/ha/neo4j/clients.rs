//! Clients through the routing table, each with connections of its own; none tries twice.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_harness::{
    database::neo4j::{Access, Answer, BoltOne, CausalCluster, GraphError, RoutingDriver, cypher},
    history::Outcome,
    topology::Node,
    workload::{Client, Completion, InsertClient, Invocation},
};
use serde_json::{Map, Value, json};

use super::defect::Defect;
use crate::ScenarioError;

/// A client that waits longer for a connection or an answer looks for another server.
pub const CLIENT_LIMIT: Duration = Duration::from_millis(1500);
/// How many writes a client that writes behind remembers before it sends them.
const BEHIND: usize = 40;

/// A statement of the fixtures.
pub fn statement(name: &str) -> Result<&'static str, ScenarioError> {
    Ok(cypher(&format!("ha/{name}"))?)
}

/// Parameters of a statement.
pub fn parameters<const N: usize>(pairs: [(&str, Value); N]) -> Map<String, Value> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A routing driver with a client's patience, defective where that is planted.
pub fn driver(cluster: &CausalCluster, number: usize, defect: Option<Defect>) -> RoutingDriver {
    let driver = RoutingDriver::new(cluster, cluster.login(CLIENT_LIMIT), number);
    if defect == Some(Defect::TablePinned) { driver.pinned() } else { driver }
}

/// How a write ended.
pub fn written(answer: Result<Answer, GraphError>) -> Outcome {
    match answer {
        Ok(_) => Outcome::Ok,
        Err(error) if error.is_surely_not_applied() => Outcome::Fail(error.to_string()),
        Err(error) => Outcome::Unknown(error.to_string()),
    }
}

/// Inserts numbers at the leader.
pub struct Inserter {
    driver: RoutingDriver,
    insert: &'static str,
    defect: Option<Defect>,
    behind: Vec<u64>,
}

impl Inserter {
    /// Number `number` of several.
    pub fn new(cluster: &CausalCluster, number: usize, defect: Option<Defect>) -> Result<Self, ScenarioError> {
        Ok(Self { driver: driver(cluster, number, defect), insert: statement("insert")?, defect, behind: Vec::new() })
    }

    async fn send(&mut self, value: u64) -> Outcome {
        written(self.driver.run(Access::Write, self.insert, &parameters([("value", value.into())])).await)
    }
}

#[async_trait]
impl InsertClient for Inserter {
    async fn insert(&mut self, value: u64) -> Outcome {
        if self.defect != Some(Defect::WriteBehind) {
            return self.send(value).await;
        }
        self.behind.push(value);
        if self.behind.len() >= BEHIND {
            for value in std::mem::take(&mut self.behind) {
                // Nobody waits for these any more, so nobody is told.
                let _ = self.send(value).await;
            }
        }
        Outcome::Ok
    }
}

/// A session with causal consistency: every transaction carries the bookmark of the last one. It reads and writes registers.
pub struct Session {
    driver: RoutingDriver,
    load: &'static str,
    read: &'static str,
    write: &'static str,
    bookmark: Option<String>,
    keeps_bookmarks: bool,
    /// An operation has begun and not ended: when the next one begins, that one was cut off.
    is_under_way: bool,
}

impl Session {
    /// Number `number` of several, over the registers of `load`.
    pub fn new(cluster: &CausalCluster, number: usize, load: &'static str, defect: Option<Defect>) -> Result<Self, ScenarioError> {
        Ok(Self {
            driver: driver(cluster, number, defect),
            load,
            read: statement("read_register")?,
            write: statement("write_register")?,
            bookmark: None,
            keeps_bookmarks: defect != Some(Defect::BookmarkDropped),
            is_under_way: false,
        })
    }

    async fn transact(&mut self, access: Access, statement: &str, parameters: &Map<String, Value>) -> Result<Answer, GraphError> {
        let bookmark = self.bookmark.clone();
        let answer = self.driver.transact(access, bookmark.as_deref(), statement, parameters).await?;
        if self.keeps_bookmarks && answer.bookmark.is_some() {
            self.bookmark.clone_from(&answer.bookmark);
        }
        Ok(answer)
    }

    async fn operate(&mut self, invocation: &Invocation) -> Completion {
        let (key, value) = (invocation.value[0].clone(), invocation.value[1].clone());
        if invocation.f == "read" {
            let asked = parameters([("load", self.load.into()), ("key", key.clone())]);
            return match self.transact(Access::Read, self.read, &asked).await {
                Ok(answer) => Completion::read(json!([key, answer.rows.first().map(|row| row["value"].clone())])),
                Err(error) => Completion::of(Outcome::Fail(error.to_string())),
            };
        }
        let asked = parameters([("load", self.load.into()), ("key", key), ("value", value)]);
        match self.transact(Access::Write, self.write, &asked).await {
            Ok(answer) if answer.rows.is_empty() => Completion::of(Outcome::Fail("there is no such register".into())),
            answer => Completion::of(written(answer)),
        }
    }
}

#[async_trait]
impl Client for Session {
    async fn invoke(&mut self, invocation: &Invocation) -> Completion {
        if self.is_under_way {
            self.bookmark = None;
        }
        self.is_under_way = true;
        let completion = self.operate(invocation).await;
        self.is_under_way = false;
        if matches!(completion.outcome, Outcome::Unknown(_)) {
            // The history goes on under another process: that is another session.
            self.bookmark = None;
        }
        completion
    }
}

/// Writes to one node itself, past every router, and learns in which epoch.
pub struct Prober {
    cluster: Arc<CausalCluster>,
    node: Node,
    question: &'static str,
    connection: Option<BoltOne>,
}

impl Prober {
    /// Of this node.
    pub fn new(cluster: &Arc<CausalCluster>, node: &Node, defect: Option<Defect>) -> Result<Self, ScenarioError> {
        let question = statement(if defect == Some(Defect::ReadsCounted) { "epoch" } else { "claim" })?;
        Ok(Self { cluster: Arc::clone(cluster), node: node.clone(), question, connection: None })
    }

    async fn ask(&mut self) -> Result<Value, GraphError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.cluster.session_of(&self.node, CLIENT_LIMIT).await?,
        };
        let answer = connection.run(self.question, &parameters([("node", self.node.name().into())])).await;
        if answer.as_ref().err().is_none_or(GraphError::leaves_usable) {
            self.connection = Some(connection);
        }
        let epoch = answer?.first().and_then(|row| row.get("epoch").cloned());
        epoch.ok_or_else(|| GraphError::Broken("no epoch".into()))
    }
}

#[async_trait]
impl Client for Prober {
    async fn invoke(&mut self, _invocation: &Invocation) -> Completion {
        match self.ask().await {
            Ok(epoch) => Completion::read(json!([self.node.name(), epoch])),
            Err(error) if error.is_surely_not_applied() => Completion::of(Outcome::Fail(error.to_string())),
            Err(error) => Completion::of(Outcome::Unknown(error.to_string())),
        }
    }
}
