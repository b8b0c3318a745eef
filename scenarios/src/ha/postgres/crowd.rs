//! More clients than the server has connections for.

use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use dora_fixtures::assets;
use dora_harness::{
    check::{Answer, Checked},
    database::postgres::{AccessError, PostgresCluster, connect},
    history::{Operation, Outcome},
    workload::{Client, Completion, Invocation, Pace, Rhythm},
};
use dora_reports::evidence::Finding;
use serde_json::Value;

use super::{
    super::CheckedLoad,
    inserts::pooled,
    line::{CONNECT_LIMIT, Line},
};
use crate::{ScenarioError, Trial};

/// More than the server's `max_connections`, which is 120.
pub const CLIENTS: u32 = 150;
/// The pool's size and its reserve, as in `pgbouncer.ini`.
pub const SERVER_CONNECTIONS_MAX: i64 = 45;
/// Each works for a third of a second in every one and a half: some thirty at a time.
const PACE: Pace = Pace { rhythm: Rhythm::Closed(Duration::from_millis(1_500)), limit: Duration::from_secs(20) };
/// All connect at the same moment, so each may have to wait: giving up would only make more work.
const PATIENCE: Duration = Duration::from_secs(15);
/// The last part of a history in which every client has to be served again.
const LAST_SHARE: f64 = 0.25;

struct Visitor {
    line: Line,
    statement: &'static str,
}

#[async_trait]
impl Client for Visitor {
    async fn invoke(&mut self, _invocation: &Invocation) -> Completion {
        let mut connection = match self.line.take().await {
            Ok(connection) => connection,
            Err(error) => return Completion::of(Outcome::Fail(error.to_string())),
        };
        match sqlx::query(self.statement).execute(&mut connection).await {
            Ok(_done) => {
                self.line.put(connection);
                Completion::of(Outcome::Ok)
            }
            // It only asks: nothing can have been applied.
            Err(error) => Completion::of(Outcome::Fail(error.to_string())),
        }
    }
}

/// How many clients were served at the end, once that was judged.
pub type Served = Arc<OnceLock<usize>>;

/// All of them, decided by whether each is served at the end, after whatever happened.
pub fn load(cluster: &PostgresCluster, counted: &Served) -> Result<CheckedLoad, ScenarioError> {
    let counted = Arc::clone(counted);
    let statement = assets::text("schema/postgres/crowd/work.sql")?;
    let visitor = |_| Box::new(Visitor { line: Line::patient(pooled(cluster), PATIENCE), statement }) as Box<dyn Client>;
    Ok(CheckedLoad {
        name: "crowd",
        clients: (0..CLIENTS).map(visitor).collect(),
        generator: Box::new(|_client| Invocation { f: "visit", value: Value::Null }),
        pace: PACE,
        judge: Box::new(move |operations| {
            // A history is judged once.
            let _ = counted.set(served(operations).len());
            every_client_is_served(operations)
        }),
    })
}

/// The clients that were answered in the last part of the history.
fn served(operations: &[Operation]) -> BTreeSet<u32> {
    let last = operations.iter().filter_map(|operation| operation.completed).max().unwrap_or_default();
    let from = (last as f64 * (1.0 - LAST_SHARE)) as u64;
    // A client goes on under another number after an operation of which nobody knows.
    operations
        .iter()
        .filter(|operation| operation.is_ok() && operation.completed.is_some_and(|at| at >= from))
        .map(|operation| operation.process % CLIENTS)
        .collect()
}

/// Whether every client was answered in the last part of the history.
fn every_client_is_served(operations: &[Operation]) -> Checked {
    let served = served(operations);
    let without: Vec<u32> = (0..CLIENTS).filter(|client| !served.contains(client)).collect();
    let answer = if operations.is_empty() {
        Answer::Unknown("no client asked for anything".into())
    } else if without.is_empty() {
        Answer::Holds
    } else {
        Answer::Violated {
            finding: "clients-not-served",
            message: format!("{} of {CLIENTS} clients were not served at the end", without.len()),
            witness: format!("clients {without:?}"),
        }
    };
    Checked { model: "every-client-served", operations: operations.len() as u64, answer }
}

/// How many connections the pooler holds on the primary, by the server's own count.
pub async fn count_connections(trial: &Trial, cluster: &PostgresCluster) -> Result<(), ScenarioError> {
    let failed = |reason: String| ScenarioError::client("count the pooler's connections", reason);
    let primary = cluster.primary().await.map_err(failed)?;
    let question = assets::text("schema/postgres/monitoring/pooled_connections.sql")?;
    let count = async {
        let mut connection = connect(&cluster.superuser_login(&primary), CONNECT_LIMIT).await?;
        let pooler = cluster.pooler().address().to_string();
        Ok::<i64, AccessError>(sqlx::query_scalar(question).bind(pooler).fetch_one(&mut connection).await?)
    };
    let count = tokio::time::timeout(CONNECT_LIMIT * 3, count)
        .await
        .map_err(|_elapsed| failed("no answer".into()))?
        .map_err(|error| failed(error.to_string()))?;
    trial.measure("server_connections", Some(count as f64), "connections");
    trial.note("client", format!("the pooler holds {count} connections to {} for {CLIENTS} clients", primary.name()));
    if count > SERVER_CONNECTIONS_MAX {
        let message = format!("the pooler holds {count} connections to {}, more than {SERVER_CONNECTIONS_MAX}", primary.name());
        trial.find(Finding::violation("too-many-server-connections", message));
    }
    if count == 0 {
        trial.find(Finding::violation("pool-elsewhere", format!("the pooler holds no connection to {}, the primary", primary.name())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit(process: u32, completed: u64, outcome: Outcome) -> Operation {
        Operation {
            index: u64::from(process),
            process,
            f: "visit".into(),
            value: Value::Null,
            returned: Value::Null,
            invoked: completed - 1,
            completed: Some(completed),
            outcome,
        }
    }

    #[test]
    fn who_is_not_served_at_the_end_is_named() {
        let mut history: Vec<Operation> = (0..CLIENTS).map(|client| visit(client, 1_000, Outcome::Ok)).collect();
        assert_eq!(every_client_is_served(&history).answer, Answer::Holds);
        assert_eq!(served(&history).len(), CLIENTS as usize);
        history[7] = visit(7, 10, Outcome::Ok);
        history.push(visit(7 + CLIENTS, 1_000, Outcome::Fail("no server".into())));
        assert_eq!(served(&history).len(), CLIENTS as usize - 1);
        let answer = every_client_is_served(&history).answer;
        assert!(matches!(answer, Answer::Violated { finding: "clients-not-served", witness, .. } if witness == "clients [7]"));
        assert!(matches!(every_client_is_served(&[]).answer, Answer::Unknown(_)));
    }
}
