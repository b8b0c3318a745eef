//! A client whose session carries what it has seen from member to member.

use std::time::Duration;

use async_trait::async_trait;
use dora_harness::{
    database::mongodb::{Connection, MongodbError, ReplicaSet, TRIALS},
    history::Outcome,
    workload::{Client, Completion, Invocation},
};
use mongodb::{
    ClientSession, Collection,
    bson::{Document, doc},
    error::Error,
    options::{CollectionOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern},
};
use serde_json::json;

use super::outcome::{MAJORITY_LIMIT, SELECTION, signed, written};

/// Members whose answers take this much longer than the fastest one's are asked, too: all of them, on one machine.
const EVERY_MEMBER: Duration = Duration::from_secs(5);

/// Writes registers at the primary and reads them from any member, in a causally consistent session.
pub(crate) struct CausalReader {
    connection: Connection,
    collection: Collection<Document>,
    with_session: bool,
    /// [`None`] before the first operation and after one that nobody knows the end of.
    session: Option<ClientSession>,
}

impl CausalReader {
    /// Opens it as the application; causal consistency takes majority on both sides.
    pub(crate) fn open(set: &ReplicaSet, collection: &str, write: WriteConcern) -> Result<Self, MongodbError> {
        let connection = set.application_with(&set.reach(), SELECTION, |options| options.local_threshold = Some(EVERY_MEMBER))?;
        let anyone = SelectionCriteria::ReadPreference(ReadPreference::Nearest { options: None });
        let options =
            CollectionOptions::builder().write_concern(write).read_concern(ReadConcern::majority()).selection_criteria(anyone).build();
        let collection = connection.database(TRIALS).collection_with_options(collection, options);
        Ok(Self { connection, collection, with_session: true, session: None })
    }

    /// The same, but every operation stands for itself.
    #[must_use]
    pub(crate) fn without_sessions(self) -> Self {
        Self { with_session: false, ..self }
    }

    async fn session(&mut self) -> Result<Option<ClientSession>, Error> {
        if !self.with_session {
            return Ok(None);
        }
        match self.session.take() {
            Some(session) => Ok(Some(session)),
            None => self.connection.start_session().causal_consistency(true).await.map(Some),
        }
    }

    async fn carry_out(&self, invocation: &Invocation, session: Option<&mut ClientSession>) -> Completion {
        let (Some(key), value) = (invocation.value[0].as_i64(), invocation.value[1].as_u64()) else {
            return Completion::of(Outcome::Fail(format!("{} has no key", invocation.value)));
        };
        if invocation.f == "read" {
            // A member that lags waits for what the session has seen; one that cannot get it has to say so.
            let find = self.collection.find_one(doc! { "_id": key }).max_time(MAJORITY_LIMIT);
            let found = match session {
                Some(session) => find.session(session).await,
                None => find.await,
            };
            return match found {
                Ok(found) => Completion::read(json!([key, found.and_then(|document| document.get_i64("value").ok())])),
                Err(error) => Completion::of(Outcome::Fail(error.to_string())),
            };
        }
        let value = match value.ok_or_else(|| Outcome::Fail("there is nothing to write".into())).and_then(signed) {
            Ok(value) => value,
            Err(refused) => return Completion::of(refused),
        };
        let update = self.collection.update_one(doc! { "_id": key }, doc! { "$set": { "value": value } }).upsert(true);
        Completion::of(written(match session {
            Some(session) => update.session(session).await,
            None => update.await,
        }))
    }
}

#[async_trait]
impl Client for CausalReader {
    async fn invoke(&mut self, invocation: &Invocation) -> Completion {
        let mut session = match self.session().await {
            Ok(session) => session,
            Err(error) => return Completion::of(Outcome::Fail(error.to_string())),
        };
        let completion = self.carry_out(invocation, session.as_mut()).await;
        // The history goes on under another process after an unknown end, and that one has seen nothing yet. An operation that is cut
        // off does not come here and leaves no session behind either.
        if !matches!(completion.outcome, Outcome::Unknown(_)) {
            self.session = session;
        }
        completion
    }
}
