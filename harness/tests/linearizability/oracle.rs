//! The definition of linearizability, written down once more without any cleverness.

use dora_harness::check::linearizability::{Model, Operation, Witness};

/// Whether some order of all completed and some other operations agrees with real time and with the model: tries all.
pub fn linearizable<M: Model>(model: &M, history: &[Operation<M::Op>]) -> bool
where
    M::Op: Clone,
{
    let remaining: Vec<usize> = (0..history.len()).collect();
    extends(model, history, &remaining, &model.initial())
}

fn extends<M: Model>(model: &M, history: &[Operation<M::Op>], remaining: &[usize], state: &M::State) -> bool {
    if remaining.iter().all(|&index| history[index].ret.is_none()) {
        return true;
    }
    remaining.iter().any(|&next| {
        let is_preceded = remaining.iter().any(|&other| history[other].ret.is_some_and(|ret| ret < history[next].call));
        !is_preceded
            && model.step(state, &history[next].op).is_some_and(|after| {
                let rest: Vec<usize> = remaining.iter().copied().filter(|index| *index != next).collect();
                extends(model, history, &rest, &after)
            })
    })
}

/// Whether `order` agrees with real time and with the model, and has all of `completed` and nothing twice.
pub fn explains<M: Model>(model: &M, history: &[Operation<M::Op>], order: &[usize], completed: &[usize]) -> bool {
    let mut unique = order.to_vec();
    unique.sort_unstable();
    unique.dedup();
    let in_time = order
        .iter()
        .enumerate()
        .all(|(place, &earlier)| order[place + 1..].iter().all(|&later| history[later].ret.is_none_or(|ret| ret >= history[earlier].call)));
    let mut state = Some(model.initial());
    for &index in order {
        state = state.and_then(|state| model.step(&state, &history[index].op));
    }
    unique.len() == order.len() && in_time && state.is_some() && completed.iter().all(|index| order.contains(index))
}

/// The prefix that a witness names, and the same just before the return of the operation that failed.
pub fn prefixes<Op: Clone>(history: &[Operation<Op>], witness: &Witness) -> (Vec<Operation<Op>>, Vec<Operation<Op>>) {
    let open = |index: &usize| Operation { ret: None, ..history[*index].clone() };
    let under_way = || witness.under_way.iter().map(open);
    let failing = witness.returned.iter().map(|&index| history[index].clone()).chain(under_way()).collect();
    let before = witness.returned.iter().map(|&index| if index == witness.failed { open(&index) } else { history[index].clone() });
    (failing, before.chain(under_way()).collect())
}
