//! The two forms in which InfluxDB is run here.

use dora_fixtures::topology::{Influxdb, Nodes};
use serde::{Deserialize, Serialize};

/// A cluster of meta and data nodes, or one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Several nodes, each meta node and data node, every point on all of them.
    Cluster,
    /// One node.
    Single,
}

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

    /// What a profile has of it.
    pub(super) fn nodes(self, kinds: &Influxdb) -> &Nodes {
        match self {
            Self::Cluster => &kinds.data_node,
            Self::Single => &kinds.single,
        }
    }

    /// The nodes' names behind a prefix. A single node has one also where the profile has none: a trial may start it beside the platform.
    pub(super) fn node_names(self, kinds: &Influxdb, prefix: &str) -> Vec<String> {
        match self {
            Self::Cluster => kinds.data_node.names(prefix),
            Self::Single => vec![kinds.single.only(prefix)],
        }
    }
}
