//! A primary, a secondary and an arbiter: with one copy dead, a majority cannot acknowledge, and what the other copy alone
//! acknowledged can be rolled back.

use std::time::Duration;

use dora_harness::{
    database::{
        Cluster as _,
        mongodb::{Connection, MemberState, MongodbError, PORT, Reach, ReplicaSet, TRIALS, limited},
    },
    fault::{Confirmed, Kill, inject},
    patience::within,
    platform::all_healthy,
    topology::Node,
};
use dora_reports::evidence::Finding;
use mongodb::{
    Collection,
    bson::{Document, doc},
    error::{Error, ErrorKind, WriteFailure},
    options::{Acknowledgment, CollectionOptions, ReadConcern, WriteConcern},
};

use super::DURABLE_ID;
use crate::{ScenarioError, Trial, security::mongodb::client_error};

const COLLECTION: &str = "arbitrated";
/// A majority of two copies that does not answer within this time will not answer while one of them is dead.
const MAJORITY_LIMIT: Duration = Duration::from_secs(3);
/// One request; above the majority's limit.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// A kill shows, a member comes back, a primary is elected within this time.
const CHANGE_LIMIT: Duration = Duration::from_secs(30);
const EVERY: Duration = Duration::from_millis(200);

/// Shows both halves of the clause on the set with an arbiter; it is handed back whole.
pub(super) async fn shows_both(trial: &Trial, set: &ReplicaSet) -> Result<(), ScenarioError> {
    trial.note("phase", "the set with an arbiter: both of its copies are killed in turn");
    let first = set.primary().await.map_err(client_error)?;
    let other = set.data_nodes().iter().find(|node| node.name() != first.name()).cloned();
    let second = other.ok_or_else(|| ScenarioError::Missing("the set with an arbiter has no secondary".into()))?;
    let primary = member(set, &first)?;
    limited("drop the collection", REQUEST_LIMIT, collection(&primary, Acknowledgment::Nodes(1)).drop()).await.map_err(client_error)?;
    insert(&primary, "before", Acknowledgment::Majority).await.map_err(client_error)?;

    let second_down = kill(trial, set, &second).await?;
    judge_writes(trial, &primary).await;
    let first_down = kill(trial, set, &first).await?;
    trial.fault(&second_down.heal().await?.confirm(CHANGE_LIMIT).await);
    let elected = || async {
        match set.state(&second).await {
            Ok(MemberState::Primary) => Ok(()),
            Ok(state) => Err(state.to_string()),
            Err(error) => Err(error.to_string()),
        }
    };
    within("the election with the arbiter's vote", CHANGE_LIMIT, EVERY, elected).await?;
    trial.note("role", format!("{} was elected with the arbiter's vote", second.name()));
    let survivor = member(set, &second)?;
    // A write of its own: the two histories part here.
    insert(&survivor, "after", Acknowledgment::Nodes(1)).await.map_err(client_error)?;
    trial.fault(&first_down.heal().await?.confirm(CHANGE_LIMIT).await);
    let whole = || async {
        all_healthy(&set.health().await)?;
        set.copied_everywhere(MAJORITY_LIMIT).await.map_err(|error| error.to_string())
    };
    within("the whole set with an arbiter", CHANGE_LIMIT * 2, EVERY, whole).await?;
    trial.note("role", "the set with an arbiter is whole again");
    judge_survival(trial, set).await
}

async fn judge_writes(trial: &Trial, primary: &Connection) {
    match insert(primary, "majority", Acknowledgment::Majority).await {
        Err(error) if is_majority_missing(&error) => {
            trial.note("client", "w:majority was not acknowledged: one copy of two is no majority");
        }
        Err(error) => trial.find(Finding::unconfirmed("majority-write-unclear", format!("the majority write ended with: {error}"))),
        Ok(()) => trial.find(Finding::violation("majority-without-majority", "w:majority was acknowledged by one copy and an arbiter")),
    }
    match insert(primary, "single", Acknowledgment::Nodes(1)).await {
        Ok(()) => trial.note("client", "w:1 was acknowledged by the only copy"),
        Err(error) => trial
            .find(Finding::violation("single-write-refused", format!("w:1 was refused although the arbiter keeps the primary: {error}"))),
    }
}

async fn judge_survival(trial: &Trial, set: &ReplicaSet) -> Result<(), ScenarioError> {
    let options = CollectionOptions::builder().read_concern(ReadConcern::majority()).build();
    let writes = set.admin().database(TRIALS).collection_with_options::<Document>(COLLECTION, options);
    let mut session = set.settled_session().await.map_err(client_error)?;
    let mut there = Vec::new();
    for name in ["before", "after", "single"] {
        let reading = writes.find_one(doc! { "_id": name }).session(&mut session);
        there.push(limited("look for a write", REQUEST_LIMIT, reading).await.map_err(client_error)?.is_some());
    }
    for (name, _) in ["before", "after"].into_iter().zip(&there).filter(|(_, there)| !**there) {
        let message = format!("the write `{name}` is gone although every surviving copy had it");
        trial.find(Finding::violation("acknowledged-writes-lost", message));
    }
    if there[2] {
        trial.find(Finding::unconfirmed(
            "no-rollback-seen",
            "the write that only the dead primary acknowledged came back, so a rollback was not shown",
        ));
        return Ok(());
    }
    let message = "a write that one copy acknowledged (w:1) was rolled back when the other copy was elected with the arbiter's vote";
    if trial.is_sabotaged_by(DURABLE_ID) {
        trial.find(Finding::violation("acknowledged-writes-lost", message).with_witness("single"));
    } else {
        trial.find(Finding::note("single-node-write-rolled-back", message));
    }
    Ok(())
}

fn member(set: &ReplicaSet, node: &Node) -> Result<Connection, ScenarioError> {
    set.application(&Reach::Member(node.socket(PORT)), CHANGE_LIMIT).map_err(client_error)
}

fn collection(member: &Connection, acknowledgment: Acknowledgment) -> Collection<Document> {
    let concern = WriteConcern::builder().w(acknowledgment).w_timeout(MAJORITY_LIMIT).build();
    member.database(TRIALS).collection_with_options(COLLECTION, CollectionOptions::builder().write_concern(concern).build())
}

async fn insert(member: &Connection, name: &str, acknowledgment: Acknowledgment) -> Result<(), MongodbError> {
    let writing = collection(member, acknowledgment);
    limited(&format!("insert `{name}`"), REQUEST_LIMIT, writing.insert_one(doc! { "_id": name })).await.map(|_inserted| ())
}

fn is_majority_missing(error: &MongodbError) -> bool {
    let kind = |source: &Error| matches!(&*source.kind, ErrorKind::Write(WriteFailure::WriteConcernError(_)));
    matches!(error, MongodbError::Driver { source, .. } if kind(source))
}

async fn kill(trial: &Trial, set: &ReplicaSet, node: &Node) -> Result<Confirmed<Kill>, ScenarioError> {
    let role = set.state(node).await.map_or_else(|error| error.to_string(), |state| state.to_string());
    let injected = inject(Kill::new(node.clone(), role, PORT), trial.origin()).await?;
    match injected.confirm(CHANGE_LIMIT).await {
        Ok(confirmed) => {
            trial.note("fault", format!("{} is dead: {}", confirmed.record().target, confirmed.record().confirmed_by));
            Ok(confirmed)
        }
        Err(unconfirmed) => {
            let record = unconfirmed.heal().await?.confirm(CHANGE_LIMIT).await;
            trial.fault(&record);
            Err(ScenarioError::client("kill a member", format!("{} still answers", record.target)))
        }
    }
}
