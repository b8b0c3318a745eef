//! Does anybody see time go back?

use std::collections::HashMap;

use serde_json::Value;

use super::{
    Answer,
    shape::{Mismatch, pair},
    witness,
};
use crate::history::{Operation, Outcome};

/// No process reads a key back to an earlier value. The order of a key's values is that in which its only writer wrote them (see
/// [`crate::workload::Monotonic`]); nothing was there (null) before the first.
///
/// A write that ended unknown may take effect at any later time, so going back to its value is no accusation.
pub fn monotonic_reads(operations: &[Operation]) -> Result<Answer, Mismatch> {
    let mut keys: HashMap<String, Key> = HashMap::new();
    for write in operations.iter().filter(|operation| operation.f == "write") {
        let (key, value) = pair(&write.value).ok_or_else(|| Mismatch::new(write, "a write is [key, value]"))?;
        let key = keys.entry(key.to_string()).or_default();
        if key.last.is_some_and(|last| last.is_ok() && last.completed > Some(write.invoked)) {
            return Ok(Answer::Unknown(format!(
                "operation {} writes a key that another is being written to: the order is not known",
                write.index
            )));
        }
        key.last = Some(write);
        if key.places.insert(value.to_string(), key.writes.len()).is_some() {
            return Ok(Answer::Unknown(format!(
                "operation {} writes a value that was written before: reads do not tell which they saw",
                write.index
            )));
        }
        key.writes.push(write);
    }
    let none = Key::default();
    let mut seen: HashMap<(u32, String), (usize, &Operation)> = HashMap::new();
    let mut is_read = false;
    let mut reads: Vec<&Operation> = operations.iter().filter(|operation| operation.f != "write").collect();
    reads.sort_by_key(|read| read.invoked);
    for read in reads {
        if read.f != "read" {
            return Err(Mismatch::new(read, "monotonic-reads has write and read"));
        }
        if !read.is_ok() {
            continue;
        }
        is_read = true;
        let (name, value) = pair(&read.returned).ok_or_else(|| Mismatch::new(read, "a read answers [key, value]"))?;
        let (key, name) = (keys.get(&name.to_string()).unwrap_or(&none), name.to_string());
        let Some(place) = key.place(value) else {
            let message = format!("a read of {name} answered {value}, which nobody wrote");
            return Ok(Answer::Violated { finding: "read-from-nowhere", message, witness: witness::line(read) });
        };
        let before = seen.entry((read.process, name.clone())).or_insert((place, read));
        if place >= before.0 {
            *before = (place, read);
        } else if place == 0 || !matches!(key.writes[place - 1].outcome, Outcome::Unknown(_)) {
            let message = format!("process {} saw {name} go back to {value}", read.process);
            let writes = [place, before.0].into_iter().filter(|place| *place > 0).map(|place| key.writes[place - 1]);
            let witness = witness::lines(writes.chain([before.1, read]));
            return Ok(Answer::Violated { finding: "reads-went-back", message, witness });
        }
    }
    Ok(if is_read { Answer::Holds } else { Answer::Unknown("no read was answered".into()) })
}

#[derive(Default)]
struct Key<'a> {
    /// In order.
    writes: Vec<&'a Operation>,
    /// Where each value is in `writes`.
    places: HashMap<String, usize>,
    last: Option<&'a Operation>,
}

impl Key<'_> {
    /// 0 is before the first write, 1 the first write.
    fn place(&self, value: &Value) -> Option<usize> {
        if value.is_null() { Some(0) } else { self.places.get(&value.to_string()).map(|place| place + 1) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::check::sample::{ok, unknown};

    fn write(value: u64, at: u64) -> Operation {
        ok(0, "write", json!([0, value]), json!([0, value]), at, at + 1)
    }

    fn read(process: u32, value: impl Into<Value>, at: u64) -> Operation {
        let value = value.into();
        ok(process, "read", json!([0, null]), json!([0, value]), at, at + 1)
    }

    fn finding(history: &[Operation]) -> Option<&'static str> {
        match monotonic_reads(history).unwrap() {
            Answer::Violated { finding, .. } => Some(finding),
            _ => None,
        }
    }

    #[test]
    fn each_reader_has_its_own_time() {
        let history = [write(1, 0), write(2, 10), read(1, json!(2), 20), read(2, json!(1), 30), read(2, json!(2), 40)];
        assert_eq!(monotonic_reads(&history).unwrap(), Answer::Holds);
    }

    #[test]
    fn going_back_is_found_even_to_nothing() {
        let writes = [write(1, 0), write(2, 10)];
        let with = |reads: &[Operation]| writes.iter().chain(reads).cloned().collect::<Vec<_>>();
        assert_eq!(finding(&with(&[read(1, json!(2), 20), read(1, json!(1), 30)])), Some("reads-went-back"));
        assert_eq!(finding(&with(&[read(1, json!(2), 20), read(1, json!(null), 30)])), Some("reads-went-back"));
        assert_eq!(finding(&with(&[read(1, json!(9), 20)])), Some("read-from-nowhere"));
    }

    #[test]
    fn a_write_that_nobody_knows_of_may_come_late() {
        let late = unknown(0, "write", json!([0, 1]), 0, Some(5));
        let history = [late, write(2, 10), read(1, json!(2), 20), read(1, json!(1), 30)];
        assert_eq!(monotonic_reads(&history).unwrap(), Answer::Holds);
    }

    #[test]
    fn what_does_not_tell_an_order_is_not_decided() {
        let overlapping = [ok(0, "write", json!([0, 1]), json!([0, 1]), 0, 9), write(2, 5), read(1, json!(2), 20)];
        assert!(matches!(monotonic_reads(&overlapping).unwrap(), Answer::Unknown(_)));
        assert!(matches!(monotonic_reads(&[write(1, 0), write(1, 5), read(1, json!(1), 9)]).unwrap(), Answer::Unknown(_)));
        assert!(matches!(monotonic_reads(&[write(1, 0)]).unwrap(), Answer::Unknown(_)));
        assert_eq!(monotonic_reads(&[ok(1, "read", Value::Null, 3, 8, 9)]).unwrap_err().index, 8);
    }

    proptest! {
        /// Readers that follow at any distance are accepted; one step back of one of them is found.
        #[test]
        fn one_step_back_is_found(steps in prop::collection::vec((0_u32..3, 0_u64..3), 2..60), at in any::<prop::sample::Index>()) {
            let mut history: Vec<Operation> = (1..=200).map(|value| write(value, value * 10)).collect();
            let mut places = [1_u64; 3];
            for (number, (reader, step)) in (0..).zip(&steps) {
                places[*reader as usize] += step;
                history.push(read(reader + 1, json!(places[*reader as usize]), 10_000 + number * 10));
            }
            prop_assert_eq!(finding(&history), None);
            let victim = at.index(steps.len());
            let (reader, seen) = (steps[victim].0 + 1, history[200 + victim].returned[1].as_u64().unwrap());
            history.push(read(reader, json!(seen - 1), 20_000));
            prop_assert_eq!(finding(&history), if seen == 1 { Some("read-from-nowhere") } else { Some("reads-went-back") });
        }
    }
}
