//! A client that inserts.

use async_trait::async_trait;
use dora_harness::{
    database::mongodb::{Connection, MongodbError, ReplicaSet, TRIALS},
    history::Outcome,
    workload::InsertClient,
};
use mongodb::{
    Collection,
    bson::{Document, doc},
    options::{CollectionOptions, WriteConcern},
};

use super::outcome::{SELECTION, signed, written};

/// Inserts values, each acknowledged as its write concern says.
pub(crate) struct Inserter {
    _connection: Connection,
    collection: Collection<Document>,
}

impl Inserter {
    /// Opens it as the application.
    pub(crate) fn open(set: &ReplicaSet, collection: &str, concern: WriteConcern) -> Result<Self, MongodbError> {
        let connection = set.application(&set.reach(), SELECTION)?;
        let options = CollectionOptions::builder().write_concern(concern).build();
        let collection = connection.database(TRIALS).collection_with_options(collection, options);
        Ok(Self { _connection: connection, collection })
    }
}

#[async_trait]
impl InsertClient for Inserter {
    async fn insert(&mut self, value: u64) -> Outcome {
        match signed(value) {
            Ok(value) => written(self.collection.insert_one(doc! { "value": value }).await),
            Err(refused) => refused,
        }
    }
}
