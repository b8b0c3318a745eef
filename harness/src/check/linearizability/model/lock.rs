//! A lock that one holder at a time has.

use std::hash::Hash;

use super::Model;

/// A lock, free at first, that is not re-entrant.
#[derive(Debug, Clone)]
pub struct Lock<H> {
    holder: std::marker::PhantomData<fn() -> H>,
}

impl<H> Default for Lock<H> {
    fn default() -> Self {
        Self { holder: std::marker::PhantomData }
    }
}

/// An operation on a lock. An answer of `None`: it was not answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LockOp<H> {
    /// This client asks for the lock; answers whether it has it now.
    Acquire(H, Option<bool>),
    /// This client gives the lock back; answers whether it had it.
    Release(H, Option<bool>),
}

impl<H: Clone + Eq + Hash + Send + Sync> Model for Lock<H> {
    type Op = LockOp<H>;
    type State = Option<H>;
    type Key = ();

    fn initial(&self) -> Option<H> {
        None
    }

    fn step(&self, state: &Option<H>, op: &LockOp<H>) -> Option<Option<H>> {
        let (works, answer, after) = match op {
            LockOp::Acquire(client, granted) => (state.is_none(), granted, Some(client.clone())),
            LockOp::Release(client, released) => (state.as_ref() == Some(client), released, None),
        };
        answer.is_none_or(|answer| answer == works).then(|| if works { after } else { state.clone() })
    }

    fn only_looks(&self, op: &LockOp<H>) -> bool {
        matches!(op, LockOp::Acquire(_, Some(false)) | LockOp::Release(_, Some(false)))
    }

    fn key(&self, _: &LockOp<H>) {}
}
