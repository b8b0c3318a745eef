//! Applications of a Cluster: they use the driver's own client, which knows where each slot is.

use std::time::Duration;

use async_trait::async_trait;
use dora_harness::{
    database::redis::{Account, Sharded},
    history::Outcome,
    patience::within,
    workload::{Client, Completion, InsertClient, Invocation},
};
use redis::{FromRedisValue, RedisResult, cluster_async::ClusterConnection};
use serde_json::{Value, json};

use super::moved_keys::MovedKeys;
use crate::{ScenarioError, ha::redis::master::outcome_of};

/// A client that starts connects to every node.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);

/// A Cluster, as an application sees it.
pub struct Shards {
    connection: ClusterConnection,
}

impl Shards {
    /// Through all nodes' addresses, connected to all of them; `redirections`: how often a command is sent on to the node that an answer
    /// names.
    pub async fn of(cluster: &Sharded, redirections: u32) -> Result<Self, ScenarioError> {
        let client = cluster.access().cluster_client(&cluster.addresses(), Account::App, redirections);
        let client = client.map_err(|error| ScenarioError::client("make a Cluster client", error))?;
        let connection =
            within("connections to the Cluster", CONNECT_LIMIT, Duration::from_millis(200), || client.get_async_connection()).await?;
        Ok(Self { connection })
    }

    /// So many of them, one after the other: all at once would load the nodes with handshakes.
    pub async fn several(cluster: &Sharded, redirections: u32, count: usize) -> Result<Vec<Self>, ScenarioError> {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(Self::of(cluster, redirections).await?);
        }
        Ok(all)
    }

    /// Sends one command. The driver keeps its connections to the nodes, and learns of new owners from what they answer.
    pub async fn ask<T: FromRedisValue>(&mut self, words: &[&str]) -> Result<T, Outcome> {
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        let answer: RedisResult<T> = command.query_async(&mut self.connection).await;
        answer.map_err(|error| outcome_of(&error))
    }
}

/// Appends each value to one list.
pub struct ListAppender {
    pub shards: Shards,
    pub list: String,
}

#[async_trait]
impl InsertClient for ListAppender {
    async fn insert(&mut self, value: u64) -> Outcome {
        match self.shards.ask::<u64>(&["RPUSH", &self.list, &value.to_string()]).await {
            Ok(_length) => Outcome::Ok,
            Err(outcome) => outcome,
        }
    }
}

/// Appends to one list or the other in turn.
pub struct Alternating {
    pub shards: Shards,
    pub lists: Vec<String>,
}

#[async_trait]
impl Client for Alternating {
    async fn invoke(&mut self, invocation: &Invocation) -> Completion {
        let number = invocation.value.as_u64().unwrap_or(0);
        let list = &self.lists[usize::try_from(number).unwrap_or(0) % self.lists.len()];
        match self.shards.ask::<u64>(&["RPUSH", list, &number.to_string()]).await {
            Ok(_length) => Completion::of(Outcome::Ok),
            Err(outcome) => Completion::of(outcome),
        }
    }
}

/// Writes each value under a key of its own: to repeat that changes nothing.
pub struct KeyInserter {
    pub shards: Shards,
    pub keys: MovedKeys,
}

#[async_trait]
impl InsertClient for KeyInserter {
    async fn insert(&mut self, value: u64) -> Outcome {
        match self.shards.ask::<String>(&["SET", &self.keys.insert(value), &value.to_string()]).await {
            Ok(_ok) => Outcome::Ok,
            Err(outcome) => outcome,
        }
    }
}

/// Writes and reads registers in the slots that move.
pub struct Registers {
    pub shards: Shards,
    pub keys: MovedKeys,
}

#[async_trait]
impl Client for Registers {
    async fn invoke(&mut self, invocation: &Invocation) -> Completion {
        let number = |at: usize| invocation.value.get(at).and_then(Value::as_u64);
        let Some(register) = number(0) else { return Completion::of(Outcome::Fail("a register has a number".into())) };
        let key = self.keys.register(register);
        if invocation.f == "read" {
            return match self.shards.ask::<Option<u64>>(&["GET", &key]).await {
                Ok(value) => Completion::read(json!([register, value])),
                Err(outcome) => Completion::of(outcome),
            };
        }
        let value = number(1).unwrap_or_default().to_string();
        match self.shards.ask::<String>(&["SET", &key, &value]).await {
            Ok(_ok) => Completion::of(Outcome::Ok),
            Err(outcome) => Completion::of(outcome),
        }
    }
}
