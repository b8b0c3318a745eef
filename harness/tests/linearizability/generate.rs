//! Random histories: any, correct ones, and correct ones with one answer changed.

use dora_harness::check::linearizability::Operation;
use proptest::{collection::vec, prelude::*, sample::Index};

use super::subject::{Ask, Subject};

/// Any answers at any times. Few instants, so that many coincide.
pub fn any_history<M: Subject + Clone + std::fmt::Debug>(
    model: M,
    operations_max: usize,
) -> impl Strategy<Value = (M, Vec<Operation<M::Op>>)> {
    let operation =
        (M::ask(), any::<Index>(), 0..10_u64, 0..6_u64, prop::bool::weighted(0.2)).prop_map(|(ask, answer, call, lasts, is_unknown)| {
            if is_unknown {
                Operation { call, ret: None, op: ask.unanswered }
            } else {
                Operation { call, ret: Some(call + lasts), op: answer.get(&ask.answers).clone() }
            }
        });
    (Just(model), vec(operation, 0..=operations_max))
}

/// One question to an object that takes effect at one instant.
#[derive(Debug, Clone)]
pub struct Asked<Op> {
    ask: Ask<Op>,
    before: u64,
    after: u64,
    /// `None`: answered; `Some`: not answered, and whether it took effect.
    unanswered: Option<bool>,
}

/// Questions to an atomic object; each instant of effect is ten after the last one, and intervals reach over several.
pub fn asked<M: Subject>(operations_max: usize) -> impl Strategy<Value = Vec<Asked<M::Op>>> {
    let unanswered = prop_oneof![8 => Just(None), 1 => Just(Some(true)), 1 => Just(Some(false))];
    let one =
        (M::ask(), 0..30_u64, 0..30_u64, unanswered).prop_map(|(ask, before, after, unanswered)| Asked { ask, before, after, unanswered });
    vec(one, 0..=operations_max)
}

/// What an atomic object answers.
pub fn answered<M: Subject>(model: &M, asked: &[Asked<M::Op>]) -> Vec<Operation<M::Op>> {
    let mut state = model.initial();
    let mut history = Vec::new();
    for (number, asked) in asked.iter().enumerate() {
        let instant = 100 + 10 * number as u64;
        let call = instant - asked.before;
        let right = asked.ask.answers.iter().find_map(|op| model.step(&state, op).map(|after| (op.clone(), after)));
        match (asked.unanswered, right) {
            (None, Some((op, after))) => {
                history.push(Operation { call, ret: Some(instant + asked.after), op });
                state = after;
            }
            (unanswered, _) => {
                let op = asked.ask.unanswered.clone();
                if unanswered == Some(true)
                    && let Some(after) = model.step(&state, &op)
                {
                    state = after;
                }
                history.push(Operation { call, ret: None, op });
            }
        }
    }
    history
}

/// Gives one of the answered questions another answer.
pub fn change_one<M: Subject>(asked: &[Asked<M::Op>], history: &mut [Operation<M::Op>], which: Index, answer: Index) {
    if !history.is_empty() {
        let which = which.index(history.len());
        if history[which].ret.is_some() {
            history[which].op = answer.get(&asked[which].ask.answers).clone();
        }
    }
}
