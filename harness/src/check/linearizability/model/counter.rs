//! A counter.

use super::Model;

/// A counter that starts at zero.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counter;

/// An operation on a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CounterOp {
    /// Adds (or, below zero, takes away) without an answer.
    Add(i64),
    /// Adds and answers the new value; `None`: it was not answered.
    AddAndGet(i64, Option<i64>),
    /// Answers the value; `None`: it was not answered.
    Read(Option<i64>),
}

impl Model for Counter {
    type Op = CounterOp;
    type State = i64;
    type Key = ();

    fn initial(&self) -> i64 {
        0
    }

    fn step(&self, state: &i64, op: &CounterOp) -> Option<i64> {
        let (delta, answer) = match *op {
            CounterOp::Add(delta) => (delta, None),
            CounterOp::AddAndGet(delta, answer) => (delta, answer),
            CounterOp::Read(answer) => (0, answer),
        };
        // A counter that would overflow is not one that was counted.
        let after = state.checked_add(delta)?;
        answer.is_none_or(|answer| answer == after).then_some(after)
    }

    fn only_looks(&self, op: &CounterOp) -> bool {
        matches!(op, CounterOp::Read(_) | CounterOp::Add(0) | CounterOp::AddAndGet(0, _))
    }

    fn key(&self, _: &CounterOp) {}
}
