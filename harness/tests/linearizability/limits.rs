//! Checks that cannot end by themselves end in time.

use std::{
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use dora_harness::check::linearizability::{Keyed, Limit, Operation, Options, PerKey, Queue, QueueOp, Taken, Verdict, check};

/// Two dozen elements come in at once, so all orders are possible; the one that comes out was never put in.
fn explosion(key: u64) -> impl Iterator<Item = Operation<Keyed<u64, QueueOp<u64>>>> {
    let keyed = move |call, ret, op| Operation { call, ret: Some(ret), op: Keyed { key, op } };
    let came_out = keyed(200, 300, QueueOp::Dequeue(Taken::Element(99)));
    (0..24).map(move |element| keyed(0, 100, QueueOp::Enqueue(element))).chain([came_out])
}

fn stops(objects: u64, threads: usize) {
    let history: Vec<_> = (0..objects).flat_map(explosion).collect();
    let time_limit = Duration::from_millis(500);
    let threads = NonZeroUsize::new(threads).expect("the tests use a thread at least");
    let options = Options { time_limit: Some(time_limit), threads, ..Options::default() };
    let start = Instant::now();
    let verdict = check(&PerKey::new(Queue::default()), &history, &options);
    let took = start.elapsed();
    let expected = Verdict::Unknown { limit: Limit::Time, objects_checked: 0, objects_open: objects as usize };
    assert_eq!(verdict, Ok(expected));
    assert!(took < 2 * time_limit, "it took {took:?}");
}

#[test]
fn one_hard_object_on_one_thread_stops_in_time() {
    stops(1, 1);
}

#[test]
fn many_hard_objects_on_one_thread_stop_in_time() {
    stops(50, 1);
}

#[test]
fn many_hard_objects_on_many_threads_stop_in_time() {
    stops(50, 4);
}

#[test]
fn memory_is_a_limit_too() {
    let history: Vec<_> = explosion(0).collect();
    let options = Options { time_limit: None, configurations_max: 10_000, ..Options::default() };
    let verdict = check(&PerKey::new(Queue::default()), &history, &options);
    assert_eq!(verdict, Ok(Verdict::Unknown { limit: Limit::Configurations, objects_checked: 0, objects_open: 1 }));
}

/// On one thread too, an object that fails is found beside one that never ends.
#[test]
fn a_hard_object_does_not_hide_one_that_fails() {
    let wrong = Operation { call: 150, ret: Some(160), op: Keyed { key: 1, op: QueueOp::Dequeue(Taken::Element(1)) } };
    let history: Vec<_> = explosion(0).chain([wrong]).collect();
    let options = Options { time_limit: Some(Duration::from_secs(20)), threads: NonZeroUsize::MIN, ..Options::default() };
    let verdict = check(&PerKey::new(Queue::default()), &history, &options);
    assert!(matches!(&verdict, Ok(Verdict::NotLinearizable(witness)) if witness.failed == 25), "{verdict:?}");
}
