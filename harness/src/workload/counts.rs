//! A counter that is added to and read.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use super::{Generator, Invocation};

/// What is added at a time, at most.
const STEP_MAX: u64 = 5;

/// `add 3` and, every third operation or so, `read null`, which answers a number.
#[derive(Debug)]
pub struct Counts {
    random: ChaCha8Rng,
}

impl Counts {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self { random: ChaCha8Rng::seed_from_u64(seed) }
    }
}

impl Generator for Counts {
    fn next(&mut self, _client: usize) -> Invocation {
        if self.random.random_range(0..3) == 0 {
            return Invocation { f: "read", value: Value::Null };
        }
        Invocation { f: "add", value: self.random.random_range(1..=STEP_MAX).into() }
    }
}
