//! The labels by which every object of a run is found again.

use std::collections::HashMap;

use super::RunId;

/// Names the run that owns the object.
pub const LABEL_RUN: &str = "dora.run";
/// Names the node that the object belongs to.
pub const LABEL_NODE: &str = "dora.node";
/// Says whether the run wanted its platform to outlive it, see [`RunKind`].
pub const LABEL_KIND: &str = "dora.kind";

/// Who ends the run's objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunKind {
    /// The run's own process and its reaper: nothing outlives it.
    Bound,
    /// `dora down`: the platform was started to stay.
    Kept,
}

impl RunKind {
    /// The label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bound => "bound",
            Self::Kept => "kept",
        }
    }
}

pub(super) fn of(run: &RunId, kind: RunKind, node: &str) -> HashMap<String, String> {
    HashMap::from([
        (LABEL_RUN.to_owned(), run.to_string()),
        (LABEL_KIND.to_owned(), kind.as_str().to_owned()),
        (LABEL_NODE.to_owned(), node.to_owned()),
    ])
}
