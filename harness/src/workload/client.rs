//! What every workload shares: clients that carry operations out, and generators that think of them.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use crate::history::Outcome;

/// An operation that a client is asked to carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// What kind, such as `add`, `read`, `cas` or `txn`.
    pub f: &'static str,
    /// What it is about; see [`crate::history::Event::value`].
    pub value: Value,
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// How.
    pub outcome: Outcome,
    /// What was read, for operations that read; [`None`]: what was asked.
    pub value: Option<Value>,
}

impl Completion {
    /// A write, or a read that did not read.
    pub fn of(outcome: Outcome) -> Self {
        Self { outcome, value: None }
    }

    /// A read that was answered.
    pub fn read(value: impl Into<Value>) -> Self {
        Self { outcome: Outcome::Ok, value: Some(value.into()) }
    }
}

/// Carries operations out through the path that an application uses.
///
/// It may open a new connection for the next operation after one failed; it never tries the same operation twice, and switches off
/// its driver's own retries. An error after sending is `Unknown` for what writes, and may be `Fail` for what only reads.
#[async_trait]
pub trait Client: Send {
    /// Carries one operation out.
    async fn invoke(&mut self, invocation: &Invocation) -> Completion;
}

/// Thinks of operations; one generator serves all clients of a workload, so that what has to be unique is.
pub trait Generator: Send {
    /// The next operation of client number `client` (from 0).
    fn next(&mut self, client: usize) -> Invocation;

    /// What a client still does when the load has ended, and how long after the end of its operation before; asked again with how that went
    /// until it is [`None`]. A history that ends in the middle of something may not be decidable.
    fn last(&mut self, _client: usize, _before: Option<&Completion>) -> Option<(Duration, Invocation)> {
        None
    }
}

impl<F: FnMut(usize) -> Invocation + Send> Generator for F {
    fn next(&mut self, client: usize) -> Invocation {
        self(client)
    }
}
