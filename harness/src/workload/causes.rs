//! Chains of cause and effect across sessions.

use serde_json::json;

use super::{Generator, Invocation};

/// Each session has two registers, a cause (`2 × client`) and an effect (`2 × client + 1`), and goes round in five steps: it writes its
/// cause, reads it back, writes its effect; then it reads the next session's effect and, after that, its cause. Who saw an effect must
/// see its cause. Every written value is another; registers start empty (null).
///
/// The session (bookmark, causal token) belongs to the client; it begins a new one after an operation that ended unknown.
#[derive(Debug)]
pub struct Causes {
    /// The step that each client is at.
    steps: Vec<u64>,
    next: u64,
}

impl Causes {
    /// For this many clients.
    pub fn new(clients: usize) -> Self {
        Self { steps: vec![0; clients.max(1)], next: 0 }
    }
}

impl Generator for Causes {
    fn next(&mut self, client: usize) -> Invocation {
        let count = self.steps.len();
        let client = client % count;
        let (own, other) = (2 * client, 2 * ((client + 1) % count));
        let step = self.steps[client] % 5;
        self.steps[client] += 1;
        let (f, key) = match step {
            0 => ("write", own),
            1 => ("read", own),
            2 => ("write", own + 1),
            3 => ("read", other + 1),
            _ => ("read", other),
        };
        if f == "read" {
            return Invocation { f, value: json!([key, null]) };
        }
        self.next += 1;
        Invocation { f, value: json!([key, self.next]) }
    }
}
