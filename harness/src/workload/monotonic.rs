//! Growing numbers, and readers that must never see them shrink.

use serde_json::json;

use super::{Generator, Invocation};

/// The clients `0..writers` write `[client, 1]`, `[client, 2]`, … each to the key of its own number, so that the order of a key's values is
/// known; all other clients read one key after the other. Keys start empty (null).
#[derive(Debug)]
pub struct Monotonic {
    /// The value last written to each key.
    written: Vec<u64>,
    /// How many reads each client made.
    reads: Vec<usize>,
}

impl Monotonic {
    /// With this many writers (at least one).
    pub fn new(writers: usize) -> Self {
        Self { written: vec![0; writers.max(1)], reads: Vec::new() }
    }
}

impl Generator for Monotonic {
    fn next(&mut self, client: usize) -> Invocation {
        if let Some(written) = self.written.get_mut(client) {
            *written += 1;
            return Invocation { f: "write", value: json!([client, *written]) };
        }
        if self.reads.len() <= client {
            self.reads.resize(client + 1, 0);
        }
        let key = self.reads[client] % self.written.len();
        self.reads[client] += 1;
        Invocation { f: "read", value: json!([key, null]) }
    }
}
