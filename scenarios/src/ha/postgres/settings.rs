//! What is changed in the running cluster's settings.

use std::time::Duration;

use dora_fixtures::assets;
use dora_harness::{database::postgres::PostgresCluster, patience::within};

use crate::ScenarioError;

/// Acknowledges before a standby has a commit.
pub const ASYNCHRONOUS: &str = "config/patroni-settings/asynchronous.json";
/// A leader that reaches every other server leads on without etcd.
pub const FAILSAFE: &str = "config/patroni-settings/failsafe.json";
/// Patroni is in maintenance mode.
pub const PAUSED: &str = "config/patroni-settings/paused.json";
/// Acknowledges when two standbys have a commit, or not at all.
pub const STRICT: &str = "config/patroni-settings/strict.json";
/// Nothing is flushed to the disk.
pub const WITHOUT_FLUSHES: &str = "config/patroni-settings/without-flushes.json";
/// An old primary whose log went another way is not rewound but removed and copied anew.
pub const WITHOUT_REWIND: &str = "config/patroni-settings/without-rewind.json";
/// Undoes all others.
const STANDARD: &str = "config/patroni-settings/standard.json";

/// In the middle of a failover nobody takes a change.
const CHANGE_LIMIT: Duration = Duration::from_secs(30);

/// Changes the settings.
pub async fn change(cluster: &PostgresCluster, path: &str) -> Result<(), ScenarioError> {
    let change = assets::text(path)?;
    within("the change of settings", CHANGE_LIMIT, Duration::from_millis(500), || cluster.change_settings(change)).await?;
    Ok(())
}

/// Back to how the cluster was started.
pub async fn restore(cluster: &PostgresCluster) -> Result<(), ScenarioError> {
    change(cluster, STANDARD).await
}
