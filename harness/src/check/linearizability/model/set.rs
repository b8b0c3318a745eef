//! A set.

use std::hash::Hash;

use imbl::OrdSet;

use super::{
    Model,
    digest::{self, Digested},
};

/// A set, empty at first, that may be read as a whole. Where a history never reads the whole set, each element is a
/// register of its own ([`PerKey`](super::combine::PerKey)) and far cheaper to check.
#[derive(Debug, Clone)]
pub struct Set<E> {
    element: std::marker::PhantomData<fn() -> E>,
}

impl<E> Default for Set<E> {
    fn default() -> Self {
        Self { element: std::marker::PhantomData }
    }
}

/// An operation on a set. An answer of `None`: it was not answered, or does not tell.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SetOp<E: Ord> {
    /// Adds an element; answers whether it is new.
    Add(E, Option<bool>),
    /// Removes an element; answers whether it was there.
    Remove(E, Option<bool>),
    /// Answers whether an element is there.
    Contains(E, Option<bool>),
    /// Answers all elements.
    Read(Option<OrdSet<E>>),
}

impl<E: Clone + Ord + Hash + Send + Sync> Model for Set<E> {
    type Op = SetOp<E>;
    type State = Digested<OrdSet<E>>;
    type Key = ();

    fn initial(&self) -> Self::State {
        Digested { value: OrdSet::new(), digest: 0 }
    }

    fn step(&self, state: &Self::State, op: &Self::Op) -> Option<Self::State> {
        let agrees = |answer: Option<bool>, truth: bool| answer.is_none_or(|answer| answer == truth);
        let mut changed = state.clone();
        let possible = match op {
            SetOp::Add(element, new) => {
                let is_new = changed.value.insert(element.clone()).is_none();
                changed.digest ^= if is_new { digest::of(element) } else { 0 };
                agrees(*new, is_new)
            }
            SetOp::Remove(element, there) => {
                let was_there = changed.value.remove(element).is_some();
                changed.digest ^= if was_there { digest::of(element) } else { 0 };
                agrees(*there, was_there)
            }
            SetOp::Contains(element, there) => agrees(*there, state.value.contains(element)),
            SetOp::Read(found) => found.as_ref().is_none_or(|found| *found == state.value),
        };
        possible.then_some(changed)
    }

    fn only_looks(&self, op: &Self::Op) -> bool {
        matches!(op, SetOp::Contains(..) | SetOp::Read(_) | SetOp::Add(_, Some(false)) | SetOp::Remove(_, Some(false)))
    }

    fn key(&self, _: &Self::Op) {}
}
