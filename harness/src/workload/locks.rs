//! A lock with fencing tokens, and a resource that it guards.

use serde_json::Value;

use super::{Generator, Invocation};

/// Each client goes round in three steps: `acquire null`, which answers a fencing token; `write null`, a write to the guarded resource that
/// carries the client's token; `release null`. The client fills its token in at the end of a write and of a release, however they end; it
/// fails what it has no token for, and a write that the resource refused for its token.
#[derive(Debug, Default)]
pub struct Locks {
    /// The step that each client is at.
    steps: Vec<usize>,
}

impl Generator for Locks {
    fn next(&mut self, client: usize) -> Invocation {
        if self.steps.len() <= client {
            self.steps.resize(client + 1, 0);
        }
        let f = ["acquire", "write", "release"][self.steps[client] % 3];
        self.steps[client] += 1;
        Invocation { f, value: Value::Null }
    }
}
