//! Histories whose verdict and witness are known beforehand.

use dora_harness::check::linearizability::{
    Keyed, Malformed, Operation, PerKey, Queue, QueueOp, Register, RegisterOp, Taken, Verdict, Witness, check,
};
use proptest::{
    prelude::*,
    test_runner::{TestError, TestRunner},
};

use super::{one_thread, oracle};

type Op = RegisterOp<u64>;

fn op<T>(call: u64, ret: u64, op: T) -> Operation<T> {
    Operation { call, ret: Some(ret), op }
}

fn witness(history: &[Operation<Op>]) -> Witness {
    match check(&Register::new(0), history, &one_thread()) {
        Ok(Verdict::NotLinearizable(witness)) => witness,
        other => panic!("refused histories have a witness, not {other:?}"),
    }
}

fn accepted(history: &[Operation<Op>]) -> bool {
    matches!(check(&Register::new(0), history, &one_thread()), Ok(Verdict::Linearizable { .. }))
}

#[test]
fn a_stale_read_is_refused_and_the_witness_names_it() {
    let history = [
        op(0, 1, Op::Write(1)),
        op(2, 5, Op::Write(2)),
        op(3, 8, Op::Read(Some(2))),
        op(6, 9, Op::Read(Some(1))),
        op(20, 21, Op::Read(Some(2))),
    ];
    let witness = witness(&history);
    assert_eq!((witness.failed, witness.failed_at, witness.shortest), (3, 9, true));
    assert_eq!(witness.returned, [0, 1, 2, 3]);
    assert_eq!(witness.under_way, [0_usize; 0]);
    assert_eq!(witness.longest, [0, 1, 2]);
    assert_eq!(witness.concurrent, [2]);
}

/// The search sees at the call of the first read that it is lost; the prefix fails only when it returns.
#[test]
fn a_read_that_was_lost_long_ago_fails_when_it_returns() {
    let history = [op(0, 100, Op::Read(Some(7))), op(1, 2, Op::Write(1)), op(3, 4, Op::Read(Some(1))), op(5, 6, Op::Write(2))];
    let witness = witness(&history);
    assert_eq!((witness.failed, witness.failed_at), (0, 100));
    assert_eq!(witness.longest, [1, 2, 3]);
}

/// The read runs beside the first write only, but it is the second one, long returned, that leaves it the value.
#[test]
fn a_state_may_come_back_before_a_read_is_called() {
    let history = [
        op(0, 100, Op::Write(1)),
        op(1, 5, Op::Read(Some(1))),
        op(10, 20, Op::Write(2)),
        op(30, 40, Op::Write(1)),
        op(60, 70, Op::Read(Some(1))),
    ];
    assert!(accepted(&history));
}

#[test]
fn a_call_at_the_instant_of_a_return_is_concurrent() {
    assert!(accepted(&[op(0, 5, Op::Write(1)), op(5, 6, Op::Read(Some(0)))]));
    assert!(!accepted(&[op(0, 5, Op::Write(1)), op(6, 7, Op::Read(Some(0)))]));
    assert!(accepted(&[op(3, 3, Op::Write(1)), op(3, 3, Op::Read(Some(0))), op(3, 3, Op::Read(Some(1)))]));
}

#[test]
fn an_unknown_write_may_take_effect_late_once_or_never() {
    let unknown = |value| Operation { call: 0, ret: None, op: Op::Write(value) };
    let read = |at, value| op(at, at + 1, Op::Read(Some(value)));
    assert!(accepted(&[unknown(1), read(10, 0), read(20, 1)]));
    assert!(accepted(&[unknown(1), read(10, 0), read(20, 0)]));
    assert!(!accepted(&[unknown(1), read(10, 1), read(20, 0)]), "it cannot be undone");
    let overwritten = [unknown(1), read(10, 1), op(12, 13, Op::Write(2)), read(20, 1)];
    assert!(!accepted(&overwritten), "it cannot take effect twice");
    assert!(accepted(&[&overwritten[..], &[unknown(1)]].concat()), "two may");
    assert!(!accepted(&[Operation { call: 30, ..unknown(1) }, read(10, 1)]), "nor before its call");
}

#[test]
fn of_several_objects_the_witness_is_of_the_one_that_fails_first() {
    let keyed = |key: &'static str, operation: Operation<Op>| Operation {
        call: operation.call,
        ret: operation.ret,
        op: Keyed { key, op: operation.op },
    };
    let history = [
        keyed("late", op(0, 1, Op::Write(1))),
        keyed("late", op(60, 70, Op::Read(Some(0)))),
        keyed("early", op(0, 1, Op::Write(1))),
        keyed("early", op(40, 50, Op::Read(Some(0)))),
        keyed("never", op(0, 99, Op::Read(Some(0)))),
    ];
    let verdict = check(&PerKey::new(Register::new(0)), &history, &one_thread());
    assert!(matches!(&verdict, Ok(Verdict::NotLinearizable(witness)) if witness.failed == 3 && witness.failed_at == 50), "{verdict:?}");
}

#[test]
fn a_queue_that_overtakes_is_refused() {
    let history = [
        op(0, 1, QueueOp::Enqueue('a')),
        op(2, 3, QueueOp::Enqueue('b')),
        op(4, 5, QueueOp::Dequeue(Taken::Element('b'))),
        op(6, 7, QueueOp::Dequeue(Taken::Element('a'))),
    ];
    assert!(matches!(check(&Queue::default(), &history, &one_thread()), Ok(Verdict::NotLinearizable(witness)) if witness.failed == 2));
}

#[test]
fn an_empty_history_is_linearizable() {
    assert_eq!(check(&Register::new(0), &[] as &[Operation<Op>], &one_thread()), Ok(Verdict::Linearizable { linearizations: vec![] }));
}

#[test]
fn a_history_that_runs_backwards_is_malformed() {
    let history = [op(0, 1, Op::Write(1)), op(9, 8, Op::Write(2))];
    let malformed = check(&Register::new(0), &history, &one_thread());
    assert_eq!(malformed, Err(Malformed::ReturnsBeforeCall { index: 1, call: 9, ret: 8 }));
}

/// More than 256 operations at one time: configurations of any width.
#[test]
fn hundreds_of_operations_at_one_time_are_checked() {
    let writes = |count: u64| (1..=count).map(|value| op(0, 1_000, Op::Write(value)));
    let reads = |count: u64| (1..=count).rev().map(|value| op(2 * value, 2 * value + 1, Op::Read(Some(value))));
    let unknown = (1..=20).map(|value| Operation { call: 0, ret: None, op: Op::Write(1_000 + value) });
    for count in [30, 60, 100, 300] {
        let mut history: Vec<_> = writes(count).chain(reads(count)).chain(unknown.clone()).collect();
        assert!(accepted(&history), "{count}");
        // To refuse takes the cube of the width: not for the widest.
        if count <= 60 {
            history.push(op(800, 801, Op::Read(Some(5_000))));
            assert_eq!(witness(&history).failed, history.len() - 1, "{count}");
        }
    }
}

/// Values are written once, clients are many: at the read that never was, and nowhere else, the history fails.
#[test]
fn in_a_long_history_the_witness_finds_the_one_wrong_read() {
    let mut history: Vec<Operation<Op>> = Vec::new();
    for value in 1..=2_000_u64 {
        let at = 100 + 10 * value;
        history.push(op(at - 25, at + 25, Op::Write(value)));
        history.push(op(at + 1, at + 40, Op::Read(Some(value))));
    }
    assert!(accepted(&history));
    history[2_001].op = Op::Read(Some(77));
    let witness = witness(&history);
    assert_eq!(witness.failed, 2_001);
    let (_, before) = oracle::prefixes(&history, &witness);
    assert!(accepted(&before));
}

/// A register whose reads may be one write behind: proptest finds a history of two operations, the least that shows it.
#[test]
fn shrinking_gives_a_small_counterexample() {
    let steps = prop::collection::vec((any::<bool>(), 1..9_u64, 1..9_u64), 0..40);
    let stale = steps.prop_map(|steps| {
        let (mut now, mut held, mut before) = (0, 0, 0);
        let mut history = Vec::new();
        for (is_write, value, pause) in steps {
            let op = if is_write {
                before = std::mem::replace(&mut held, value);
                Op::Write(value)
            } else {
                Op::Read(Some(before))
            };
            history.push(Operation { call: now, ret: Some(now + 1), op });
            now += 1 + pause;
        }
        history
    });
    let mut runner = TestRunner::deterministic();
    let failure = runner.run(&stale, |history| {
        prop_assert!(accepted(&history));
        Ok(())
    });
    let Err(TestError::Fail(_, smallest)) = failure else { panic!("a stale register passes: {failure:?}") };
    assert_eq!(smallest.len(), 2, "{smallest:?}");
}
