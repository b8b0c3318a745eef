//! Batches of time-series points.

use serde_json::json;

use super::{Generator, Invocation};

/// `write {"batch": 7, "points": 20}`: the client writes points numbered `0..20`, each with the batch and its number as tags or fields, in one
/// request. A `read null` answers how many points of each batch there are: `{"7": 20}`.
#[derive(Debug)]
pub struct Points {
    next: u64,
    points: u64,
}

impl Points {
    /// With this many points a batch (at least one).
    pub fn new(points: u64) -> Self {
        Self { next: 0, points: points.max(1) }
    }
}

impl Generator for Points {
    fn next(&mut self, _client: usize) -> Invocation {
        let batch = self.next;
        self.next += 1;
        Invocation { f: "write", value: json!({ "batch": batch, "points": self.points }) }
    }
}
