//! Transactions over a few keys: appends to lists, and writes of registers.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::{Generator, Invocation};

/// Micro-operations of a transaction at most.
const LENGTH_MAX: usize = 4;
/// Writes of one key before another takes its place: lists stay short, and reads cheap.
const WRITES_MAX: u64 = 64;

/// Transactions that append to lists and read whole lists: `txn [["append", key, value], ["r", key, null]]`. Each read shows the order of
/// all appends before it, which makes them the strongest workload for isolation (Kingsbury and Alvaro, "Elle", VLDB 2020).
#[derive(Debug)]
pub struct Appends(Transactions);

/// Transactions that read and write registers: `txn [["w", key, value], ["r", key, null]]`, each value of a key written once.
#[derive(Debug)]
pub struct Writes(Transactions);

#[derive(Debug)]
struct Transactions {
    random: ChaCha8Rng,
    /// The keys in use, each with the number of writes so far.
    keys: Vec<(u64, u64)>,
    next_key: u64,
}

impl Appends {
    /// Over `keys` lists at a time (at least one), from a seed.
    pub fn new(seed: u64, keys: u64) -> Self {
        Self(Transactions::new(seed, keys))
    }
}

impl Writes {
    /// Over `keys` registers at a time (at least one), from a seed.
    pub fn new(seed: u64, keys: u64) -> Self {
        Self(Transactions::new(seed, keys))
    }
}

impl Transactions {
    fn new(seed: u64, keys: u64) -> Self {
        let keys = keys.max(1);
        Self { random: ChaCha8Rng::seed_from_u64(seed), keys: (0..keys).map(|key| (key, 0)).collect(), next_key: keys }
    }

    fn transaction(&mut self, write: &str) -> Value {
        let length = self.random.random_range(1..=LENGTH_MAX);
        (0..length).map(|_| self.step(write)).collect()
    }

    fn step(&mut self, write: &str) -> Value {
        let at = self.random.random_range(0..self.keys.len());
        if self.random.random_bool(0.5) {
            return json!(["r", self.keys[at].0, null]);
        }
        if self.keys[at].1 == WRITES_MAX {
            self.keys[at] = (self.next_key, 0);
            self.next_key += 1;
        }
        let (key, writes) = &mut self.keys[at];
        *writes += 1;
        json!([write, key, writes])
    }
}

impl Generator for Appends {
    fn next(&mut self, _client: usize) -> Invocation {
        Invocation { f: "txn", value: self.0.transaction("append") }
    }
}

impl Generator for Writes {
    fn next(&mut self, _client: usize) -> Invocation {
        Invocation { f: "txn", value: self.0.transaction("w") }
    }
}
