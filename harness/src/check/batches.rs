//! Are batches of points there, and whole?

use std::collections::HashMap;

use super::{
    Answer,
    shape::{Mismatch, number},
    witness,
};
use crate::history::{Operation, Outcome};

/// Decides a history of [`crate::workload::Points`] that ends with a read: every batch acknowledged before the read has all its points, none has more
/// than it was given, none that failed or was never written has any. A batch that ended unknown may be there in part.
pub fn batches(operations: &[Operation]) -> Result<Answer, Mismatch> {
    let mut writes: HashMap<i64, (i64, &Operation)> = HashMap::new();
    let mut read: Option<&Operation> = None;
    for operation in operations {
        match operation.f.as_ref() {
            "write" => {
                let why = "a write of points is {\"batch\": number, \"points\": number}";
                let of = |name: &str| number(operation, &operation.value[name], why);
                writes.insert(of("batch")?, (of("points")?, operation));
            }
            "read" if operation.is_ok() => read = read.filter(|read| read.invoked > operation.invoked).or(Some(operation)),
            "read" => {}
            _ => return Err(Mismatch::new(operation, "points have write and read")),
        }
    }
    let Some(read) = read else { return Ok(Answer::Unknown("no read of the points was answered: nothing says what is there".into())) };
    let found = found(read)?;
    let violated = |finding, message, write: Option<&Operation>| Answer::Violated { finding, message, witness: witness::lines(write) };
    for (batch, count) in &found {
        match writes.get(batch) {
            Some((points, write)) if count > points => {
                let message = format!("batch {batch} has {count} points and was given {points}");
                return Ok(violated("duplicated", message, Some(*write)));
            }
            Some((_, write)) if matches!(write.outcome, Outcome::Fail(_)) && *count > 0 => {
                return Ok(violated("phantom", format!("batch {batch} has {count} points although its write failed"), Some(*write)));
            }
            None if *count > 0 => return Ok(violated("phantom", format!("batch {batch} has {count} points and was never written"), None)),
            _ => {}
        }
    }
    let mut acknowledged: Vec<_> = writes.iter().filter(|(_, (_, write))| write.is_ok() && write.completed < Some(read.invoked)).collect();
    acknowledged.sort_by_key(|(batch, _)| **batch);
    for (batch, (points, write)) in acknowledged {
        let count = found.get(batch).copied().unwrap_or(0);
        if count < *points {
            let finding = if count == 0 { "acknowledged-lost" } else { "batch-torn" };
            return Ok(violated(finding, format!("batch {batch} was acknowledged and has {count} of {points} points"), Some(*write)));
        }
    }
    Ok(Answer::Holds)
}

/// Points a batch.
fn found(read: &Operation) -> Result<HashMap<i64, i64>, Mismatch> {
    let why = "a read of points answers a map of batches to numbers of points";
    let map = read.returned.as_object().ok_or_else(|| Mismatch::new(read, why))?;
    map.iter().map(|(batch, count)| Ok((batch.parse().map_err(|_| Mismatch::new(read, why))?, number(read, count, why)?))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::check::sample::{failed, ok, unknown};

    fn finding(found: Value) -> Option<&'static str> {
        let batch = |number: u64| json!({"batch": number, "points": 20});
        let history = [
            ok(0, "write", batch(0), batch(0), 0, 1),
            failed(0, "write", batch(1), 10, 11),
            unknown(0, "write", batch(2), 20, None),
            ok(9, "read", Value::Null, found, 30, 31),
        ];
        match batches(&history).unwrap() {
            Answer::Violated { finding, .. } => Some(finding),
            answer => {
                assert_eq!(answer, Answer::Holds);
                None
            }
        }
    }

    #[test]
    fn each_defect_has_its_name() {
        assert_eq!(finding(json!({"0": 20})), None);
        assert_eq!(finding(json!({"0": 20, "2": 7})), None);
        assert_eq!(finding(json!({})), Some("acknowledged-lost"));
        assert_eq!(finding(json!({"0": 19})), Some("batch-torn"));
        assert_eq!(finding(json!({"0": 21})), Some("duplicated"));
        assert_eq!(finding(json!({"0": 20, "1": 1})), Some("phantom"));
        assert_eq!(finding(json!({"0": 20, "8": 1})), Some("phantom"));
    }

    #[test]
    fn what_says_nothing_is_not_decided() {
        assert!(matches!(batches(&[]).unwrap(), Answer::Unknown(_)));
        assert_eq!(batches(&[ok(0, "write", 3, 3, 5, 6)]).unwrap_err().index, 5);
        assert_eq!(batches(&[ok(0, "read", Value::Null, json!({"a": 1}), 5, 6)]).unwrap_err().index, 5);
    }
}
