//! A client of keyed registers.

use async_trait::async_trait;
use dora_harness::{
    database::mongodb::{Connection, MongodbError, ReplicaSet, TRIALS},
    history::Outcome,
    workload::{Client, Completion, Invocation},
};
use mongodb::{
    Collection,
    bson::{Document, doc},
    options::{CollectionOptions, ReadConcern, WriteConcern},
};
use serde_json::{Value, json};

use super::outcome::{MAJORITY_LIMIT, SELECTION, signed, written};

/// Reads, writes and compares-and-sets registers, each a document of its own.
pub(crate) struct Register {
    _connection: Connection,
    collection: Collection<Document>,
}

impl Register {
    /// Opens it as the application.
    pub(crate) fn open(set: &ReplicaSet, collection: &str, write: WriteConcern, read: ReadConcern) -> Result<Self, MongodbError> {
        let connection = set.application(&set.reach(), SELECTION)?;
        let options = CollectionOptions::builder().write_concern(write).read_concern(read).build();
        let collection = connection.database(TRIALS).collection_with_options(collection, options);
        Ok(Self { _connection: connection, collection })
    }

    async fn read(&self, key: i64) -> Completion {
        match self.collection.find_one(doc! { "_id": key }).max_time(MAJORITY_LIMIT).await {
            Ok(found) => Completion::read(json!([key, found.and_then(|document| document.get_i64("value").ok())])),
            // A read that was not answered changed nothing.
            Err(error) => Completion::of(Outcome::Fail(error.to_string())),
        }
    }

    async fn write(&self, key: i64, value: u64) -> Outcome {
        let value = match signed(value) {
            Ok(value) => value,
            Err(refused) => return refused,
        };
        written(self.collection.update_one(doc! { "_id": key }, doc! { "$set": { "value": value } }).upsert(true).await)
    }

    async fn compare_and_set(&self, key: i64, expected: u64, value: u64) -> Outcome {
        let (expected, value) = match (signed(expected), signed(value)) {
            (Ok(expected), Ok(value)) => (expected, value),
            (Err(refused), _) | (_, Err(refused)) => return refused,
        };
        let update = self.collection.update_one(doc! { "_id": key, "value": expected }, doc! { "$set": { "value": value } });
        match update.await {
            Ok(answer) if answer.matched_count == 0 => Outcome::Fail("the register holds something else".into()),
            other => written(other),
        }
    }
}

#[async_trait]
impl Client for Register {
    async fn invoke(&mut self, invocation: &Invocation) -> Completion {
        let (key, value) = (invocation.value[0].as_i64(), &invocation.value[1]);
        let pair = |value: &Value| value[0].as_u64().zip(value[1].as_u64());
        match (invocation.f, key, value.as_u64(), pair(value)) {
            ("read", Some(key), _, _) => self.read(key).await,
            ("write", Some(key), Some(value), _) => Completion::of(self.write(key, value).await),
            ("cas", Some(key), _, Some((expected, value))) => Completion::of(self.compare_and_set(key, expected, value).await),
            (f, ..) => Completion::of(Outcome::Fail(format!("{f} {} is nothing that a register does", invocation.value))),
        }
    }
}
