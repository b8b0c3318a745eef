//! Two databases that are written and read all the time, while something happens to the key manager.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use dora_fixtures::assets;
use dora_harness::database::{
    postgres::{POOLER_PORT, PostgresCluster, connect},
    redis::{Account, Replicated, ask},
};
use sqlx::Connection as _;
use tokio::time::{sleep, timeout};

use crate::ScenarioError;

/// A request, its connection included, that takes longer failed.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
/// From an answer to the next request.
const PAUSE: Duration = Duration::from_millis(200);
/// What Redis is written.
const REDIS_KEY: &str = "app:sealed";

#[derive(Debug, Clone, Copy)]
enum Used {
    /// Through the pooler to the primary, as an application goes.
    Postgres,
    /// The master that the Sentinels name.
    Redis,
}

impl Used {
    const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::Redis => "Redis",
        }
    }
}

/// Clients of PostgreSQL and Redis, and what they saw. Each request is a write and a read of what was written, on a connection of its own.
#[derive(Debug)]
pub struct UsedDatabases {
    cluster: PostgresCluster,
    replicated: Arc<Replicated>,
    ended: AtomicBool,
    answered: AtomicU64,
    failed: Mutex<Vec<String>>,
}

impl UsedDatabases {
    /// Makes the table that is written; nothing is asked yet.
    ///
    /// # Errors
    /// [`ScenarioError::Client`].
    pub async fn set_up(cluster: PostgresCluster, replicated: Arc<Replicated>) -> Result<Self, ScenarioError> {
        let databases =
            Self { cluster, replicated, ended: AtomicBool::default(), answered: AtomicU64::default(), failed: Mutex::default() };
        databases.script("schema/postgres/openbao/sealed/prepare.sql").await?;
        Ok(databases)
    }

    /// Requests to both, side by side, until [`UsedDatabases::end`].
    pub async fn run(&self) {
        tokio::join!(self.repeat(Used::Postgres), self.repeat(Used::Redis));
    }

    /// Ends it; requests under way are counted yet.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Requests that were answered with what had been written.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// What failed, in the clients' words.
    pub fn failed(&self) -> Vec<String> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Removes what was written.
    ///
    /// # Errors
    /// [`ScenarioError::Client`].
    pub async fn remove(&self) -> Result<(), ScenarioError> {
        let forgotten = within_limit(async {
            let mut connection = self.replicated.connect(Account::App).await?;
            ask::<i64>(&mut connection, &["DEL", REDIS_KEY]).await.map(drop).map_err(|error| error.to_string())
        });
        let forgotten = forgotten.await.map_err(|error| ScenarioError::client("remove a key of Redis", error));
        self.script("schema/postgres/openbao/sealed/remove.sql").await.and(forgotten)
    }

    async fn script(&self, asset: &str) -> Result<(), ScenarioError> {
        let script = assets::text(asset)?;
        let done = within_limit(async {
            let login = self.cluster.application_login(self.cluster.pooler().socket(POOLER_PORT));
            let mut connection = connect(&login, REQUEST_LIMIT).await.map_err(|error| error.to_string())?;
            sqlx::raw_sql(script).execute(&mut connection).await.map(drop).map_err(|error| error.to_string())
        });
        done.await.map_err(|error| ScenarioError::client(format!("run {asset}"), error))
    }

    async fn repeat(&self, used: Used) {
        let mut number = 0;
        while !self.ended.load(Ordering::Relaxed) {
            number += 1;
            let outcome = match used {
                Used::Postgres => within_limit(self.use_postgres(number)).await,
                Used::Redis => within_limit(self.use_redis(number)).await,
            };
            match outcome {
                Ok(()) => {
                    self.answered.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    self.failed.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{}: {error}", used.name()));
                }
            }
            sleep(PAUSE).await;
        }
    }

    async fn use_postgres(&self, number: i64) -> Result<(), String> {
        let text = |asset| assets::text(asset).map_err(|error| error.to_string());
        let (write, read) = (text("schema/postgres/openbao/sealed/write.sql")?, text("schema/postgres/openbao/sealed/read.sql")?);
        let login = self.cluster.application_login(self.cluster.pooler().socket(POOLER_PORT));
        let mut connection = connect(&login, REQUEST_LIMIT).await.map_err(|error| error.to_string())?;
        sqlx::query(write).bind(number).execute(&mut connection).await.map_err(|error| format!("write: {error}"))?;
        let read = sqlx::query_scalar(read).bind(number).fetch_one(&mut connection).await;
        let found: i64 = read.map_err(|error| format!("read: {error}"))?;
        connection.close().await.map_err(|error| error.to_string())?;
        if found == 1 { Ok(()) } else { Err(format!("{number} was written and is there {found} times")) }
    }

    async fn use_redis(&self, number: i64) -> Result<(), String> {
        let mut connection = self.replicated.connect(Account::App).await?;
        ask::<()>(&mut connection, &["SET", REDIS_KEY, &number.to_string()]).await.map_err(|error| format!("write: {error}"))?;
        let found: i64 = ask(&mut connection, &["GET", REDIS_KEY]).await.map_err(|error| format!("read: {error}"))?;
        if found == number { Ok(()) } else { Err(format!("{number} was written and {found} read")) }
    }
}

/// A request with its time limit.
async fn within_limit(request: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let late = |_elapsed| Err(format!("no answer within {} s", REQUEST_LIMIT.as_secs()));
    timeout(REQUEST_LIMIT, request).await.unwrap_or_else(late)
}
