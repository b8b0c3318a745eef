//! Clients whose operations are whole transactions.

use std::time::Duration;

use async_trait::async_trait;
use dora_fixtures::assets;
use dora_harness::{
    database::postgres::PostgresCluster,
    history::Outcome,
    workload::{Client, Completion, Invocation},
};
use serde_json::{Map, Value, json};
use sqlx::{PgConnection, Row as _};

use super::{
    inserts::pooled,
    line::{Line, outcome_of},
};
use crate::ScenarioError;

/// How an operation failed.
enum Failure {
    /// Before its transaction was told to commit: the server rolls it back.
    Before(String),
    /// At the commit, which may have happened.
    Commit(sqlx::Error),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Before(error.to_string())
    }
}

impl Failure {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Before(why) => Outcome::Fail(why.clone()),
            Self::Commit(error) => outcome_of(error),
        }
    }
}

/// Whether the statements of an operation are one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bracket {
    /// They are.
    Transaction,
    /// Each commits by itself: the defect that a check of isolation has to notice.
    Nothing,
}

impl Bracket {
    fn statement(self, path: &str) -> Result<&'static str, assets::AssetError> {
        assets::text(match self {
            Self::Transaction => path,
            Self::Nothing => "schema/postgres/sabotage/no_transaction.sql",
        })
    }

    /// Between the steps of a transfer: where nothing keeps them together, others meet them half done in every run, not only by chance.
    async fn between_steps(self) {
        if self == Self::Nothing {
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    }
}

fn bound(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

/// Transactions on lists, at one level of isolation.
pub struct ListClient {
    line: Line,
    isolation: &'static str,
    begin: &'static str,
    append: &'static str,
    read: &'static str,
    commit: &'static str,
}

impl ListClient {
    /// `isolation`: `serializable` or `repeatable_read`; each has lists of its own.
    pub fn new(cluster: &PostgresCluster, isolation: &'static str, bracket: Bracket) -> Result<Self, ScenarioError> {
        Ok(Self {
            line: Line::persistent(pooled(cluster)),
            isolation,
            begin: bracket.statement(&format!("schema/postgres/transactions/begin_{isolation}.sql"))?,
            append: assets::text("schema/postgres/lists/append.sql")?,
            read: assets::text("schema/postgres/lists/read.sql")?,
            commit: bracket.statement("schema/postgres/transactions/commit.sql")?,
        })
    }

    async fn transact(&self, connection: &mut PgConnection, steps: &[Value]) -> Result<Value, Failure> {
        sqlx::raw_sql(self.begin).execute(&mut *connection).await?;
        let mut done = Vec::with_capacity(steps.len());
        for step in steps {
            let (what, key) = (&step[0], bound(&step[1]));
            if what == "append" {
                sqlx::query(self.append).bind(self.isolation).bind(key).bind(bound(&step[2])).execute(&mut *connection).await?;
                done.push(step.clone());
            } else {
                let elements: Option<Vec<i64>> =
                    sqlx::query_scalar(self.read).bind(self.isolation).bind(key).fetch_optional(&mut *connection).await?;
                done.push(json!([what, step[1], elements.unwrap_or_default()]));
            }
        }
        sqlx::raw_sql(self.commit).execute(&mut *connection).await.map_err(Failure::Commit)?;
        Ok(Value::Array(done))
    }
}

#[async_trait]
impl Client for ListClient {
    async fn invoke(&mut self, invocation: &Invocation) -> Completion {
        let mut connection = match self.line.take().await {
            Ok(connection) => connection,
            Err(error) => return Completion::of(Outcome::Fail(error.to_string())),
        };
        let steps = invocation.value.as_array().cloned().unwrap_or_default();
        match self.transact(&mut connection, &steps).await {
            Ok(done) => {
                self.line.put(connection);
                Completion::read(done)
            }
            // The connection goes, and with it whatever is left of the transaction.
            Err(failure) => Completion::of(failure.outcome()),
        }
    }
}

/// Moves money between accounts, and reads all of them in one statement.
pub struct BankClient {
    line: Line,
    bracket: Bracket,
    begin: &'static str,
    take: &'static str,
    give: &'static str,
    commit: &'static str,
    balances: &'static str,
}

impl BankClient {
    /// Not connected yet.
    pub fn new(cluster: &PostgresCluster, bracket: Bracket) -> Result<Self, ScenarioError> {
        let statement = |name: &str| assets::text(&format!("schema/postgres/accounts/{name}.sql"));
        Ok(Self {
            line: Line::persistent(pooled(cluster)),
            bracket,
            begin: bracket.statement("schema/postgres/transactions/begin.sql")?,
            take: statement("take")?,
            give: statement("give")?,
            commit: bracket.statement("schema/postgres/transactions/commit.sql")?,
            balances: statement("balances")?,
        })
    }

    async fn transfer(&self, connection: &mut PgConnection, order: &Value) -> Result<(), Failure> {
        let amount = bound(&order["amount"]);
        sqlx::raw_sql(self.begin).execute(&mut *connection).await?;
        let taken = sqlx::query(self.take).bind(bound(&order["from"])).bind(amount).execute(&mut *connection).await?;
        if taken.rows_affected() == 0 {
            return Err(Failure::Before("the account does not have that much".into()));
        }
        self.bracket.between_steps().await;
        sqlx::query(self.give).bind(bound(&order["to"])).bind(amount).execute(&mut *connection).await?;
        sqlx::raw_sql(self.commit).execute(&mut *connection).await.map_err(Failure::Commit)?;
        Ok(())
    }

    async fn balances(&self, connection: &mut PgConnection) -> Result<Value, Failure> {
        let mut accounts = Map::new();
        for row in sqlx::query(self.balances).fetch_all(connection).await? {
            accounts.insert(row.try_get::<i64, _>("id")?.to_string(), row.try_get::<i64, _>("balance")?.into());
        }
        Ok(Value::Object(accounts))
    }
}

#[async_trait]
impl Client for BankClient {
    async fn invoke(&mut self, invocation: &Invocation) -> Completion {
        let mut connection = match self.line.take().await {
            Ok(connection) => connection,
            Err(error) => return Completion::of(Outcome::Fail(error.to_string())),
        };
        let done = if invocation.f == "read" {
            self.balances(&mut connection).await
        } else {
            self.transfer(&mut connection, &invocation.value).await.map(|()| invocation.value.clone())
        };
        match done {
            Ok(value) => {
                self.line.put(connection);
                Completion::read(value)
            }
            Err(failure) => Completion::of(failure.outcome()),
        }
    }
}
