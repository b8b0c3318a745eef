//! The linearizability checker against the definition, on random histories.
//!
//! The oracle tries all orders. It shares nothing with the checker but the models, whose promises are tested on their own.

mod generate;
mod known;
mod limits;
mod oracle;
mod subject;

use std::{fmt::Debug, num::NonZeroUsize};

use dora_harness::check::linearizability::{
    Counter, Lock, Model, Operation, Options, PerKey, Queue, Register, Set, Text, Together, Verdict, check,
};
use proptest::{prelude::*, sample::Index};
use subject::Subject;

fn one_thread() -> Options {
    Options { threads: NonZeroUsize::MIN, ..Options::default() }
}

/// The verdict is that of the oracle, and whatever it says to prove itself is true.
fn agrees_with_the_oracle<M: Model<Op: Clone + Debug>>(model: &M, history: &[Operation<M::Op>]) -> Result<bool, TestCaseError> {
    let verdict = check(model, history, &one_thread()).map_err(|error| TestCaseError::fail(error.to_string()))?;
    let truth = oracle::linearizable(model, history);
    match &verdict {
        Verdict::Linearizable { linearizations } => {
            prop_assert!(truth, "accepted, and no order explains it");
            for order in linearizations {
                prop_assert!(oracle::explains(model, history, order, &[]), "the order {order:?} does not explain anything");
            }
            let explained = |index: usize| linearizations.iter().any(|order| order.contains(&index));
            prop_assert!((0..history.len()).all(|index| history[index].ret.is_none() || explained(index)), "an operation is forgotten");
        }
        Verdict::NotLinearizable(witness) => {
            prop_assert!(!truth, "refused, and there is an order that explains it: {witness:?}");
            let (failing, before) = oracle::prefixes(history, witness);
            prop_assert!(witness.shortest && !oracle::linearizable(model, &failing), "the prefix does not fail: {witness:?}");
            prop_assert!(oracle::linearizable(model, &before), "a shorter prefix fails: {witness:?}");
            prop_assert_eq!(witness.returned.last(), Some(&witness.failed));
            prop_assert_eq!(history[witness.failed].ret, Some(witness.failed_at));
            let explained: Vec<usize> = witness.returned.iter().copied().filter(|index| *index != witness.failed).collect();
            let open: Vec<Operation<M::Op>> = (0..history.len())
                .map(|index| Operation { ret: history[index].ret.filter(|_| explained.contains(&index)), ..history[index].clone() })
                .collect();
            prop_assert!(
                oracle::explains(model, &open, &witness.longest, &explained),
                "the longest order explains too little: {witness:?}"
            );
        }
        Verdict::Unknown { .. } => prop_assert!(false, "a small history takes no time"),
    }
    Ok(truth)
}

/// For each model: any history, correct histories, correct histories with one answer changed, and the model's promises.
macro_rules! properties {
    ($($name:ident: $model:ty = $new:expr;)*) => { $(
        mod $name {
            use super::*;

            proptest! {
                #![proptest_config(ProptestConfig::with_cases(400))]

                #[test]
                fn any_history_gets_the_oracles_verdict((model, history) in generate::any_history::<$model>($new, 7)) {
                    agrees_with_the_oracle(&model, &history)?;
                }

                #[test]
                fn a_changed_answer_gets_the_oracles_verdict(
                    asked in generate::asked::<$model>(8), which: Index, answer: Index,
                ) {
                    let model = $new;
                    let mut history = generate::answered(&model, &asked);
                    generate::change_one::<$model>(&asked, &mut history, which, answer);
                    agrees_with_the_oracle(&model, &history)?;
                }
            }

            proptest! {
                #![proptest_config(ProptestConfig::with_cases(100))]

                #[test]
                fn a_correct_history_is_accepted(asked in generate::asked::<$model>(30)) {
                    let model = $new;
                    let history = generate::answered(&model, &asked);
                    let verdict = check(&model, &history, &one_thread()).expect("generated intervals end after they begin");
                    let Verdict::Linearizable { linearizations } = verdict else {
                        return Err(TestCaseError::fail(format!("{verdict:?}")));
                    };
                    for order in linearizations {
                        prop_assert!(oracle::explains(&model, &history, &order, &[]));
                    }
                }
            }

            #[test]
            fn the_model_keeps_its_promises() {
                keeps_its_promises(&$new);
            }
        }
    )* };
}

properties! {
    register: Register<u8> = Register::new(0);
    text: Text = Text;
    together: Together<u8, Text> = Together::new(Text);
    set: Set<u8> = Set::default();
    queue: Queue<u8> = Queue::default();
    counter: Counter = Counter;
    lock: Lock<u8> = Lock::default();
}

/// Only looking changes no state; what is said not to enable a look never does; questions have an answer in every state.
fn keeps_its_promises<M: Subject>(model: &M) {
    let asks = M::asks();
    let ops: Vec<&M::Op> = asks.iter().flat_map(|ask| ask.answers.iter().chain([&ask.unanswered])).collect();
    let mut states = vec![model.initial()];
    for depth in 0..3 {
        for state in states.clone() {
            for op in &ops {
                if let Some(after) = model.step(&state, op)
                    && !states.contains(&after)
                {
                    assert!(!model.only_looks(op), "{op:?} changes a state at depth {depth}");
                    states.push(after);
                }
            }
        }
    }
    assert!(states.len() > 2, "the questions change something");
    for state in &states {
        for ask in &asks {
            let right = ask.answers.iter().filter(|op| model.step(state, op).is_some()).count();
            // A question about more than the answers cover has none: texts and queues grow.
            assert!(right <= 1, "{right} answers of {ask:?} are right in one state");
        }
        for look in ops.iter().filter(|op| model.only_looks(op)) {
            assert!(model.step(state, look).is_none_or(|after| after == *state), "{look:?} changes a state");
            for change in &ops {
                let enables =
                    model.step(state, look).is_none() && model.step(state, change).is_some_and(|after| model.step(&after, look).is_some());
                assert!(!enables || model.may_enable(change, look), "{change:?} enables {look:?}, and the model denies it");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// A history of independent objects is linearizable if and only if that of each is (Horn and Kroening 2015).
    #[test]
    fn taking_apart_changes_no_verdict((_, history) in generate::any_history::<Together<u8, Text>>(Together::new(Text), 10)) {
        let apart = check(&PerKey::new(Text), &history, &one_thread()).expect("generated intervals end after they begin");
        let together = check(&Together::new(Text), &history, &one_thread()).expect("generated intervals end after they begin");
        match (&apart, &together) {
            (Verdict::Linearizable { .. }, Verdict::Linearizable { .. }) => {}
            (Verdict::NotLinearizable(apart), Verdict::NotLinearizable(together)) => {
                prop_assert_eq!(apart.failed_at, together.failed_at);
            }
            _ => prop_assert!(false, "{apart:?} but {together:?}"),
        }
    }

    /// Neither threads nor the order of the slice decide anything.
    #[test]
    fn threads_change_no_verdict((model, history) in generate::any_history::<PerKey<u8, Text>>(PerKey::new(Text), 12)) {
        let threads = NonZeroUsize::new(4).expect("four is not zero");
        let one = check(&model, &history, &one_thread()).expect("generated intervals end after they begin");
        let four = check(&model, &history, &Options { threads, ..Options::default() }).expect("generated intervals end after they begin");
        match (one, four) {
            (Verdict::NotLinearizable(one), Verdict::NotLinearizable(four)) => {
                prop_assert_eq!((one.failed, one.returned, one.concurrent), (four.failed, four.returned, four.concurrent));
            }
            (one, four) => prop_assert_eq!(one, four),
        }
    }
}
