//! The platform that was started: nodes, named exceptions, and how long the start took.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was started and how.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TopologyEvidence {
    /// Every node.
    #[serde(default)]
    pub nodes: Vec<NodeEvidence>,
    /// Where the topology departs from a clause, named so that no reader has to find out.
    #[serde(default)]
    pub exceptions: Vec<ExceptionEvidence>,
    /// Who did what when while the platform started, and who waited for whom.
    #[serde(default)]
    pub boot: Vec<BootSpan>,
    /// Milliseconds from the first step of the platform's start, after images were built, until every node had its role; absent if that never happened.
    #[serde(default)]
    pub ready_ms: Option<f64>,
    /// Highest memory of all nodes together, in bytes, as the engine reported it.
    #[serde(default)]
    pub peak_memory_bytes: Option<u64>,
}

/// One node of the platform.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeEvidence {
    /// Short name, unique in the run.
    pub name: String,
    /// The cluster that it belongs to.
    pub cluster: String,
    /// Its role when the platform was ready, for example `primary`; if it did not tell it then, what it is there for, such as `data node`.
    pub role: String,
    /// Name of its image, see [`super::ImageUsed::name`].
    pub image: String,
    /// Its address on the run's own network.
    pub address: String,
    /// Memory limit in bytes; absent when there is none.
    #[serde(default)]
    pub memory_limit_bytes: Option<u64>,
}

/// A named departure from a clause.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExceptionEvidence {
    /// The node, or the link written `from → to`.
    pub subject: String,
    /// The clause that it departs from.
    pub clause: String,
    /// What is different, for example "plaintext on port 8088".
    pub what: String,
    /// Why.
    pub why: String,
}

/// One phase of one node's start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BootSpan {
    /// The node.
    pub node: String,
    /// What it did, for example `create`, `start`, `ready`.
    pub phase: String,
    /// Milliseconds from the first step of the platform's start, after images were built.
    pub start_ms: f64,
    /// Milliseconds from the first step of the platform's start, after images were built.
    pub end_ms: f64,
    /// The node that this phase could not begin (or end) without.
    #[serde(default)]
    pub waited_for: Option<String>,
}
