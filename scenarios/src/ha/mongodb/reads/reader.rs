//! A client that reads by a rule and records who answered.

use std::{sync::Arc, time::Duration};

use dora_harness::{
    database::mongodb::{Connection, MongodbError, ReplicaSet, TRIALS, limited},
    history::{Outcome, Recorder},
    patience::within,
    topology::Node,
};
use mongodb::{
    bson::{Document, doc},
    error::{Error, ErrorKind},
    options::{Acknowledgment, CollectionOptions, ReadPreference, SelectionCriteria, WriteConcern},
};

use super::{observer::Observer, rule, rule::Rule};
use crate::{ScenarioError, security::mongodb::client_error};

/// The collection that is read.
const COLLECTION: &str = "reads";
/// Reads of each rule: members are drawn by lot, and one of three is missed by so many with a probability below 10⁻⁵.
const READS: usize = 40;
/// So many reads without an answer show that nobody is there to answer; each waits for long.
const UNANSWERED_MAX: usize = 2;
/// How long a read waits for a member that may answer: several rounds in which the driver asks all for their roles.
const SELECTION: Duration = Duration::from_millis(2_500);
/// Members whose answers take this much longer than the fastest one's are asked, too: all of them, on one machine.
const EVERY_MEMBER: Duration = Duration::from_secs(5);
const REQUEST_LIMIT: Duration = Duration::from_secs(20);

/// What a member answers that changes its role or ends: `ShutdownInProgress`, `PrimarySteppedDown`, `NotWritablePrimary`,
/// `InterruptedAtShutdown`, `InterruptedDueToReplStateChange`, `NotPrimaryNoSecondaryOk`, `NotPrimaryOrSecondary`.
const NOT_SERVING: [i32; 7] = [91, 189, 10_107, 11_600, 11_602, 13_435, 13_436];

/// Makes the one document that is read; every member has it.
pub(super) async fn prepare(set: &ReplicaSet) -> Result<(), ScenarioError> {
    let concern = WriteConcern::builder().w(Acknowledgment::Nodes(3)).w_timeout(REQUEST_LIMIT / 2).build();
    let options = CollectionOptions::builder().write_concern(concern).build();
    let collection = set.admin().database(TRIALS).collection_with_options::<Document>(COLLECTION, options);
    limited("drop the collection", REQUEST_LIMIT, collection.drop()).await.map_err(client_error)?;
    limited("write what is read", REQUEST_LIMIT, collection.insert_one(doc! { "_id": 1 })).await.map_err(client_error)?;
    Ok(())
}

/// Reads as the application, with an observer at the members.
pub(super) struct Reader {
    connection: Connection,
    observer: Observer,
    recorder: Recorder,
    /// In place of every rule's preference: a client that ignores it.
    instead: Option<ReadPreference>,
}

impl Reader {
    /// Opens it; `nodes` are the members that live.
    pub(super) async fn open(
        set: &Arc<ReplicaSet>,
        nodes: &[Node],
        recorder: &Recorder,
        instead: Option<ReadPreference>,
    ) -> Result<Self, MongodbError> {
        let connection = set.application_with(&set.reach(), SELECTION, |options| options.local_threshold = Some(EVERY_MEMBER))?;
        let reader = Self { connection, observer: Observer::watch(set, nodes, COLLECTION).await?, recorder: recorder.clone(), instead };
        reader.knows(nodes.len()).await?;
        Ok(reader)
    }

    /// Waits until the driver has found all members that live, by reads that are not recorded.
    async fn knows(&self, members: usize) -> Result<(), MongodbError> {
        let nearest = ReadPreference::Nearest { options: None };
        let mut seen = std::collections::BTreeSet::new();
        let all = || {
            let comment = comment();
            let reading = self.read(nearest.clone(), comment.clone());
            async move {
                reading.await.map_err(|error| error.to_string())?;
                self.observer.answered(&comment).await.map_err(|error| error.to_string())
            }
        };
        for _ in 0..READS * members {
            let found = within("a first read", REQUEST_LIMIT, Duration::from_millis(20), all).await;
            seen.insert(found.map_err(|error| MongodbError::unusable("find all members", error))?);
            if seen.len() == members {
                return Ok(());
            }
        }
        Err(MongodbError::unusable("find all members", format!("only {seen:?} answered")))
    }

    async fn read(&self, preference: ReadPreference, comment: String) -> Result<(), Error> {
        let collection = self.connection.database(TRIALS).collection::<Document>(COLLECTION);
        let reading = collection.find_one(doc! { "_id": 1 }).comment(comment);
        reading.selection_criteria(SelectionCriteria::ReadPreference(preference)).await.map(drop)
    }

    /// Reads by a rule: once where nobody may answer, else until each member had its chance.
    pub(super) async fn try_rule(&self, rule: &Rule) -> Result<(), ScenarioError> {
        let reads = if rule.members.is_empty() { 1 } else { READS };
        let mut unanswered = 0;
        for _ in 0..reads {
            if unanswered == UNANSWERED_MAX {
                break;
            }
            let comment = comment();
            self.recorder.invoke(0, "read", &rule::value(rule, None));
            let preference = self.instead.clone().unwrap_or_else(|| rule.preference.clone());
            let read = self.read(preference, comment.clone()).await;
            let member = if read.is_ok() { Some(self.observer.answered(&comment).await?) } else { None };
            let outcome = read.as_ref().map_or_else(|error| Outcome::Fail(error.to_string()), |()| Outcome::Ok);
            unanswered += usize::from(member.is_none());
            self.recorder.complete(0, "read", &rule::value(rule, member.as_deref()), &outcome);
            if let Err(error) = read
                && !is_silence(&error)
            {
                return Err(ScenarioError::client(format!("read with `{}`", rule.name), error));
            }
        }
        Ok(())
    }

    /// Ends the observation.
    pub(super) async fn end(self) {
        self.observer.end().await;
    }
}

/// Whether an error says that nobody answered: there was no member to choose, or the one that was chosen is gone or may not answer now. Any
/// other error, such as that of a client that asks wrongly, says nothing of who would have answered.
fn is_silence(error: &Error) -> bool {
    match &*error.kind {
        ErrorKind::ServerSelection { .. } | ErrorKind::Io(_) | ErrorKind::ConnectionPoolCleared { .. } => true,
        ErrorKind::Command(command) => NOT_SERVING.contains(&command.code),
        _ => false,
    }
}

/// A text that no other read carries.
fn comment() -> String {
    format!("dora-{:016x}", rand::random::<u64>())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn only_a_member_that_is_gone_is_silent() {
        assert!(is_silence(&Error::from(io::Error::from(io::ErrorKind::ConnectionReset))));
        assert!(!is_silence(&Error::custom("the client asks wrongly")));
    }
}
