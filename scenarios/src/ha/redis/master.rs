//! How an application finds the master and inserts.

use std::{net::SocketAddr, time::Duration};

use async_trait::async_trait;
use dora_harness::{
    database::redis::{Access, Account, MASTER_NAME, Replicated, ask, connection_limits},
    history::Outcome,
    patience::stretched,
    workload::{Client, Completion, InsertClient, Invocation},
};
use redis::{ErrorKind, FromRedisValue, RedisError, aio::MultiplexedConnection, sentinel::SentinelClient};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::ScenarioError;

/// How often an application asks the Sentinels again although its connection works. Without that it would stay with an isolated master
/// for as long as that answers.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// A client that starts is connected within this time.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);

/// Where an application looks for the master.
enum Way {
    /// The Sentinels know: the driver's own client finds the master by them, and they are asked again from time to time.
    Sentinels(Box<SentinelClient>, Watch),
    /// It was told an address once.
    Fixed(Access, SocketAddr),
}

/// The master, as an application finds it.
pub struct Master {
    way: Way,
    connection: Option<MultiplexedConnection>,
}

impl Master {
    /// By asking the Sentinels, of which each client has another one first, as applications that are told a list in any order.
    pub async fn by_sentinels(set: &Replicated, client: usize) -> Result<Self, ScenarioError> {
        let mut order = set.sentinels().addresses();
        let count = order.len().max(1);
        order.rotate_left(client % count);
        let discovery = set.access().sentinel_client(&order, Account::App);
        let discovery = discovery.map_err(|error| ScenarioError::client("make a Sentinel client", error))?;
        let watch = Watch { access: set.access().clone(), sentinels: order, connection: None, known: None, asked: Instant::now() };
        Self { way: Way::Sentinels(Box::new(discovery), watch), connection: None }.connected().await
    }

    /// By an address that never changes.
    pub async fn at(set: &Replicated, address: SocketAddr) -> Result<Self, ScenarioError> {
        Self { way: Way::Fixed(set.access().clone(), address), connection: None }.connected().await
    }

    /// An application that has started is connected.
    async fn connected(mut self) -> Result<Self, ScenarioError> {
        let deadline = Instant::now() + stretched(CONNECT_LIMIT);
        loop {
            match self.connection().await {
                Ok(connection) => {
                    self.connection = Some(connection);
                    return Ok(self);
                }
                Err(error) if Instant::now() >= deadline => return Err(ScenarioError::client("connect to the master", error)),
                Err(_not_yet) => sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// Sends one command. It is never sent twice; a connection that failed is given up, so that the next command looks for the master anew.
    pub async fn ask<T: FromRedisValue>(&mut self, words: &[&str]) -> Result<T, Outcome> {
        // Nothing was sent yet that could have been applied.
        let mut connection = self.connection().await.map_err(|error| Outcome::Fail(error.to_string()))?;
        match ask(&mut connection, words).await {
            Ok(answer) => {
                self.connection = Some(connection);
                Ok(answer)
            }
            Err(error) => Err(outcome_of(&error)),
        }
    }

    /// Takes the connection out: an operation that is cut off leaves none behind.
    async fn connection(&mut self) -> Result<MultiplexedConnection, RedisError> {
        let kept = self.connection.take();
        match &mut self.way {
            Way::Fixed(access, address) => match kept {
                Some(connection) => Ok(connection),
                None => access.connect(*address, Account::App).await,
            },
            Way::Sentinels(discovery, watch) => match kept {
                Some(connection) if !watch.has_moved().await => Ok(connection),
                _ => {
                    // Asked before connecting: a change in between makes it look once more, and never too seldom.
                    watch.look().await;
                    discovery.get_async_connection_with_config(&connection_limits()).await
                }
            },
        }
    }
}

/// Asks a Sentinel for the master's address, over a connection that is kept.
struct Watch {
    access: Access,
    sentinels: Vec<SocketAddr>,
    connection: Option<MultiplexedConnection>,
    /// The address when it was last asked for.
    known: Option<String>,
    asked: Instant,
}

impl Watch {
    /// Whether the Sentinels name another address than before; asked once in [`ASK_EVERY`].
    async fn has_moved(&mut self) -> bool {
        if self.asked.elapsed() < ASK_EVERY {
            return false;
        }
        let before = self.known.clone();
        self.look().await;
        before != self.known
    }

    /// Asks now. A Sentinel that does not answer is the last to be asked the next time.
    async fn look(&mut self) {
        self.asked = Instant::now();
        match self.address().await {
            Ok(address) => self.known = Some(address),
            Err(_silent) => self.sentinels.rotate_left(1),
        }
    }

    async fn address(&mut self) -> Result<String, RedisError> {
        let mut connection = match (self.connection.take(), self.sentinels.first()) {
            (Some(connection), _) => connection,
            (None, Some(sentinel)) => self.access.connect(*sentinel, Account::App).await?,
            (None, None) => return Ok(String::new()),
        };
        let words = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME];
        let (address, _port): (String, String) = ask(&mut connection, &words).await?;
        self.connection = Some(connection);
        Ok(address)
    }
}

/// What an error says of a write: the server itself declined (READONLY, NOREPLICAS, LOADING, CLUSTERDOWN, MOVED, …), or nobody knows.
pub fn outcome_of(error: &RedisError) -> Outcome {
    let declined = matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::AuthenticationFailed);
    if declined { Outcome::Fail(error.to_string()) } else { Outcome::Unknown(error.to_string()) }
}

/// Appends each value to a list: one that was written twice shows twice.
pub struct Appender {
    pub master: Master,
    pub list: &'static str,
}

#[async_trait]
impl InsertClient for Appender {
    async fn insert(&mut self, value: u64) -> Outcome {
        match self.master.ask::<u64>(&["RPUSH", self.list, &value.to_string()]).await {
            Ok(_length) => Outcome::Ok,
            Err(outcome) => outcome,
        }
    }
}

/// Counts by one, and tells the number that came out.
pub struct Counting {
    pub master: Master,
    pub key: &'static str,
}

#[async_trait]
impl Client for Counting {
    async fn invoke(&mut self, _invocation: &Invocation) -> Completion {
        match self.master.ask::<u64>(&["INCR", self.key]).await {
            Ok(number) => Completion::read(json!(number)),
            Err(outcome) => Completion::of(outcome),
        }
    }
}
