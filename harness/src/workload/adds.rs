//! A set of acknowledged inserts: every value is added once, by one client, and what came of it is remembered.

use async_trait::async_trait;

use super::{Client, Completion, Generator, Invocation};
use crate::history::Outcome;

/// Inserts one value through the path that an application uses; the rules are those of [`Client`].
#[async_trait]
pub trait InsertClient: Send {
    /// Inserts a value. `Ok` only when the database acknowledged it; an error after sending is `Unknown`, not `Fail`.
    async fn insert(&mut self, value: u64) -> Outcome;
}

/// Carries out `add` by an insert.
pub struct Adder(pub Box<dyn InsertClient>);

#[async_trait]
impl Client for Adder {
    async fn invoke(&mut self, invocation: &Invocation) -> Completion {
        match invocation.value.as_u64() {
            Some(value) => Completion::of(self.0.insert(value).await),
            None => Completion::of(Outcome::Fail(format!("{} is no number to insert", invocation.value))),
        }
    }
}

/// Numbers from 0, each once.
#[derive(Debug, Default)]
pub struct Adds {
    next: u64,
}

impl Generator for Adds {
    fn next(&mut self, _client: usize) -> Invocation {
        let value = self.next;
        self.next += 1;
        Invocation { f: "add", value: value.into() }
    }
}
