//! A register, with and without compare-and-set.

use std::hash::Hash;

use super::Model;

/// One value that is read, written, and set if it is what the client thinks.
#[derive(Debug, Clone, Default)]
pub struct Register<V> {
    initial: V,
}

impl<V> Register<V> {
    /// A register that starts with `initial`.
    pub const fn new(initial: V) -> Self {
        Self { initial }
    }
}

/// An operation on a register.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RegisterOp<V> {
    /// What the read found; `None`: it was not answered.
    Read(Option<V>),
    /// The new value.
    Write(V),
    /// Sets the value to `to` if it is `from`.
    CompareAndSet {
        /// The value it is expected to have.
        from: V,
        /// The value it gets.
        to: V,
        /// Whether it was set; `None`: it was not answered.
        set: Option<bool>,
    },
}

impl<V: Clone + Eq + Hash + Send + Sync> Model for Register<V> {
    type Op = RegisterOp<V>;
    type State = V;
    type Key = ();

    fn initial(&self) -> V {
        self.initial.clone()
    }

    fn step(&self, state: &V, op: &Self::Op) -> Option<V> {
        match op {
            RegisterOp::Read(found) => found.as_ref().is_none_or(|found| found == state).then(|| state.clone()),
            RegisterOp::Write(value) => Some(value.clone()),
            RegisterOp::CompareAndSet { from, to, set } => {
                let matches = from == state;
                set.is_none_or(|set| set == matches).then(|| if matches { to.clone() } else { state.clone() })
            }
        }
    }

    fn only_looks(&self, op: &Self::Op) -> bool {
        match op {
            RegisterOp::Read(_) | RegisterOp::CompareAndSet { set: Some(false), .. } => true,
            RegisterOp::CompareAndSet { from, to, .. } => from == to,
            RegisterOp::Write(_) => false,
        }
    }

    const KNOWS_CAUSES: bool = true;

    fn may_enable(&self, change: &Self::Op, look: &Self::Op) -> bool {
        let (RegisterOp::Write(after) | RegisterOp::CompareAndSet { to: after, .. }) = change else { return false };
        // Whether `after` is a state in which the look is possible.
        self.step(after, look).is_some()
    }

    fn key(&self, _: &Self::Op) {}
}
