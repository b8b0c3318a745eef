//! One business event that is written to all five databases.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use super::{Generator, Invocation};

/// What an event is worth at most.
const AMOUNT_MAX: u64 = 1_000;

/// `post {"event": 7, "account": 3, "amount": 120}`. The client writes the event to each database and ends with how that went:
/// `{"event": 7, "stores": {"postgres": "ok", "redis": "unknown"}}`, each `ok`, `fail` or `unknown`; the operation is acknowledged when all are `ok`, and
/// failed when all are `fail`. A `read null` answers which events each database has: `{"postgres": [0, 1], "redis": [0, 1]}`.
#[derive(Debug)]
pub struct Ledger {
    random: ChaCha8Rng,
    accounts: u64,
    next: u64,
}

impl Ledger {
    /// About the accounts `0..accounts` (at least one), from a seed.
    pub fn new(seed: u64, accounts: u64) -> Self {
        Self { random: ChaCha8Rng::seed_from_u64(seed), accounts: accounts.max(1), next: 0 }
    }
}

impl Generator for Ledger {
    fn next(&mut self, _client: usize) -> Invocation {
        let event = self.next;
        self.next += 1;
        let (account, amount) = (self.random.random_range(0..self.accounts), self.random.random_range(1..=AMOUNT_MAX));
        Invocation { f: "post", value: json!({ "event": event, "account": account, "amount": amount }) }
    }
}
