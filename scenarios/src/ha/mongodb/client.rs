//! A client that inserts with w:majority.

use std::time::Duration;

use async_trait::async_trait;
use dora_harness::{
    database::mongodb::{Connection, MongodbError, ReplicaSet},
    history::Outcome,
    workload::InsertClient,
};
use mongodb::{
    Collection,
    bson::{Document, doc},
    error::{Error, ErrorKind, WriteFailure},
    options::{Acknowledgment, CollectionOptions, WriteConcern},
};

/// How long an insert waits for a primary: short, so that the next value tries again.
const SELECTION: Duration = Duration::from_secs(1);
/// How long the server waits for a majority; below the workload's own limit, so that its words are heard.
const MAJORITY_LIMIT: Duration = Duration::from_millis(1_500);
/// `NotWritablePrimary` and `NotPrimaryNoSecondaryOk`: refused before anything was done.
const NOT_PRIMARY: [i32; 2] = [10_107, 13_435];

/// One connection of its own, found through all members.
pub(super) struct Inserter {
    _connection: Connection,
    collection: Collection<Document>,
}

impl Inserter {
    /// Opens it as the application.
    pub(super) fn open(set: &ReplicaSet, database: &str, collection: &str) -> Result<Self, MongodbError> {
        let connection = set.application(&set.reach(), SELECTION)?;
        let concern = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).w_timeout(MAJORITY_LIMIT).build();
        let options = CollectionOptions::builder().write_concern(concern).build();
        let collection = connection.database(database).collection_with_options(collection, options);
        Ok(Self { _connection: connection, collection })
    }
}

#[async_trait]
impl InsertClient for Inserter {
    async fn insert(&mut self, value: u64) -> Outcome {
        let Ok(signed) = i64::try_from(value) else {
            return Outcome::Fail("the value is beyond the server's integers".into());
        };
        match self.collection.insert_one(doc! { "value": signed }).await {
            Ok(_inserted) => Outcome::Ok,
            Err(error) if surely_not_applied(&error) => Outcome::Fail(error.to_string()),
            Err(error) => Outcome::Unknown(error.to_string()),
        }
    }
}

/// Whether the insert surely did not happen: there was nobody to send it to, or the server refused it before doing anything.
/// A broken connection, an interrupted primary or a majority that did not answer in time leave it open.
fn surely_not_applied(error: &Error) -> bool {
    match &*error.kind {
        ErrorKind::ServerSelection { .. } | ErrorKind::Authentication { .. } | ErrorKind::Write(WriteFailure::WriteError(_)) => true,
        ErrorKind::Command(command) => NOT_PRIMARY.contains(&command.code),
        _ => false,
    }
}
