//! Many objects of one kind, each under its key.

use std::hash::Hash;

use imbl::OrdMap;

use super::{
    Model,
    digest::{self, Digested},
};

/// An operation on the object under a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Keyed<K, Op> {
    /// Which object.
    pub key: K,
    /// What is done with it.
    pub op: Op,
}

/// Independent objects, checked one by one: the way to check anything with keys (Horn and Kroening 2015).
#[derive(Debug, Clone, Default)]
pub struct PerKey<K, M> {
    object: M,
    key: std::marker::PhantomData<fn() -> K>,
}

impl<K, M> PerKey<K, M> {
    /// Objects that each behave as `object`.
    pub fn new(object: M) -> Self {
        Self { object, key: std::marker::PhantomData }
    }
}

impl<K: Clone + Eq + Hash + Send + Sync, M: Model> Model for PerKey<K, M> {
    type Op = Keyed<K, M::Op>;
    type State = M::State;
    type Key = (K, M::Key);

    fn initial(&self) -> Self::State {
        self.object.initial()
    }

    fn step(&self, state: &Self::State, op: &Self::Op) -> Option<Self::State> {
        self.object.step(state, &op.op)
    }

    fn only_looks(&self, op: &Self::Op) -> bool {
        self.object.only_looks(&op.op)
    }

    const KNOWS_CAUSES: bool = M::KNOWS_CAUSES;

    fn may_enable(&self, change: &Self::Op, look: &Self::Op) -> bool {
        self.object.may_enable(&change.op, &look.op)
    }

    fn key(&self, op: &Self::Op) -> Self::Key {
        (op.key.clone(), self.object.key(&op.op))
    }
}

/// The same objects as one object whose state is a map. The verdict is that of [`PerKey`] at a far higher price; it is there
/// to test one against the other, and to measure the search where taking apart does not help.
#[derive(Debug, Clone, Default)]
pub struct Together<K, M> {
    object: M,
    key: std::marker::PhantomData<fn() -> K>,
}

impl<K, M> Together<K, M> {
    /// Objects that each behave as `object`, as one.
    pub fn new(object: M) -> Self {
        Self { object, key: std::marker::PhantomData }
    }
}

impl<K: Clone + Ord + Hash + Send + Sync, M: Model> Model for Together<K, M> {
    type Op = Keyed<K, M::Op>;
    /// An object in its initial state is absent, touched or not.
    type State = Digested<OrdMap<K, M::State>>;
    type Key = ();

    fn initial(&self) -> Self::State {
        Digested { value: OrdMap::new(), digest: 0 }
    }

    fn step(&self, state: &Self::State, op: &Self::Op) -> Option<Self::State> {
        let initial = self.object.initial();
        let before = state.value.get(&op.key).unwrap_or(&initial);
        let after = self.object.step(before, &op.op)?;
        let mut changed = state.clone();
        if after == *before {
            return Some(changed);
        }
        // An exclusive or of the entries: the order in which they came does not matter.
        if *before != initial {
            changed.digest ^= digest::of(&(&op.key, before));
        }
        if after == initial {
            changed.value.remove(&op.key);
        } else {
            changed.digest ^= digest::of(&(&op.key, &after));
            changed.value.insert(op.key.clone(), after);
        }
        Some(changed)
    }

    fn only_looks(&self, op: &Self::Op) -> bool {
        self.object.only_looks(&op.op)
    }

    const KNOWS_CAUSES: bool = true;

    fn may_enable(&self, change: &Self::Op, look: &Self::Op) -> bool {
        change.key == look.key && self.object.may_enable(&change.op, &look.op)
    }

    fn key(&self, _: &Self::Op) -> Self::Key {}
}
