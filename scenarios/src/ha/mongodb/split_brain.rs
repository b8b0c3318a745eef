//! A mistake of an operator's, planted together with a partition: the primary that lost its peers is forced into a set of its own.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_harness::{
    database::mongodb::ReplicaSet,
    fault::{Fault, FaultError, Partition},
    patience::within,
    topology::Node,
};

/// Where a member has its data.
const DATA: &str = "/dora/data/db";
/// A forced configuration is taken within this time, also by a primary that steps down meanwhile.
const FORCE_LIMIT: Duration = Duration::from_secs(10);
/// The others have a primary by then.
const HEAL_LIMIT: Duration = Duration::from_secs(30);
/// Removing the files of a small set.
const WIPE_LIMIT: Duration = Duration::from_secs(15);

/// The partition, and a node that takes itself for the whole set. What it wrote alone cannot be merged: it is healed by a copy made anew.
#[derive(Debug)]
pub(super) struct SplitBrain {
    pub partition: Partition,
    pub set: Arc<ReplicaSet>,
    pub node: Node,
}

#[async_trait]
impl Fault for SplitBrain {
    fn kind(&self) -> &'static str {
        self.partition.kind()
    }

    fn target(&self) -> String {
        self.partition.target()
    }

    async fn prepare(&self) -> Result<(), FaultError> {
        self.partition.prepare().await
    }

    async fn inject(&self) -> Result<(), FaultError> {
        self.partition.inject().await?;
        let forced = || self.set.force_alone(&self.node);
        within("a set of its own", FORCE_LIMIT, Duration::from_millis(100), forced).await?;
        Ok(())
    }

    fn confirmed_by(&self) -> String {
        self.partition.confirmed_by()
    }

    async fn is_broken(&self) -> Result<(), String> {
        self.partition.is_broken().await
    }

    async fn heal(&self) -> Result<(), FaultError> {
        let alone = self.set.version_of(&self.node).await;
        let wiped = self.node.exec_ok(&["find", DATA, "-mindepth", "1", "-delete"], &[], WIPE_LIMIT).await;
        let killed = self.node.kill().await;
        // Whatever came of the node, it gets its peers back.
        self.partition.heal().await?;
        wiped?;
        killed?;
        self.node.start().await?;
        let alone = alone.map_err(|error| FaultError::Other(error.to_string()))?;
        let raised = || self.set.raise_version(alone);
        within("a configuration that drivers take", HEAL_LIMIT, Duration::from_millis(500), raised).await?;
        Ok(())
    }

    fn healed_by(&self) -> String {
        self.partition.healed_by()
    }

    async fn is_mended(&self) -> Result<(), String> {
        self.partition.is_mended().await
    }
}
