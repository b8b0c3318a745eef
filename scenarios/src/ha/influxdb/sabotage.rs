//! Planted defects, and how they are taken out again.

use std::time::Duration;

use dora_harness::{
    database::{
        Cluster as _,
        influxdb::{Consistency, Influx},
    },
    patience::within,
    topology::Node,
};
use futures_util::future::try_join_all;

use super::{
    set::{SINGLE_COPY, others},
    target::Points,
};
use crate::ScenarioError;

/// Hinted handoff is off on the survivors.
pub const HANDOFF_OFF: &str = "hinted-handoff-off";
/// One copy of every point.
pub const SINGLE_COPY_ONLY: &str = "replication-one";
/// Clients leave a point out of every batch.
pub const BATCH_CUT: &str = "batch-cut";
/// Clients know one node only.
pub const ONE_NODE_KNOWN: &str = "clients-know-one-node";
/// Clients ask for `one` where `quorum` is asserted.
pub const WRITTEN_WITH_ONE: &str = "written-with-one";
/// One node's meta service is off.
pub const META_QUORUM_GONE: &str = "meta-quorum-gone";
/// The logs lie in memory.
pub const LOG_IN_MEMORY: &str = "log-in-memory";
/// A handoff queue is deleted.
pub const QUEUE_DELETED: &str = "queue-deleted";

/// The configuration of a node.
const CONFIGURATION: &str = "/dora/config/influxdb.toml";
/// A node that was restarted serves again by then.
const RESTART_LIMIT: Duration = Duration::from_secs(40);
/// A node that is asked to stop is killed after this time.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// What a change of the configuration replaces by what.
struct Change {
    good: &'static str,
    bad: &'static str,
}

const HANDOFF: Change = Change { good: "enabled = true\n  dir = \"/dora/data/hh\"", bad: "enabled = false\n  dir = \"/dora/data/hh\"" };
const META: Change = Change { good: "enabled = true\n  dir = \"/dora/data/meta\"", bad: "enabled = false\n  dir = \"/dora/data/meta\"" };
const LOG: Change = Change { good: "wal-dir = \"/dora/data/wal\"", bad: "wal-dir = \"/dev/shm/wal\"" };

impl Points {
    /// Plants a defect.
    pub async fn plant(&self, id: &str) -> Result<(), ScenarioError> {
        match id {
            HANDOFF_OFF => {
                let survivors = others(&self.influx.nodes(), &[self.doomed().await?]);
                restart_with(&self.influx, &survivors, HANDOFF.good, HANDOFF.bad).await
            }
            LOG_IN_MEMORY => restart_with(&self.influx, &self.influx.nodes(), LOG.good, LOG.bad).await,
            META_QUORUM_GONE => {
                // The leader stays, so that there is one to be killed.
                let leader = self.meta_leader().await?;
                let followers = others(&self.influx.nodes(), &[leader]);
                restart_with(&self.influx, &followers[..1], META.good, META.bad).await
            }
            SINGLE_COPY_ONLY => {
                self.change(|habits| habits.database = SINGLE_COPY);
                Ok(())
            }
            BATCH_CUT => {
                self.change(|habits| habits.cut = true);
                Ok(())
            }
            ONE_NODE_KNOWN => {
                self.change(|habits| habits.pinned = true);
                Ok(())
            }
            WRITTEN_WITH_ONE => {
                self.change(|habits| habits.level = Consistency::One);
                Ok(())
            }
            // Planted in the middle of its scenario.
            _ => Ok(()),
        }
    }

    /// Takes it out again.
    pub async fn uproot(&self, id: &str) -> Result<(), ScenarioError> {
        let change = match id {
            HANDOFF_OFF => HANDOFF,
            LOG_IN_MEMORY => LOG,
            META_QUORUM_GONE => META,
            // A client's habits end with the clients.
            _ => return Ok(()),
        };
        let mut changed = Vec::new();
        for node in self.influx.nodes() {
            let files = node.get_files(CONFIGURATION).await?;
            if files.iter().any(|(_, content)| String::from_utf8_lossy(content).contains(change.bad)) {
                changed.push(node);
            }
        }
        restart_with(&self.influx, &changed, change.bad, change.good).await
    }
}

/// Changes the configuration of these nodes and restarts them, all at once.
async fn restart_with(influx: &Influx, nodes: &[Node], from: &str, to: &str) -> Result<(), ScenarioError> {
    let restart = |node: &Node| {
        let node = node.clone();
        async move {
            node.edit_file(CONFIGURATION, from, to).await?;
            node.stop(STOP_GRACE).await?;
            node.start().await
        }
    };
    try_join_all(nodes.iter().map(restart)).await?;
    let attempt = || async { dora_harness::platform::all_healthy(&influx.health().await) };
    within("the cluster after a restart", RESTART_LIMIT, Duration::from_millis(200), attempt).await?;
    Ok(())
}
