//! A client of transactions that append to lists and read them.

use async_trait::async_trait;
use dora_harness::{
    database::mongodb::{Connection, MongodbError, ReplicaSet, TRIALS},
    history::Outcome,
    workload::{Client, Completion, Invocation},
};
use mongodb::{
    ClientSession, Collection,
    bson::{Bson, Document, doc},
    error::{Error, ErrorKind, UNKNOWN_TRANSACTION_COMMIT_RESULT},
    options::{CollectionOptions, ReadConcern, WriteConcern},
};
use serde_json::{Value, json};

use super::outcome::SELECTION;

/// Carries out transactions at read concern snapshot; each list is a document.
pub(crate) struct Appender {
    connection: Connection,
    collection: Collection<Document>,
    concern: WriteConcern,
    in_transaction: bool,
}

/// A step could not be understood, or the set refused it.
enum StepError {
    Malformed(String),
    Refused(Error),
}

impl From<Error> for StepError {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl Appender {
    /// Opens it as the application. The driver itself sends a commit a second time when the first one's answer is lost: the server takes both
    /// for one and the same, so that the outcome stays one operation's.
    pub(crate) fn open(set: &ReplicaSet, collection: &str, concern: WriteConcern) -> Result<Self, MongodbError> {
        let connection = set.application(&set.reach(), SELECTION)?;
        let options = CollectionOptions::builder().write_concern(concern.clone()).build();
        let collection = connection.database(TRIALS).collection_with_options(collection, options);
        Ok(Self { connection, collection, concern, in_transaction: true })
    }

    /// The same, but every step of a transaction stands for itself.
    #[must_use]
    pub(crate) fn without_transactions(self) -> Self {
        Self { in_transaction: false, ..self }
    }

    async fn transact(&self, steps: &[Value]) -> Completion {
        let begun = async {
            let mut session = self.connection.start_session().await?;
            session.start_transaction().read_concern(ReadConcern::snapshot()).write_concern(self.concern.clone()).await?;
            Ok::<_, Error>(session)
        };
        let mut session = match begun.await {
            Ok(session) => session,
            Err(error) => return Completion::of(Outcome::Fail(error.to_string())),
        };
        let mut done = Vec::with_capacity(steps.len());
        for step in steps {
            match self.step(step, Some(&mut session)).await {
                Ok(step) => done.push(step),
                Err(error) => {
                    // Whether or not the server hears this, a transaction without a commit has no effect.
                    let _ = session.abort_transaction().await;
                    return Completion::of(Outcome::Fail(words(error)));
                }
            }
        }
        match session.commit_transaction().await {
            Ok(()) => Completion::read(done),
            Err(error) if surely_not_committed(&error) => Completion::of(Outcome::Fail(error.to_string())),
            Err(error) => Completion::of(Outcome::Unknown(error.to_string())),
        }
    }

    async fn step_by_step(&self, steps: &[Value]) -> Completion {
        let mut done = Vec::with_capacity(steps.len());
        for step in steps {
            match self.step(step, None).await {
                Ok(step) => done.push(step),
                Err(error) => return Completion::of(Outcome::Unknown(words(error))),
            }
        }
        Completion::read(done)
    }

    /// `["append", key, value]` or `["r", key, null]`; answers the same, with the list that was read.
    async fn step(&self, step: &Value, session: Option<&mut ClientSession>) -> Result<Value, StepError> {
        match (step[0].as_str(), step[1].as_i64(), step[2].as_i64()) {
            (Some("append"), Some(key), Some(value)) => {
                let update = self.collection.update_one(doc! { "_id": key }, doc! { "$push": { "values": value } }).upsert(true);
                match session {
                    Some(session) => update.session(session).await?,
                    None => update.await?,
                };
                Ok(step.clone())
            }
            (Some("r"), Some(key), _) => {
                let find = self.collection.find_one(doc! { "_id": key });
                let found = match session {
                    Some(session) => find.session(session).await?,
                    None => find.await?,
                };
                let values = found.as_ref().and_then(|document| document.get_array("values").ok());
                let values: Vec<Option<i64>> = values.into_iter().flatten().map(Bson::as_i64).collect();
                Ok(json!(["r", key, values]))
            }
            _ => Err(StepError::Malformed(format!("{step} is no step of a transaction"))),
        }
    }
}

fn words(error: StepError) -> String {
    match error {
        StepError::Malformed(what) => what,
        StepError::Refused(error) => error.to_string(),
    }
}

/// A commit that the server refused, as opposed to one whose answer was lost or whose majority did not answer in time.
fn surely_not_committed(error: &Error) -> bool {
    let nobody = matches!(&*error.kind, ErrorKind::ServerSelection { .. });
    let refused = matches!(&*error.kind, ErrorKind::Command(_)) && !error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT);
    nobody || refused
}

#[async_trait]
impl Client for Appender {
    async fn invoke(&mut self, invocation: &Invocation) -> Completion {
        match invocation.value.as_array() {
            Some(steps) if self.in_transaction => self.transact(steps).await,
            Some(steps) => self.step_by_step(steps).await,
            None => Completion::of(Outcome::Fail(format!("{} is no transaction", invocation.value))),
        }
    }
}
