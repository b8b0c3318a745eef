//! Planted defects, and how they are removed.

use std::{sync::Arc, time::Duration};

use dora_harness::database::postgres::PostgresCluster;
use tokio::time::sleep;

use crate::{Sabotage, ScenarioError};

/// Nobody takes over.
pub const PATRONI_FROZEN: Sabotage = Sabotage {
    id: "patroni-frozen",
    what: "Patroni is frozen for a minute on every standby, so that none is promoted in time",
    expects: "recovery-too-late",
};

/// From the planting, which is some seconds before the fault.
const FROZEN_FOR: Duration = Duration::from_mins(1);

/// Plants the defect.
pub async fn plant(cluster: &Arc<PostgresCluster>, id: &str) -> Result<(), ScenarioError> {
    match id {
        "patroni-frozen" => freeze_standbys(cluster).await,
        other => Err(ScenarioError::client("plant a defect", format!("there is none called {other}"))),
    }
}

/// Removes all defects: each step finds nothing to do where nothing was planted.
pub async fn remove(cluster: &PostgresCluster) -> Result<(), ScenarioError> {
    for server in cluster.servers() {
        cluster.freeze_patroni(server, false).await?;
    }
    Ok(())
}

async fn freeze_standbys(cluster: &Arc<PostgresCluster>) -> Result<(), ScenarioError> {
    let primary = cluster.primary().await.map_err(|reason| ScenarioError::client("find the primary", reason))?;
    for standby in cluster.servers().iter().filter(|server| server.name() != primary.name()) {
        cluster.freeze_patroni(standby, true).await?;
        let (cluster, standby) = (Arc::clone(cluster), standby.clone());
        // Longer than the objective after the fault; frozen for good, the proof would only wait for a redundancy that cannot come.
        tokio::spawn(async move {
            sleep(FROZEN_FOR).await;
            // When it fails, undoing the sabotage tries again and tells.
            let _ = cluster.freeze_patroni(&standby, false).await;
        });
    }
    Ok(())
}
