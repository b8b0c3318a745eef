//! Keyed registers: read, write, compare-and-set.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use super::{Generator, Invocation};

/// Reads, writes and compare-and-sets of a few registers, half of them reads. Every written value is another, so that a read says which
/// write it saw; a compare-and-set expects the value last written to its register, so that many match.
#[derive(Debug)]
pub struct Registers {
    random: ChaCha8Rng,
    /// The value last written to each register.
    last: Vec<u64>,
    next: u64,
    compares: bool,
}

impl Registers {
    /// Over the registers `0..keys` (at least one), from a seed.
    pub fn new(seed: u64, keys: usize) -> Self {
        Self { random: ChaCha8Rng::seed_from_u64(seed), last: vec![0; keys.max(1)], next: 0, compares: true }
    }

    /// Without compare-and-set, for databases that have none.
    #[must_use]
    pub fn without_compare(self) -> Self {
        Self { compares: false, ..self }
    }
}

impl Generator for Registers {
    fn next(&mut self, _client: usize) -> Invocation {
        let key = self.random.random_range(0..self.last.len());
        let choice = self.random.random_range(0..4);
        if choice < 2 {
            return Invocation { f: "read", value: json!([key, null]) };
        }
        let expected = self.last[key];
        self.next += 1;
        self.last[key] = self.next;
        // A register that was never written holds nothing that could be expected.
        if choice == 3 && self.compares && expected > 0 {
            return Invocation { f: "cas", value: json!([key, [expected, self.next]]) };
        }
        Invocation { f: "write", value: json!([key, self.next]) }
    }
}
