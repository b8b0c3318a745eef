//! A first-in-first-out queue.

use std::hash::Hash;

use imbl::Vector;

use super::{
    Model,
    digest::{self, Digested},
};

/// A queue without a bound, empty at first.
#[derive(Debug, Clone)]
pub struct Queue<E> {
    element: std::marker::PhantomData<fn() -> E>,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { element: std::marker::PhantomData }
    }
}

/// An operation on a queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum QueueOp<E> {
    /// Puts an element at the end.
    Enqueue(E),
    /// Takes the first element.
    Dequeue(Taken<E>),
}

/// What a dequeue answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Taken<E> {
    /// This element.
    Element(E),
    /// That there is none.
    Nothing,
    /// It was not answered: it may have taken an element.
    Unknown,
}

/// An odd number whose powers spread over all bits: the places of a polynomial digest.
const PLACE: u64 = 0x9E37_79B9_7F4A_7C15;

impl<E: Clone + Eq + Hash + Send + Sync> Model for Queue<E> {
    type Op = QueueOp<E>;
    type State = Digested<Vector<E>>;
    type Key = ();

    fn initial(&self) -> Self::State {
        Digested { value: Vector::new(), digest: 0 }
    }

    fn step(&self, state: &Self::State, op: &Self::Op) -> Option<Self::State> {
        match op {
            QueueOp::Enqueue(element) => {
                let mut changed = state.clone();
                changed.value.push_back(element.clone());
                changed.digest = changed.digest.wrapping_mul(PLACE).wrapping_add(digest::of(element));
                Some(changed)
            }
            QueueOp::Dequeue(taken) => {
                let Some(first) = state.value.front() else {
                    return matches!(taken, Taken::Nothing | Taken::Unknown).then(|| state.clone());
                };
                let possible = match taken {
                    Taken::Element(element) => element == first,
                    Taken::Nothing => false,
                    Taken::Unknown => true,
                };
                possible.then(|| {
                    let mut changed = state.clone();
                    let place = PLACE.wrapping_pow((changed.value.len() - 1) as u32);
                    changed.digest = changed.digest.wrapping_sub(digest::of(first).wrapping_mul(place));
                    changed.value.pop_front();
                    changed
                })
            }
        }
    }

    fn only_looks(&self, op: &Self::Op) -> bool {
        matches!(op, QueueOp::Dequeue(Taken::Nothing))
    }

    fn key(&self, _: &Self::Op) {}
}
