//! Is this server writable? Asked all the time, of each server itself.

use std::time::Duration;

use async_trait::async_trait;
use dora_fixtures::assets;
use dora_harness::{
    database::postgres::{PostgresCluster, SERVER_PORT},
    history::Outcome,
    topology::Node,
    workload::{Client, Completion, Invocation},
};
use serde_json::json;

use super::super::NodeProber;
use super::line::{Line, outcome_of, was_refused};
use crate::ScenarioError;

/// How long a prober's attempt to connect goes on: long enough for a busy machine, and short, because an attempt that hangs sees nothing of a
/// node that is back meanwhile.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(4);

/// Commits a small write on one server, past the pooler, and answers `[node, timeline]`. The commit waits for a standby like any other:
/// what counts is whether a write is *acknowledged*.
struct Prober {
    node: String,
    line: Line,
    follows: &'static str,
    write: &'static str,
}

#[async_trait]
impl Client for Prober {
    async fn invoke(&mut self, _invocation: &Invocation) -> Completion {
        let mut connection = match self.line.take().await {
            Ok(connection) => connection,
            Err(error) => return Completion::of(Outcome::Fail(error.to_string())),
        };
        // Whoever follows refuses writes; asking first spares its log a line for each probe.
        match sqlx::query_scalar::<_, bool>(self.follows).fetch_one(&mut connection).await {
            Ok(true) => {
                self.line.put(connection);
                return Completion::of(Outcome::Fail("it follows".into()));
            }
            Ok(false) => {}
            Err(error) => return Completion::of(Outcome::Fail(error.to_string())),
        }
        match sqlx::query_scalar::<_, i64>(self.write).bind(&self.node).fetch_one(&mut connection).await {
            Ok(timeline) => {
                self.line.put(connection);
                Completion::read(json!([self.node, timeline]))
            }
            Err(error) => {
                if was_refused(&error) {
                    self.line.put(connection);
                }
                Completion::of(outcome_of(&error))
            }
        }
    }
}

/// One prober for each server.
pub fn probers(cluster: &PostgresCluster) -> Result<Vec<NodeProber>, ScenarioError> {
    let follows = assets::text("schema/postgres/probe/follows.sql")?;
    let write = assets::text("schema/postgres/probe/write.sql")?;
    let prober = |server: &Node| {
        let line = Line::persistent_for(cluster.application_login(server.socket(SERVER_PORT)), ATTEMPT_LIMIT);
        let prober = Prober { node: server.name().to_owned(), line, follows, write };
        (server.name().to_owned(), Box::new(prober) as Box<dyn Client>)
    };
    Ok(cluster.servers().iter().map(prober).collect())
}
