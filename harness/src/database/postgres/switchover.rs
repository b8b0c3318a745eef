//! A planned change of the primary, and the way back.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_fixtures::assets;

use super::PostgresCluster;
use crate::{
    fault::{Fault, FaultError},
    patience::within,
    topology::Node,
};

/// Settings: how many standbys are synchronous.
const BOTH: &str = "config/patroni-settings/two-synchronous.json";
const ONE: &str = "config/patroni-settings/one-synchronous.json";
/// The way back is open when the old primary is a synchronous standby.
const BACK_LIMIT: Duration = Duration::from_secs(60);

/// Patroni is ordered to hand the leadership to a standby; healing hands it back. The probe is the servers' own word, over SQL.
#[derive(Debug)]
pub struct Switchover {
    cluster: Arc<PostgresCluster>,
    from: Node,
    to: Node,
}

impl Switchover {
    /// `to` has to be a synchronous standby of `from`.
    pub fn new(cluster: Arc<PostgresCluster>, from: Node, to: Node) -> Self {
        Self { cluster, from, to }
    }

    async fn leads(&self, node: &Node) -> Result<(), String> {
        let primary = self.cluster.primary().await?;
        if primary.name() == node.name() { Ok(()) } else { Err(format!("{} is the primary", primary.name())) }
    }
}

#[async_trait]
impl Fault for Switchover {
    fn kind(&self) -> &'static str {
        "switchover"
    }

    fn target(&self) -> String {
        format!("{} to {}", self.from.name(), self.to.name())
    }

    async fn inject(&self) -> Result<(), FaultError> {
        self.cluster.switch_over(&self.from, &self.to).await.map_err(FaultError::Other)
    }

    fn confirmed_by(&self) -> String {
        format!("{} alone says over SQL that it does not follow", self.to.name())
    }

    async fn is_broken(&self) -> Result<(), String> {
        self.leads(&self.to).await
    }

    async fn heal(&self) -> Result<(), FaultError> {
        if self.leads(&self.from).await.is_ok() {
            return Ok(());
        }
        // Only a synchronous standby may take over, and Patroni keeps the one that it chose: for the way back, both are.
        self.cluster.change_settings(assets::text(BOTH)?).await.map_err(FaultError::Other)?;
        let back = within("the switchover back", BACK_LIMIT, Duration::from_millis(500), || async {
            if self.leads(&self.from).await.is_ok() {
                return Ok(());
            }
            self.cluster.switch_over(&self.to, &self.from).await
        });
        let back = back.await;
        self.cluster.change_settings(assets::text(ONE)?).await.map_err(FaultError::Other)?;
        Ok(back?)
    }

    fn healed_by(&self) -> String {
        format!("{} alone says over SQL that it does not follow", self.from.name())
    }

    async fn is_mended(&self) -> Result<(), String> {
        self.leads(&self.from).await
    }
}
