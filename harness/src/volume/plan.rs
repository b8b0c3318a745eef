//! Which data directories are encrypted, as data.

use serde::{Deserialize, Serialize};

/// How a node's data directory lies on its volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum VolumePlan {
    /// As ciphertext.
    Encrypted,
    /// As it is.
    Plain,
}

/// Roles of nodes that hold no data of anybody: configuration and state that they make anew.
const DATALESS: [&str; 3] = ["pooler", "Sentinel", "arbiter"];

impl VolumePlan {
    /// Whether a node of that role holds data at all.
    pub fn holds_data(role: &str) -> bool {
        !DATALESS.contains(&role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_hold_data_and_poolers_do_not() {
        assert!(VolumePlan::holds_data("server") && VolumePlan::holds_data("consensus"));
        assert!(!VolumePlan::holds_data("pooler") && !VolumePlan::holds_data("arbiter"));
    }
}
