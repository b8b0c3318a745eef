//! Planted defects of the replicated set.

use std::{collections::BTreeMap, time::Duration};

use dora_harness::{
    database::{
        Cluster as _,
        redis::{Account, Replicated, ask},
    },
    patience::within,
    platform::all_healthy,
};

use crate::ScenarioError;

/// Every Sentinel wants more Sentinels to agree than there are.
pub const QUORUM_UNREACHABLE: &str = "quorum-unreachable";
/// No replica may be promoted.
pub const NO_CANDIDATE: &str = "no-candidate";
/// Masters take writes without a replica.
pub const GUARD_OFF: &str = "guard-off";
/// Masters take writes only with both replicas.
pub const GUARD_STRICT: &str = "guard-strict";
/// The application knows an address instead of the Sentinels.
pub const CLIENT_PINNED: &str = "client-pinned";
/// An operator orders a failover of the only Sentinel left.
pub const FORCED_FAILOVER: &str = "forced-failover";
/// The guarded resource does not look at tokens.
pub const RESOURCE_CARELESS: &str = "resource-careless";
/// The list is emptied on the new master.
pub const LIST_EMPTIED: &str = "list-emptied";
/// The counter is set back on the new master.
pub const COUNTER_RESET: &str = "counter-reset";

/// What survived the fault stands still for a while when service is back.
pub const SURVIVORS_STALL: &str = "survivors-stall";

const HEALTH_LIMIT: Duration = Duration::from_secs(60);
/// Sentinels ask servers every ten seconds.
const LEARN_LIMIT: Duration = Duration::from_secs(25);
/// Priority of a replica that may be promoted: Redis' default.
const PRIORITY: &str = "100";

fn failed(error: impl std::fmt::Display) -> ScenarioError {
    ScenarioError::client("change the set's configuration", error)
}

/// `min-replicas-to-write` of this set: one where a replica may be lost and another is left.
pub fn guard(set: &Replicated) -> usize {
    usize::from(set.servers().len() > 2)
}

/// Makes every server refuse writes with fewer replicas than this.
pub async fn set_guard(set: &Replicated, replicas: usize) -> Result<(), ScenarioError> {
    set.set_on_servers("min-replicas-to-write", &replicas.to_string()).await.map_err(failed)
}

/// Plants a defect; those that are acts during a fault, or in the clients, change nothing here.
pub async fn plant(set: &Replicated, id: &str) -> Result<(), ScenarioError> {
    match id {
        QUORUM_UNREACHABLE => {
            let more = (set.sentinels().nodes().len() + 1).to_string();
            set.sentinels().set("quorum", &more).await.map_err(failed)
        }
        NO_CANDIDATE => {
            set.set_on_servers("replica-priority", "0").await.map_err(failed)?;
            Ok(within("the Sentinels' knowledge of the priorities", LEARN_LIMIT, Duration::from_millis(500), || know_priority(set, "0"))
                .await?)
        }
        GUARD_OFF => set_guard(set, 0).await,
        GUARD_STRICT => set_guard(set, set.servers().len() - 1).await,
        _ => Ok(()),
    }
}

/// Removes every defect, and waits until the set is healthy.
pub async fn undo(set: &Replicated, id: &str) -> Result<(), ScenarioError> {
    within("health after the sabotage", HEALTH_LIMIT, Duration::from_millis(250), || async {
        let quorum = set.sentinels().quorum().to_string();
        set.sentinels().set("quorum", &quorum).await.map_err(|error| error.to_string())?;
        set.set_on_servers("replica-priority", PRIORITY).await.map_err(|error| error.to_string())?;
        set_guard(set, guard(set)).await.map_err(|error| error.to_string())?;
        all_healthy(&set.health().await)
    })
    .await?;
    if id == NO_CANDIDATE {
        within("the Sentinels' knowledge of the priorities", LEARN_LIMIT, Duration::from_millis(500), || know_priority(set, PRIORITY))
            .await?;
    }
    Ok(())
}

/// `Ok` when every Sentinel knows this priority of all replicas.
async fn know_priority(set: &Replicated, priority: &str) -> Result<(), String> {
    for sentinel in set.sentinels().nodes() {
        let mut connection = set.sentinels().connect(sentinel, Account::Admin).await.map_err(|error| error.to_string())?;
        let replicas: Vec<BTreeMap<String, String>> =
            ask(&mut connection, &["SENTINEL", "REPLICAS", dora_harness::database::redis::MASTER_NAME])
                .await
                .map_err(|error| error.to_string())?;
        if replicas.is_empty() || replicas.iter().any(|replica| replica.get("slave-priority").is_none_or(|known| known != priority)) {
            return Err(format!("{} does not know the priority {priority} of every replica yet", sentinel.name()));
        }
    }
    Ok(())
}
