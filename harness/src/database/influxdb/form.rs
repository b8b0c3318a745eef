//! The two forms in which InfluxDB is run here.

use serde::{Deserialize, Serialize};

/// A cluster of meta and data nodes, or one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Three nodes, each meta node and data node, every point on all of them.
    Cluster,
    /// One node.
    Single,
}

/// Data nodes of a cluster. The replication factor is the same: only then every node holds everything.
pub(super) const CLUSTER_NODES: usize = 3;

impl Form {
    /// The cluster's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "influxdb",
            Self::Single => "influxdb-single",
        }
    }

    /// The image's name in the catalogue, which is also the folder of the configuration.
    pub const fn image(self) -> &'static str {
        match self {
            Self::Cluster => "influxdb-cluster",
            Self::Single => "influxdb",
        }
    }

    /// Copies of every point.
    pub const fn replication(self) -> usize {
        match self {
            Self::Cluster => CLUSTER_NODES,
            Self::Single => 1,
        }
    }

    /// Whether the server takes every statement by GET only, as the 0.11 line does.
    pub(super) const fn statements_by_get(self) -> bool {
        matches!(self, Self::Cluster)
    }

    /// What a node is there for.
    pub const fn role(self) -> &'static str {
        match self {
            Self::Cluster => "meta and data node",
            Self::Single => "single node",
        }
    }

    /// The nodes' names behind a prefix.
    pub(super) fn node_names(self, prefix: &str) -> Vec<String> {
        match self {
            Self::Cluster => (1..=CLUSTER_NODES).map(|index| format!("{prefix}idb{index}")).collect(),
            Self::Single => vec![format!("{prefix}influx")],
        }
    }
}
