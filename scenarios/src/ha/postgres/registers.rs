//! Keyed registers, each operation one statement on the primary.

use async_trait::async_trait;
use dora_fixtures::assets;
use dora_harness::{
    database::postgres::PostgresCluster,
    history::Outcome,
    workload::{Client, Completion, Invocation},
};
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{
    inserts::pooled,
    line::{Line, outcome_of},
};
use crate::ScenarioError;

fn bound(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

/// Reads, writes, and sets if it holds what is expected.
pub struct RegisterClient {
    line: Line,
    read: &'static str,
    write: &'static str,
    compare_and_set: &'static str,
}

impl RegisterClient {
    /// Not connected yet.
    pub fn new(cluster: &PostgresCluster) -> Result<Self, ScenarioError> {
        let statement = |name: &str| assets::text(&format!("schema/postgres/registers/{name}.sql"));
        Ok(Self {
            line: Line::persistent(pooled(cluster)),
            read: statement("read")?,
            write: statement("write")?,
            compare_and_set: statement("compare_and_set")?,
        })
    }

    async fn work(&self, connection: &mut PgConnection, invocation: &Invocation) -> Result<Completion, sqlx::Error> {
        let (key, value) = (&invocation.value[0], &invocation.value[1]);
        match invocation.f {
            "read" => {
                let found: Option<i64> = sqlx::query_scalar(self.read).bind(bound(key)).fetch_optional(connection).await?;
                Ok(Completion::read(json!([key, found])))
            }
            "cas" => {
                let change = sqlx::query(self.compare_and_set).bind(bound(key)).bind(bound(&value[0])).bind(bound(&value[1]));
                let changed = change.execute(connection).await?.rows_affected();
                let outcome = if changed == 0 { Outcome::Fail("the register holds something else".into()) } else { Outcome::Ok };
                Ok(Completion::of(outcome))
            }
            _ => {
                sqlx::query(self.write).bind(bound(key)).bind(bound(value)).execute(connection).await?;
                Ok(Completion::of(Outcome::Ok))
            }
        }
    }
}

#[async_trait]
impl Client for RegisterClient {
    async fn invoke(&mut self, invocation: &Invocation) -> Completion {
        let mut connection = match self.line.take().await {
            Ok(connection) => connection,
            Err(error) => return Completion::of(Outcome::Fail(error.to_string())),
        };
        match self.work(&mut connection, invocation).await {
            Ok(completion) => {
                self.line.put(connection);
                completion
            }
            // A read that was not answered changed nothing.
            Err(error) if invocation.f == "read" => Completion::of(Outcome::Fail(error.to_string())),
            Err(error) => Completion::of(outcome_of(&error)),
        }
    }
}
