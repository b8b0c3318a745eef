//! The clients that insert.

use async_trait::async_trait;
use dora_harness::{
    database::postgres::{Login, POOLER_PORT, PostgresCluster},
    history::Outcome,
    workload::InsertClient,
};

use super::line::{Line, outcome_of};
use crate::ScenarioError;

/// Inserts through the pooler; a new connection after every error.
struct Inserter {
    line: Line,
    statement: &'static str,
}

#[async_trait]
impl InsertClient for Inserter {
    async fn insert(&mut self, value: u64) -> Outcome {
        let mut connection = match self.line.take().await {
            Ok(connection) => connection,
            Err(error) => return Outcome::Fail(error.to_string()),
        };
        // Values count the inserts of one run, far below 2^63.
        let bound = i64::try_from(value).unwrap_or(i64::MAX);
        match sqlx::query(self.statement).bind(bound).execute(&mut connection).await {
            Ok(_done) => {
                self.line.put(connection);
                Outcome::Ok
            }
            Err(error) => outcome_of(&error),
        }
    }
}

/// As an application logs in.
pub fn pooled(cluster: &PostgresCluster) -> Login {
    cluster.application_login(cluster.pooler().socket(POOLER_PORT))
}

/// So many clients.
pub fn inserters(cluster: &PostgresCluster, count: usize) -> Result<Vec<Box<dyn InsertClient>>, ScenarioError> {
    let statement = dora_fixtures::assets::text("schema/postgres/inserts/insert.sql")?;
    let one = |_| Box::new(Inserter { line: Line::persistent(pooled(cluster)), statement }) as Box<dyn InsertClient>;
    Ok((0..count).map(one).collect())
}
