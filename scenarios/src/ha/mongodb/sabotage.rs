//! Planted defects of sets of data nodes: in the set's configuration, or (see [`super::demand`]) in what the clients ask for.

use std::time::Duration;

use dora_harness::{
    database::{
        Cluster as _,
        mongodb::{MongodbError, ReplicaSet, limited},
    },
    patience::within,
    platform::all_healthy,
    topology::Node,
};
use mongodb::bson::doc;

use crate::{ScenarioError, security::mongodb::client_error};

/// No secondary can be elected.
pub(super) const NEVER_ELECTED: &str = "secondaries-never-elected";
/// Nobody can take the role over from a primary that is ordered to step down all the same.
pub(super) const NO_SUCCESSOR: &str = "step-down-without-successor";
/// Clients: `w:1`.
pub(super) const ONE_COPY: &str = "one-copy-acknowledges";
/// Clients: `w:3`.
pub(super) const EVERY_COPY: &str = "every-copy-must-acknowledge";
/// Clients: the steps of a transaction stand for themselves.
pub(super) const NO_TRANSACTIONS: &str = "steps-without-transaction";
/// Clients: no session.
pub(super) const NO_SESSIONS: &str = "reads-without-session";
/// The isolated primary is forced into a set of its own.
pub(super) const SPLIT_BRAIN: &str = "isolated-primary-forced-alone";
/// The secondary that is hit lags for a long time.
pub(super) const RETURNS_LATE: &str = "returned-copy-delayed";
/// The secondaries have no vote, so that the primary alone is a majority.
pub(super) const NO_VOTES: &str = "copies-without-vote";
/// Clients: `w:1` without the journal, and secondaries that lag.
pub(super) const FROM_MEMORY: &str = "acknowledged-from-memory";

/// Longer than any scenario waits for a copy.
const LONG_LAG_S: u32 = 300;
/// Long enough that no secondary has what the primary loses; short enough for a majority to settle.
const SHORT_LAG_S: u32 = 5;
/// How long the servers keep journal entries in memory at most, in milliseconds; a restarted one is back at 100.
const JOURNAL_INTERVAL_MS: i32 = 500;
/// One request.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// Until a set is whole again after a sabotage.
const WHOLE_LIMIT: Duration = Duration::from_secs(60);

async fn secondaries(set: &ReplicaSet) -> Result<Vec<Node>, MongodbError> {
    let primary = set.primary().await?;
    Ok(set.data_nodes().iter().filter(|node| node.name() != primary.name()).cloned().collect())
}

/// Plants a defect; answers the secondary that the fault has to hit for it to show, if it matters.
pub(super) async fn plant(set: &ReplicaSet, id: &str) -> Result<Option<Node>, ScenarioError> {
    let planting = async {
        match id {
            NEVER_ELECTED | NO_SUCCESSOR => set.prioritise_secondaries(0).await?,
            NO_VOTES => {
                for node in secondaries(set).await? {
                    set.enfranchise(&node, false).await?;
                }
            }
            RETURNS_LATE => {
                let node = secondaries(set).await?.into_iter().next();
                if let Some(node) = &node {
                    set.delay(node, LONG_LAG_S).await?;
                }
                return Ok(node);
            }
            FROM_MEMORY => {
                for node in set.data_nodes() {
                    let command = doc! { "setParameter": 1, "journalCommitInterval": JOURNAL_INTERVAL_MS };
                    let member = set.administrator_of(node)?;
                    limited("keep the journal in memory", REQUEST_LIMIT, member.database("admin").run_command(command)).await?;
                }
                for node in secondaries(set).await? {
                    set.delay(&node, SHORT_LAG_S).await?;
                }
            }
            // The others are in what the clients ask for, or come with the fault.
            _ => {}
        }
        Ok::<_, MongodbError>(None)
    };
    planting.await.map_err(client_error)
}

/// Gives the set its configuration back and waits until it is whole.
pub(super) async fn remove(set: &ReplicaSet, id: &str) -> Result<(), ScenarioError> {
    let restored = || async {
        match id {
            NEVER_ELECTED | NO_SUCCESSOR => set.prioritise_secondaries(1).await,
            NO_VOTES => {
                for node in set.data_nodes() {
                    set.enfranchise(node, true).await?;
                }
                Ok(())
            }
            RETURNS_LATE | FROM_MEMORY => {
                for node in set.data_nodes() {
                    set.delay(node, 0).await?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    };
    within("the set's old configuration", WHOLE_LIMIT, Duration::from_millis(300), restored).await?;
    within("the set's health", WHOLE_LIMIT, Duration::from_millis(200), || async { all_healthy(&set.health().await) }).await?;
    Ok(())
}
