//! Transfers between accounts, and reads of all of them.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::{Generator, Invocation};

/// `transfer {"from": 0, "to": 1, "amount": 3}` and, every fourth operation, `read null`, which answers `{"0": 10, "1": 10}`. The sum of all
/// accounts never changes. A client refuses a transfer that would overdraw its account (`Fail`).
#[derive(Debug)]
pub struct Transfers {
    random: ChaCha8Rng,
    accounts: u64,
    amount_max: u64,
}

impl Transfers {
    /// Between the accounts `0..accounts` (at least two), at most `amount_max` (at least 1) at a time, from a seed.
    pub fn new(seed: u64, accounts: u64, amount_max: u64) -> Self {
        Self { random: ChaCha8Rng::seed_from_u64(seed), accounts: accounts.max(2), amount_max: amount_max.max(1) }
    }
}

impl Generator for Transfers {
    fn next(&mut self, _client: usize) -> Invocation {
        if self.random.random_range(0..4) == 0 {
            return Invocation { f: "read", value: Value::Null };
        }
        let from = self.random.random_range(0..self.accounts);
        let to = (from + self.random.random_range(1..self.accounts)) % self.accounts;
        let amount = self.random.random_range(1..=self.amount_max);
        Invocation { f: "transfer", value: json!({ "from": from, "to": to, "amount": amount }) }
    }
}
