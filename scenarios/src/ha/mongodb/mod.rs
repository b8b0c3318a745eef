//! The primary of a replica set is killed; and what an arbiter can and cannot replace.

mod arbiter;
mod client;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_harness::{
    database::{
        Cluster as _,
        mongodb::{MemberState, PORT, ReplicaSet, TRIALS, limited},
    },
    fault::Kill,
    patience::within,
    platform::all_healthy,
    topology::Node,
    workload::InsertClient,
};
use futures_util::TryStreamExt as _;
use mongodb::{
    bson::{Document, doc},
    options::{CollectionOptions, ReadConcern},
};

use self::client::Inserter;
use super::{Course, HaTarget, Strike, is_hit, outage};
use crate::{
    Database, Pillar, Sabotage, Scenario, ScenarioError, Trial,
    security::mongodb::{client_error, replica_set},
};

/// The collection that the load inserts into.
const COLLECTION: &str = "inserts";
/// A request outside the load.
const REQUEST_LIMIT: Duration = Duration::from_secs(20);
/// Until all copies are equal while the load goes on.
const COPY_LIMIT: Duration = Duration::from_secs(2);
/// Until a set is whole again after a sabotage.
const WHOLE_LIMIT: Duration = Duration::from_secs(60);
const PRIORITY_ID: &str = "secondaries-never-elected";
const DURABLE_ID: &str = "w1-asserted-durable";

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "ha/mongodb/primary-killed",
    title: "A replica set goes on when its primary is killed; an arbiter replaces a vote, not a copy",
    pillar: Pillar::Ha,
    database: Database::Mongodb,
    clauses: &["HA-MDB-1"],
    goal: "Find out how long nobody can write after the primary's death, and whether a write that a majority acknowledged is ever lost.",
    method: &[
        "Four clients insert distinct values with w:majority over TLS, without retries.",
        "Kill the primary with SIGKILL; take the four clocks; start it again and wait until every copy is complete.",
        "Read all values at read concern majority and compare them with what was acknowledged.",
        "In the set with an arbiter: kill the secondary; a majority write must time out and a single-node write be accepted.",
        "There, kill the primary too and start the secondary: the arbiter's vote makes it primary without that write. Start the old primary and look for it.",
    ],
    does_not_show: &[
        "silence instead of a reset (a partition, a lost machine)",
        "a paused primary that comes back",
        "a rollback of more than a few writes",
    ],
    needs_high_availability: true,
    deadline: Duration::from_secs(240),
    sabotages: &[
        Sabotage { id: PRIORITY_ID, what: "the secondaries have priority 0, so none of them can be elected", expects: "recovery-too-late" },
        Sabotage {
            id: DURABLE_ID,
            what: "a write that one node acknowledged is taken for durable in the set with an arbiter",
            expects: "acknowledged-writes-lost",
        },
    ],
    run: |trial| Box::pin(async move { outage(trial, &DataSet { set: replica_set(trial).await? }, Course::returns()).await }),
}];

struct DataSet {
    set: Arc<ReplicaSet>,
}

impl DataSet {
    fn others(&self, hit: &[Node]) -> Vec<Node> {
        self.set.data_nodes().iter().filter(|node| !is_hit(hit, node)).cloned().collect()
    }
}

#[async_trait]
impl HaTarget for DataSet {
    async fn prepare(&self) -> Result<(), ScenarioError> {
        let database = self.set.admin().database(TRIALS);
        let collection = database.collection::<Document>(COLLECTION);
        limited("drop the collection", REQUEST_LIMIT, collection.drop()).await.map_err(client_error)?;
        limited("create the collection", REQUEST_LIMIT, database.create_collection(COLLECTION)).await.map_err(client_error)?;
        self.set.copied_everywhere(REQUEST_LIMIT / 2).await.map_err(client_error)
    }

    async fn clients(&self, count: usize) -> Result<Vec<Box<dyn InsertClient>>, ScenarioError> {
        let open = |_| Inserter::open(&self.set, TRIALS, COLLECTION).map(|client| Box::new(client) as Box<dyn InsertClient>);
        (0..count).map(open).collect::<Result<_, _>>().map_err(client_error)
    }

    async fn strike(&self) -> Result<Strike, ScenarioError> {
        let node = self.set.primary().await.map_err(client_error)?;
        let fault = Box::new(Kill::new(node.clone(), MemberState::Primary.to_string(), PORT));
        Ok(Strike { fault, hit: vec![node] })
    }

    async fn has_noticed(&self, hit: &[Node]) -> Result<(), String> {
        self.set.primary_among(&self.others(hit)).await.map(|_node| ()).map_err(|error| error.to_string())
    }

    async fn is_redundant(&self, _hit: &[Node]) -> Result<(), String> {
        all_healthy(&self.set.health().await)?;
        self.set.copied_everywhere(COPY_LIMIT).await.map_err(|error| error.to_string())
    }

    async fn present(&self) -> Result<Vec<u64>, ScenarioError> {
        let options = CollectionOptions::builder().read_concern(ReadConcern::majority()).build();
        let collection = self.set.admin().database(TRIALS).collection_with_options::<Document>(COLLECTION, options);
        let mut session = self.set.settled_session().await.map_err(client_error)?;
        let reading = async {
            let mut cursor = collection.find(doc! {}).session(&mut session).await?;
            cursor.stream(&mut session).try_collect::<Vec<Document>>().await
        };
        let documents = limited("read the values", REQUEST_LIMIT, reading).await.map_err(client_error)?;
        let value = |document: &Document| document.get_i64("value").ok().and_then(|value| u64::try_from(value).ok());
        documents
            .iter()
            .map(|document| value(document).ok_or_else(|| ScenarioError::client("read the values", format!("{document} holds none"))))
            .collect()
    }

    async fn check_further(&self, trial: &Trial, _hit: &[Node]) -> Result<(), ScenarioError> {
        match trial.platform().mongodb.arbitrated.get().await {
            Some(set) => arbiter::shows_both(trial, &set).await,
            // Smaller profiles have no arbiter; the clause's first half stands for itself there.
            None => Ok(()),
        }
    }

    async fn sabotage(&self, id: &str) -> Result<(), ScenarioError> {
        match id {
            PRIORITY_ID => self.set.prioritise_secondaries(0).await.map_err(client_error),
            // This one is in the judgement.
            _ => Ok(()),
        }
    }

    async fn undo_sabotage(&self, id: &str) -> Result<(), ScenarioError> {
        if id == PRIORITY_ID {
            let restored = || async { self.set.prioritise_secondaries(1).await };
            within("the old priorities", WHOLE_LIMIT, Duration::from_millis(300), restored).await?;
        }
        within("the set's health", WHOLE_LIMIT, Duration::from_millis(200), || async { all_healthy(&self.set.health().await) }).await?;
        Ok(())
    }
}
