//! Histories in the terms of the linearizability checker, and its answers in ours.

use std::{collections::HashMap, hash::Hash, time::Duration};

use imbl::OrdSet;
use serde_json::Value;

use super::{
    Answer,
    linearizability::{
        self as lin, Counter, CounterOp, Keyed, Limit, Lock, LockOp, Malformed, Options, PerKey, Queue, QueueOp, Register, RegisterOp, Set,
        SetOp, Taken, Verdict, Witness,
    },
    shape::{Mismatch, duplicate, elements, number, pair},
    witness,
};
use crate::history::{Operation, Outcome};

/// Lines of each part of a witness.
const LINES_MAX: usize = 10;

/// Reads and writes of one register, or of one a key; with compare-and-set where `compares`. Registers start with null.
pub fn register(operations: &[Operation], compares: bool, time_limit: Duration) -> Result<Answer, Mismatch> {
    let mut values: HashMap<String, u32> = HashMap::from([(Value::Null.to_string(), 0)]);
    let mut keys: HashMap<String, u32> = HashMap::new();
    let keyed = operations.first().is_some_and(has_key);
    let history = translate(operations, |operation| {
        if has_key(operation) != keyed {
            return Err(Mismatch::new(operation, "either all operations name a key ([key, value]) or none does"));
        }
        let mut numbered = |value: &Value| number_of(&mut values, value);
        let value = |value: &'_ Value| if keyed { pair(value).map(|(_, value)| value.clone()) } else { Some(value.clone()) };
        let missing = || Mismatch::new(operation, "a register's operation is [key, value] or value");
        let op = match operation.f.as_ref() {
            "read" if operation.is_ok() => RegisterOp::Read(Some(numbered(&value(&operation.returned).ok_or_else(missing)?))),
            "read" => RegisterOp::Read(None),
            "write" => RegisterOp::Write(numbered(&value(&operation.value).ok_or_else(missing)?)),
            "cas" if compares => {
                let change = value(&operation.value).ok_or_else(missing)?;
                let (from, to) = pair(&change).ok_or_else(|| Mismatch::new(operation, "a cas is [key, [old, new]] or [old, new]"))?;
                RegisterOp::CompareAndSet { from: numbered(from), to: numbered(to), set: operation.is_ok().then_some(true) }
            }
            _ if compares => return Err(Mismatch::new(operation, "a cas-register has read, write and cas")),
            _ => return Err(Mismatch::new(operation, "a register has read and write")),
        };
        let key = if keyed { pair(&operation.value).map_or(0, |(key, _)| number_of(&mut keys, key)) } else { 0 };
        Ok(Keyed { key, op })
    })?;
    let tells =
        history.iter().any(|(_, op)| matches!(op.op.op, RegisterOp::Read(Some(_)) | RegisterOp::CompareAndSet { set: Some(_), .. }));
    if !tells {
        return Ok(Answer::Unknown("no read or compare-and-set was answered".into()));
    }
    Ok(answer(&PerKey::new(Register::new(0_u32)), history, time_limit))
}

/// Whether an operation on a register names a key: `[key, value]`, or `[key, [old, new]]`.
fn has_key(operation: &Operation) -> bool {
    let pair = pair(&operation.value);
    if operation.f == "cas" { pair.is_some_and(|(_, change)| change.is_array()) } else { pair.is_some() }
}

fn number_of(numbers: &mut HashMap<String, u32>, value: &Value) -> u32 {
    let next = numbers.len() as u32;
    *numbers.entry(value.to_string()).or_insert(next)
}

/// One lock, held by one process at a time.
pub fn mutex(operations: &[Operation], time_limit: Duration) -> Result<Answer, Mismatch> {
    let history = translate(operations, |operation| {
        let answered = operation.is_ok().then_some(true);
        match operation.f.as_ref() {
            "acquire" => Ok(LockOp::Acquire(operation.process, answered)),
            "release" => Ok(LockOp::Release(operation.process, answered)),
            _ => Err(Mismatch::new(operation, "a mutex has acquire and release")),
        }
    })?;
    if !history.iter().any(|(operation, _)| operation.is_ok()) {
        return Ok(Answer::Unknown("nobody acquired or released the lock".into()));
    }
    Ok(answer(&Lock::default(), history, time_limit))
}

/// A set that is read as a whole.
pub fn set(operations: &[Operation], time_limit: Duration) -> Result<Answer, Mismatch> {
    let mut numbers: HashMap<String, u32> = HashMap::new();
    let mut twice = None;
    let mut history = translate(operations, |operation| match operation.f.as_ref() {
        "add" => Ok(SetOp::Add(number_of(&mut numbers, &operation.value), None)),
        "read" if operation.is_ok() => {
            let elements = elements(operation)?;
            if twice.is_none() {
                twice = duplicate(&elements).map(|element| (element.clone(), operation));
            }
            let mut numbered = |element: &String| {
                let next = numbers.len() as u32;
                *numbers.entry(element.clone()).or_insert(next)
            };
            Ok(SetOp::Read(Some(elements.iter().map(&mut numbered).collect::<OrdSet<u32>>())))
        }
        "read" => Ok(SetOp::Read(None)),
        _ => Err(Mismatch::new(operation, "a set has add and read")),
    })?;
    if let Some((element, read)) = twice {
        let (message, witness) = (format!("a read of a set has {element} twice"), witness::line(read));
        return Ok(Answer::Violated { finding: "duplicated", message, witness });
    }
    if !history.iter().any(|(_, op)| matches!(op.op, SetOp::Read(Some(_)))) {
        return Ok(Answer::Unknown("no read of the set was answered".into()));
    }
    bound_unknown_adds(&mut history);
    Ok(answer(&Set::default(), history, time_limit))
}

/// Every addition that ended unknown doubles the search, and need not: nothing is ever removed, so one that a read shows took effect before
/// that read ended (or shows another addition of the same, and changes nothing), and one that no read shows can be left out, since if it
/// took effect at all, it did so after all reads.
fn bound_unknown_adds(history: &mut Translated<'_, SetOp<u32>>) {
    let mut shown: HashMap<u32, u64> = HashMap::new();
    for (_, read) in history.iter() {
        let (SetOp::Read(Some(elements)), Some(ret)) = (&read.op, read.ret) else { continue };
        for element in elements {
            shown.entry(*element).and_modify(|first| *first = ret.min(*first)).or_insert(ret);
        }
    }
    history.retain_mut(|(_, operation)| {
        if let (SetOp::Add(element, _), None) = (&operation.op, operation.ret) {
            operation.ret = shown.get(element).copied().filter(|ret| *ret >= operation.call);
            return operation.ret.is_some();
        }
        true
    });
}

/// A counter that starts at zero.
pub fn counter(operations: &[Operation], time_limit: Duration) -> Result<Answer, Mismatch> {
    let history = translate(operations, |operation| match operation.f.as_ref() {
        "add" => Ok(CounterOp::Add(number(operation, &operation.value, "what is added to a counter is a whole number")?)),
        "read" if operation.is_ok() => {
            Ok(CounterOp::Read(Some(number(operation, &operation.returned, "a read of a counter answers a whole number")?)))
        }
        "read" => Ok(CounterOp::Read(None)),
        _ => Err(Mismatch::new(operation, "a counter has add and read")),
    })?;
    if !history.iter().any(|(_, op)| matches!(op.op, CounterOp::Read(Some(_)))) {
        return Ok(Answer::Unknown("no read of the counter was answered".into()));
    }
    Ok(answer(&Counter, history, time_limit))
}

/// A queue, first in, first out. A `dequeue` that found nothing answers null.
pub fn queue(operations: &[Operation], time_limit: Duration) -> Result<Answer, Mismatch> {
    let mut numbers: HashMap<String, u32> = HashMap::new();
    let history = translate(operations, |operation| match operation.f.as_ref() {
        "enqueue" => Ok(QueueOp::Enqueue(number_of(&mut numbers, &operation.value))),
        "dequeue" if !operation.is_ok() => Ok(QueueOp::Dequeue(Taken::Unknown)),
        "dequeue" if operation.returned.is_null() => Ok(QueueOp::Dequeue(Taken::Nothing)),
        "dequeue" => Ok(QueueOp::Dequeue(Taken::Element(number_of(&mut numbers, &operation.returned)))),
        _ => Err(Mismatch::new(operation, "a queue has enqueue and dequeue")),
    })?;
    if !history.iter().any(|(operation, _)| operation.f == "dequeue" && operation.is_ok()) {
        return Ok(Answer::Unknown("nothing was dequeued".into()));
    }
    Ok(answer(&Queue::default(), history, time_limit))
}

type Translated<'a, Op> = Vec<(&'a Operation, lin::Operation<Op>)>;

/// What may have taken effect, in the checker's terms. An operation that surely failed took none and is left out.
fn translate<'a, Op>(
    operations: &'a [Operation],
    mut op: impl FnMut(&'a Operation) -> Result<Op, Mismatch>,
) -> Result<Translated<'a, Op>, Mismatch> {
    let mut translated = Vec::with_capacity(operations.len());
    for operation in operations {
        let op = op(operation)?;
        let ret = match operation.outcome {
            Outcome::Ok => operation.completed,
            Outcome::Unknown(_) => None,
            Outcome::Fail(_) => continue,
        };
        translated.push((operation, lin::Operation { call: operation.invoked, ret, op }));
    }
    Ok(translated)
}

fn answer<M: lin::Model>(model: &M, translated: Translated<'_, M::Op>, time_limit: Duration) -> Answer
where
    M::Op: Eq + Hash,
{
    let (operations, history): (Vec<&Operation>, Vec<_>) = translated.into_iter().unzip();
    let options = Options { time_limit: Some(time_limit), ..Options::default() };
    match lin::check(model, &history, &options) {
        Ok(Verdict::Linearizable { .. }) => Answer::Holds,
        Ok(Verdict::NotLinearizable(witness)) => violated(&operations, &witness),
        Ok(Verdict::Unknown { limit, objects_checked, objects_open }) => {
            let limit = match limit {
                Limit::Time => format!("within {} s", time_limit.as_secs_f64()),
                Limit::Configurations => "within the memory that it may take".into(),
            };
            Answer::Unknown(format!(
                "the search did not end {limit}: {objects_checked} objects are linearizable, {objects_open} are not decided"
            ))
        }
        Err(malformed) => Answer::Unknown(match malformed {
            Malformed::ReturnsBeforeCall { index, .. } => format!("operation {} ends before it begins", operations[index].index),
            too_long @ Malformed::TooLong(_) => too_long.to_string(),
        }),
    }
}

fn violated(operations: &[&Operation], witness: &Witness) -> Answer {
    let lines = |indices: &[usize]| witness::lines(indices.iter().map(|index| operations[*index]));
    let failed = operations[witness.failed];
    let message = format!("no order of these operations explains operation {} ({} {})", failed.index, failed.f, failed.returned);
    let order = &witness.longest[witness.longest.len().saturating_sub(LINES_MAX)..];
    let concurrent = &witness.concurrent[..witness.concurrent.len().min(LINES_MAX)];
    let mut parts = vec![format!("cannot be explained:\n{}", witness::line(failed))];
    if !order.is_empty() {
        parts.push(format!("the longest order that explains all before it ends with:\n{}", lines(order)));
    }
    if !concurrent.is_empty() {
        parts.push(format!("at the same time:\n{}", lines(concurrent)));
    }
    Answer::Violated { finding: "not-linearizable", message, witness: parts.join("\n") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::check::{
        Model, judge,
        sample::{failed, ok, unknown},
    };

    fn is_violated(model: Model, history: &[Operation], finding: &str) -> bool {
        matches!(judge(model, history).answer, Answer::Violated { finding: found, witness, .. } if found == finding && witness.contains('#'))
    }

    fn holds(model: Model, history: &[Operation]) -> bool {
        judge(model, history).answer == Answer::Holds
    }

    fn is_unknown(model: Model, history: &[Operation], why: &str) -> bool {
        matches!(judge(model, history).answer, Answer::Unknown(reason) if reason.contains(why))
    }

    #[test]
    fn a_stale_read_of_a_register_is_found_with_and_without_keys() {
        let read = |value: Value| ok(1, "read", json!([0, null]), json!([0, value]), 30, 31);
        let keyed =
            |value| [ok(0, "write", json!([0, 1]), json!([0, 1]), 0, 1), ok(0, "write", json!([0, 2]), json!([0, 2]), 10, 11), read(value)];
        assert!(holds(Model::Register, &keyed(json!(2))));
        assert!(is_violated(Model::Register, &keyed(json!(1)), "not-linearizable"));
        assert!(is_violated(Model::Register, &keyed(json!(null)), "not-linearizable"));
        let plain = |value: u64| [ok(0, "write", 1, 1, 0, 1), ok(0, "write", 2, 2, 10, 11), ok(1, "read", Value::Null, value, 30, 31)];
        assert!(holds(Model::CasRegister, &plain(2)));
        assert!(is_violated(Model::CasRegister, &plain(1), "not-linearizable"));
        let mixed = [keyed(json!(2)), plain(2)].concat();
        assert!(is_unknown(Model::Register, &mixed, "name a key"));
    }

    #[test]
    fn a_compare_that_cannot_have_matched_is_found() {
        let cas = |from: u64| ok(1, "cas", json!([0, [from, 3]]), json!([0, [from, 3]]), 10, 11);
        let write = ok(0, "write", json!([0, 1]), json!([0, 1]), 0, 1);
        assert!(holds(Model::CasRegister, &[write.clone(), cas(1)]));
        assert!(is_violated(Model::CasRegister, &[write.clone(), cas(2)], "not-linearizable"));
        assert!(is_unknown(Model::Register, &[write.clone(), cas(1)], "a register has read and write"));
        let refused = failed(1, "cas", json!([0, [2, 3]]), 10, 11);
        assert!(is_unknown(Model::CasRegister, &[write, refused], "no read"));
    }

    #[test]
    fn two_holders_of_a_lock_are_found() {
        let acquire = |process: u32, at: u64| ok(process, "acquire", Value::Null, Value::Null, at, at + 1);
        let release = |process: u32, at: u64| ok(process, "release", Value::Null, Value::Null, at, at + 1);
        assert!(holds(Model::Mutex, &[acquire(0, 0), release(0, 10), acquire(1, 20)]));
        assert!(is_violated(Model::Mutex, &[acquire(0, 0), acquire(1, 20)], "not-linearizable"));
        // The first one may have been released without an answer.
        assert!(holds(Model::Mutex, &[acquire(0, 0), unknown(0, "release", Value::Null, 5, None), acquire(1, 20)]));
    }

    #[test]
    fn a_set_a_counter_and_a_queue_are_decided() {
        let add = ok(0, "add", 1, 1, 0, 1);
        let read = |list: Value| ok(1, "read", Value::Null, list, 10, 11);
        assert!(holds(Model::Set, &[add.clone(), read(json!([1]))]));
        assert!(is_violated(Model::Set, &[add.clone(), read(json!([]))], "not-linearizable"));
        assert!(is_violated(Model::Set, &[add.clone(), read(json!([1, 1]))], "duplicated"));
        let unknown_adds =
            |shown: Value| (0..60).map(|n| unknown(9 + n, "add", n, 2, None)).chain([add.clone(), read(shown)]).collect::<Vec<_>>();
        assert!(holds(Model::Set, &unknown_adds(json!([1, 3, 5, 7]))));
        assert!(is_violated(Model::Set, &unknown_adds(json!([3, 5, 7])), "not-linearizable"));
        assert!(is_unknown(Model::Set, std::slice::from_ref(&add), "no read"));
        assert!(holds(Model::Counter, &[add.clone(), read(json!(1))]));
        assert!(is_violated(Model::Counter, &[add.clone(), read(json!(2))], "not-linearizable"));
        assert!(is_unknown(Model::Counter, &[add, read(json!("one"))], "operation 10"));
        let queued = [ok(0, "enqueue", 1, 1, 0, 1), ok(0, "enqueue", 2, 2, 2, 3)];
        let with = |taken: u64| queued.iter().cloned().chain([ok(1, "dequeue", Value::Null, taken, 5, 6)]).collect::<Vec<_>>();
        assert!(holds(Model::Queue, &with(1)));
        assert!(is_violated(Model::Queue, &with(2), "not-linearizable"));
    }

    proptest! {
        /// Operations that take effect one after the other, each somewhere within its own (overlapping) time, are accepted; a read of a value
        /// that was replaced before it began is not.
        #[test]
        fn an_atomic_register_is_accepted_and_a_stale_read_is_not(
            moves in prop::collection::vec((any::<bool>(), 0_u64..40, 0_u64..40), 1..60),
        ) {
            let (mut value, mut history) = (Value::Null, Vec::new());
            // Effects are 10 apart; an operation begins up to 40 before its own and ends up to 40 after it.
            for (number, (is_write, before, after)) in (10_u64..).zip(&moves) {
                let at = number * 10;
                let process = u32::try_from(number).unwrap();
                let (from, to) = (at - before, at + after);
                if *is_write {
                    value = number.into();
                    history.push(ok(process, "write", json!([0, number]), json!([0, number]), from, to));
                } else {
                    history.push(ok(process, "read", json!([0, null]), json!([0, value.clone()]), from, to));
                }
            }
            history.push(ok(1, "write", json!([0, 1]), json!([0, 1]), 5_000, 5_001));
            history.push(ok(1, "read", json!([0, null]), json!([0, 1]), 5_010, 5_011));
            prop_assert!(holds(Model::Register, &history));
            history.push(ok(1, "read", json!([0, null]), json!([0, value]), 5_020, 5_021));
            prop_assert!(is_violated(Model::Register, &history, "not-linearizable"));
        }
    }
}
