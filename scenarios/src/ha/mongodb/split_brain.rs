//! A mistake of an operator's, planted together with a partition: the primary that lost its peers is forced into a set of its own.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_harness::{
    database::mongodb::{MongodbError, ReplicaSet},
    fault::{Fault, FaultError, Partition},
    patience::within,
    topology::Node,
};
use tokio::time::timeout;

/// Where a member has its data.
const DATA: &str = "/dora/data/db";
/// A forced configuration is taken within this time, also by a primary that steps down meanwhile.
const FORCE_LIMIT: Duration = Duration::from_secs(10);
/// A driver that knows the primary answers within this time.
const KNOWN_LIMIT: Duration = Duration::from_secs(4);
/// Until drivers know a primary again; each attempt takes an election.
const HEAL_LIMIT: Duration = Duration::from_secs(60);
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
        self.node.exec_ok(&["find", DATA, "-mindepth", "1", "-delete"], &[], WIPE_LIMIT).await?;
        self.node.kill().await?;
        self.partition.heal().await?;
        self.node.start().await?;
        // Drivers remember the highest term and version that they saw, and both were the lone node's: they take no primary of the old
        // configuration before it has a higher term.
        let known = || async {
            let primary = self.set.primary().await?;
            match timeout(KNOWN_LIMIT, self.set.configuration()).await {
                Ok(Ok(_configuration)) => Ok(()),
                Ok(Err(error)) => Err(error),
                Err(_elapsed) => {
                    self.set.force_step_down(&primary).await?;
                    Err(MongodbError::unusable("find the primary", "drivers take it for an old one"))
                }
            }
        };
        within("a primary that drivers know", HEAL_LIMIT, Duration::from_millis(500), known).await?;
        Ok(())
    }

    fn healed_by(&self) -> String {
        self.partition.healed_by()
    }

    async fn is_mended(&self) -> Result<(), String> {
        self.partition.is_mended().await
    }
}
