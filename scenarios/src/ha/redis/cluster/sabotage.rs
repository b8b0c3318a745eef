//! Planted defects of the Cluster.

use std::time::Duration;

use dora_harness::{
    database::{
        Cluster as _,
        redis::{Account, PORT, Shard, Sharded, ask},
    },
    patience::within,
    platform::all_healthy,
    topology::Node,
};
use redis::RedisResult;

use crate::ScenarioError;

/// Some slots belong to nobody.
pub const SLOTS_UNASSIGNED: &str = "slots-unassigned";
/// The application does not follow redirections.
pub const REDIRECTIONS_IGNORED: &str = "redirections-ignored";
/// The keys of one slot are not there after it moved.
pub const KEYS_DROPPED: &str = "keys-dropped";
/// The Cluster answers although slots have no owner.
pub const COVERAGE_NOT_REQUIRED: &str = "coverage-not-required";
/// The Cluster stops when slots have no owner.
pub const COVERAGE_REQUIRED: &str = "coverage-required";

/// The slots that are taken from their owner.
const UNASSIGNED: (&str, &str) = ("16300", "16383");
const COVERAGE: &str = "cluster-require-full-coverage";
const HEALTH_LIMIT: Duration = Duration::from_secs(60);

fn failed(error: impl std::fmt::Display) -> ScenarioError {
    ScenarioError::client("change the Cluster's configuration", error)
}

/// Says on every node whether all must stop when some slots have no owner.
pub async fn set_coverage(cluster: &Sharded, value: &str) -> Result<(), ScenarioError> {
    cluster.tell_all(&["CONFIG", "SET", COVERAGE, value]).await.map_err(failed)
}

/// Plants a defect; those that are in the clients or acts during a fault change nothing here. `shards`: in the order of their slots.
pub async fn plant(cluster: &Sharded, shards: &[Shard], id: &str) -> Result<(), ScenarioError> {
    match id {
        SLOTS_UNASSIGNED => {
            // The owner first: what it claims comes back to the others with its next word.
            let owner = owner(shards)?;
            let others: Vec<Node> = cluster.nodes().into_iter().filter(|node| node.name() != owner.name()).collect();
            for node in std::iter::once(&owner).chain(&others) {
                tell(cluster, node, "DELSLOTSRANGE").await.map_err(failed)?;
            }
            Ok(())
        }
        COVERAGE_NOT_REQUIRED => set_coverage(cluster, "no").await,
        COVERAGE_REQUIRED => set_coverage(cluster, "yes").await,
        _ => Ok(()),
    }
}

/// Removes every defect, and waits until the Cluster is healthy.
pub async fn undo(cluster: &Sharded, shards: &[Shard], id: &str) -> Result<(), ScenarioError> {
    if id == SLOTS_UNASSIGNED {
        tell(cluster, &owner(shards)?, "ADDSLOTSRANGE").await.map_err(failed)?;
    }
    Ok(within("health after the sabotage", HEALTH_LIMIT, Duration::from_millis(250), || async { all_healthy(&cluster.health().await) })
        .await?)
}

/// Who has the slots that are taken away: the last shard's master, which no fault here hits.
fn owner(shards: &[Shard]) -> Result<Node, ScenarioError> {
    shards.last().map(|shard| shard.master.clone()).ok_or_else(|| failed("the Cluster has no shard"))
}

async fn tell(cluster: &Sharded, node: &Node, what: &str) -> RedisResult<()> {
    let mut connection = cluster.access().connect(node.socket(PORT), Account::Admin).await?;
    ask(&mut connection, &["CLUSTER", what, UNASSIGNED.0, UNASSIGNED.1]).await
}
