//! Planted defects. None is taken out again: the pair ends with its scenario.

use std::time::Duration;

use dora_harness::{
    database::{Cluster as _, influxdb::datacentres::Datacentres},
    patience::within,
    platform::all_healthy,
};

use crate::{ScenarioError, ha::influxdb::set::failed};

/// Nothing is sent on.
pub const REPLICATION_OFF: &str = "replication-off";
/// The remote refuses what is sent.
pub const TOKEN_WITHDRAWN: &str = "token-withdrawn";
/// The queue is lost during the outage.
pub const QUEUE_THROWN_AWAY: &str = "queue-thrown-away";
/// The queue does not outlive the source.
pub const QUEUE_IN_MEMORY: &str = "queue-in-memory";
/// The source's points do not outlive it.
pub const SOURCE_IN_MEMORY: &str = "source-in-memory";

/// What starts a node, and says where its data lie.
const START: &str = "/dora/bin/start.sh";
/// A node that is asked to stop is killed after this time.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// A node that was restarted serves again by then.
const RESTART_LIMIT: Duration = Duration::from_secs(30);

/// Plants it before the load.
pub async fn plant(pair: &Datacentres, id: &str) -> Result<(), ScenarioError> {
    match id {
        REPLICATION_OFF => pair.disconnect().await.map_err(failed("remove the replication")),
        TOKEN_WITHDRAWN => pair.withdraw_token().await.map_err(failed("withdraw the token")),
        QUEUE_IN_MEMORY => restart_with(pair, "queue=/dora/data/queue", "queue=/dev/shm/queue").await,
        SOURCE_IN_MEMORY => restart_with(pair, "engine=/dora/data/engine", "engine=/dev/shm/engine").await,
        // Planted in the middle of its scenario.
        _ => Ok(()),
    }
}

async fn restart_with(pair: &Datacentres, from: &str, to: &str) -> Result<(), ScenarioError> {
    let node = &pair.source.node;
    node.edit_file(START, from, to).await?;
    node.stop(STOP_GRACE).await?;
    node.start().await?;
    let attempt = || async { all_healthy(&pair.health().await) };
    within("the pair after a restart", RESTART_LIMIT, Duration::from_millis(200), attempt).await?;
    Ok(())
}
