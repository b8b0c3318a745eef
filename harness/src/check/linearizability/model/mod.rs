//! What a history is checked against.

use std::hash::Hash;

pub mod combine;
pub mod counter;
mod digest;
pub mod lock;
pub mod queue;
pub mod register;
pub mod set;
pub mod text;

/// A sequential object: what each operation does when it is alone.
///
/// An operation is what was asked *and* what was answered, so that one function decides both what happens and whether the
/// answer was right. Where the answer is not known, the model leaves it open.
pub trait Model: Sync {
    /// What was asked and what was answered. Equal operations are interchangeable.
    type Op: Eq + Hash + Sync;
    /// What the object holds. Cloned for each new state, so shared parts are worth it.
    type State: Clone + Eq + Hash + Send + Sync;
    /// Names one of the independent objects that a history is about; `()` where there is only one.
    type Key: Eq + Hash;

    /// The state before the first operation.
    fn initial(&self) -> Self::State;

    /// The state after `op` in `state`, or `None` when `op` cannot have been answered so in `state`. Pure: the same arguments,
    /// the same answer.
    fn step(&self, state: &Self::State, op: &Self::Op) -> Option<Self::State>;

    /// Whether `op` leaves *every* state in which it is possible as it is: reads, refused changes. Such an operation needs no
    /// choice in the search. `false` is always right; `true` for an operation that changes anything makes verdicts wrong.
    fn only_looks(&self, op: &Self::Op) -> bool {
        let _ = op;
        false
    }

    /// Whether [`may_enable`](Self::may_enable) tells more than its default.
    const KNOWS_CAUSES: bool = false;

    /// Whether there is a state in which `look` (an operation that [only looks](Self::only_looks)) is impossible and, once
    /// `change` has taken effect, possible. `true` is always right; `false` where there is one makes verdicts wrong. A read of
    /// a value that only one write writes is lost when that write is past: with this, the search sees it at once.
    fn may_enable(&self, change: &Self::Op, look: &Self::Op) -> bool {
        let _ = (change, look);
        true
    }

    /// The object `op` is about.
    fn key(&self, op: &Self::Op) -> Self::Key;
}

/// One operation of a history. Operations are told apart by their place in the slice that is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation<Op> {
    /// When it was called: any unit, the same clock for all operations.
    pub call: u64,
    /// When it returned; `None` when nobody knows whether it took effect (it may do so at any time after its call, or never).
    pub ret: Option<u64>,
    /// What was asked and answered.
    pub op: Op,
}
