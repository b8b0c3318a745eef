//! A client that asks one member, all the time, whether it takes writes.

use std::time::Duration;

use async_trait::async_trait;
use dora_harness::{
    database::mongodb::{Connection, MongodbError, PORT, Reach, ReplicaSet, TRIALS},
    history::Outcome,
    topology::Node,
    workload::{Client, Completion, Invocation},
};
use mongodb::{
    bson::{Bson, Document, doc},
    error::ErrorKind,
};
use serde_json::json;

use super::outcome::NOT_PRIMARY;

/// How long the member may take to find a majority; below the watch's own limit, so that its words are heard.
const MAJORITY_LIMIT_MS: i32 = 600;
/// How long the probe waits for its member.
const SELECTION: Duration = Duration::from_millis(600);

/// Writes to one member, whatever its role; a write that a majority acknowledged is proof that it is a primary. The epoch is the election
/// term in which the write was made.
pub(crate) struct Prober {
    connection: Connection,
    collection: String,
    name: String,
}

impl Prober {
    /// Opens it as the application, past the driver's choice of a member.
    pub(crate) fn open(set: &ReplicaSet, node: &Node, collection: &str) -> Result<Self, MongodbError> {
        let connection = set.application(&Reach::Member(node.socket(PORT)), SELECTION)?;
        Ok(Self { connection, collection: collection.to_owned(), name: node.name().to_owned() })
    }
}

#[async_trait]
impl Client for Prober {
    async fn invoke(&mut self, _invocation: &Invocation) -> Completion {
        let update = doc! { "q": { "_id": &self.name }, "u": { "$inc": { "probes": 1_i64 } }, "upsert": true };
        let command = doc! {
            "update": &self.collection,
            "updates": [update],
            "writeConcern": { "w": "majority", "wtimeout": MAJORITY_LIMIT_MS },
        };
        match self.connection.database(TRIALS).run_command(command).await {
            Ok(answer) => match acknowledged_in(&answer) {
                Ok(term) => Completion::read(json!([self.name, term])),
                Err(why) => Completion::of(Outcome::Unknown(why)),
            },
            Err(error) => Completion::of(match &*error.kind {
                ErrorKind::ServerSelection { .. } => Outcome::Fail(error.to_string()),
                ErrorKind::Command(command) if NOT_PRIMARY.contains(&command.code) => Outcome::Fail(error.to_string()),
                _ => Outcome::Unknown(error.to_string()),
            }),
        }
    }
}

/// The term of an acknowledged write, from a member's raw answer.
fn acknowledged_in(answer: &Document) -> Result<i64, String> {
    for name in ["writeConcernError", "writeErrors"] {
        if let Some(error) = answer.get(name) {
            return Err(error.to_string());
        }
    }
    if answer.get("n").and_then(Bson::as_i32) != Some(1) {
        return Err(format!("the member did not say that it wrote: {answer}"));
    }
    answer.get_document("opTime").and_then(|time| time.get_i64("t")).map_err(|error| format!("the answer has no term: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_write_that_a_majority_acknowledged_says_its_term() {
        let written = doc! { "n": 1, "opTime": { "t": 7_i64 }, "ok": 1.0 };
        assert_eq!(acknowledged_in(&written), Ok(7));
        let mut alone = written.clone();
        alone.insert("writeConcernError", doc! { "code": 64 });
        assert!(acknowledged_in(&alone).is_err());
        assert!(acknowledged_in(&doc! { "n": 0, "opTime": { "t": 7_i64 } }).is_err());
        assert!(acknowledged_in(&doc! { "n": 1 }).is_err());
    }
}
