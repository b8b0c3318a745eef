//! Are transactions isolated as promised? Decided by the crate `adya` from the dependencies between them.

use std::time::Duration;

use adya::{
    History, Opts, Report, Valid, Workload,
    history::{Interner, Mop, Op, OpType, ReadValue, Scalar},
};
use serde_json::Value;

use super::{Answer, Level, shape::Mismatch, witness};
use crate::history::{Operation, Outcome};

/// Which micro-operations transactions have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transactions {
    /// `append`, and reads of lists.
    ListAppend,
    /// `w`, and reads of one value.
    RwRegister,
}

/// Checks transactions at a level. `time_limit` is for each group of transactions that depend on each other in a circle.
pub fn isolation(operations: &[Operation], transactions: Transactions, level: Level, time_limit: Duration) -> Result<Answer, Mismatch> {
    let history = history(operations, transactions)?;
    if !operations.iter().any(Operation::is_ok) {
        return Ok(Answer::Unknown("no transaction was committed".into()));
    }
    let workload = match transactions {
        Transactions::ListAppend => Workload::ListAppend,
        Transactions::RwRegister => Workload::RwRegister,
    };
    let opts = Opts {
        models: vec![level.name().into()],
        timeout: time_limit,
        // Who read a version and then wrote the key installed the later version, at every level.
        wfr_keys: true,
        sequential_keys: level == Level::StrongSessionSerializable,
        linearizable_keys: level == Level::StrictSerializable,
        ..Opts::default()
    };
    Ok(answer(&adya::check(&history, workload, &opts), level, operations))
}

fn answer(report: &Report, level: Level, operations: &[Operation]) -> Answer {
    let kinds = report.anomaly_types.join(", ");
    match report.valid {
        Valid::True => Answer::Holds,
        Valid::False => {
            let message = format!("these transactions are not {level}: {kinds}");
            let mut witness = Vec::new();
            // The first of each kind is enough to see it.
            for anomaly in report.anomalies.values().filter_map(|anomalies| anomalies.first()) {
                let involved = operations.iter().filter(|operation| anomaly.ops.contains(&operation.index));
                witness.push(format!("{}: {}\n{}", anomaly.kind, anomaly.explanation.trim_end(), witness::lines(involved)));
            }
            Answer::Violated { finding: "isolation-violated", message, witness: witness.join("\n") }
        }
        Valid::Unknown => {
            let why = report.anomalies.values().flatten().map(|anomaly| anomaly.explanation.as_str()).next().unwrap_or_default();
            Answer::Unknown(format!("{kinds}: {why}"))
        }
    }
}

/// The history in the checker's terms. Both events of a transaction carry the position of its invocation, so that its proof names
/// transactions as everything else here does.
fn history(operations: &[Operation], transactions: Transactions) -> Result<History, Mismatch> {
    let mut interner = Interner::default();
    // Time, whether it is an end (a beginning at the same moment comes first: they were concurrent), event.
    let mut events: Vec<(u64, bool, Op)> = Vec::with_capacity(2 * operations.len());
    for operation in operations {
        let (kind, value) = match operation.outcome {
            Outcome::Ok => (OpType::Ok, &operation.returned),
            Outcome::Fail(_) => (OpType::Fail, &operation.value),
            Outcome::Unknown(_) => (OpType::Info, &operation.value),
        };
        let asked = steps(operation, &operation.value, transactions, &mut interner)?;
        let answered = steps(operation, value, transactions, &mut interner)?;
        let event = |kind, value, time: u64| Op {
            index: operation.index,
            kind,
            process: Some(operation.process.into()),
            value,
            time: i64::try_from(time).ok(),
        };
        let ended = operation.completed.unwrap_or(u64::MAX);
        events.push((operation.invoked, false, event(OpType::Invoke, asked, operation.invoked)));
        events.push((ended, true, event(kind, answered, ended)));
    }
    events.sort_by_key(|(time, is_end, _)| (*time, *is_end));
    Ok(History::from_ops(events.into_iter().map(|(_, _, event)| event).collect(), interner))
}

fn steps(operation: &Operation, value: &Value, transactions: Transactions, interner: &mut Interner) -> Result<Vec<Mop>, Mismatch> {
    let mismatch = |why| Mismatch::new(operation, why);
    if operation.f != "txn" {
        return Err(mismatch("it has transactions (txn) only"));
    }
    let steps = value.as_array().ok_or_else(|| mismatch("a transaction is a list of [\"append\" or \"w\" or \"r\", key, value]"))?;
    steps
        .iter()
        .map(|step| {
            let Some([f, key, value]) = step.as_array().map(Vec::as_slice) else {
                return Err(mismatch("a step of a transaction is [\"append\" or \"w\" or \"r\", key, value]"));
            };
            let mut scalar = |value: &Value| scalar(value).map(|scalar| interner.intern(scalar));
            let of_scalar = "keys and values are whole numbers or texts";
            let key = scalar(key).ok_or_else(|| mismatch(of_scalar))?;
            match (f.as_str(), transactions) {
                (Some("append"), Transactions::ListAppend) => {
                    Ok(Mop::Append { key, value: scalar(value).ok_or_else(|| mismatch(of_scalar))? })
                }
                (Some("w"), Transactions::RwRegister) => Ok(Mop::Write { key, value: scalar(value).ok_or_else(|| mismatch(of_scalar))? }),
                (Some("r"), Transactions::ListAppend) => match value {
                    Value::Null => Ok(Mop::Read { key, value: ReadValue::Nil }),
                    Value::Array(list) => {
                        let list =
                            list.iter().map(|element| scalar(element).ok_or_else(|| mismatch(of_scalar))).collect::<Result<_, _>>()?;
                        Ok(Mop::Read { key, value: ReadValue::List(list) })
                    }
                    _ => Err(mismatch("a read of list-append answers a list or nothing")),
                },
                (Some("r"), Transactions::RwRegister) => match value {
                    Value::Null => Ok(Mop::Read { key, value: ReadValue::Nil }),
                    value => Ok(Mop::Read { key, value: ReadValue::Scalar(scalar(value).ok_or_else(|| mismatch(of_scalar))?) }),
                },
                (_, Transactions::ListAppend) => Err(mismatch("list-append has the steps \"append\" and \"r\"")),
                (_, Transactions::RwRegister) => Err(mismatch("rw-register has the steps \"w\" and \"r\"")),
            }
        })
        .collect()
}

fn scalar(value: &Value) -> Option<Scalar> {
    match value {
        Value::Number(number) => number.as_i64().map(Scalar::Int),
        Value::String(text) => Some(Scalar::Str(text.clone())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::check::sample::{ok, unknown};

    const LIMIT: Duration = Duration::from_secs(5);

    fn judged(operations: &[Operation], transactions: Transactions, level: Level) -> Answer {
        isolation(operations, transactions, level, LIMIT).unwrap()
    }

    fn is_violated(answer: &Answer, anomaly: &str) -> bool {
        matches!(answer, Answer::Violated { finding: "isolation-violated", message, witness } if message.contains(anomaly) && witness.contains('#'))
    }

    /// Each reads both keys empty and writes another one.
    fn write_skew() -> [Operation; 2] {
        let asked = |key: &str| json!([["r", "x", null], ["r", "y", null], ["append", key, 1]]);
        let read = |key: &str| json!([["r", "x", []], ["r", "y", []], ["append", key, 1]]);
        [ok(0, "txn", asked("x"), read("x"), 0, 10), ok(1, "txn", asked("y"), read("y"), 1, 11)]
    }

    #[test]
    fn write_skew_is_allowed_by_snapshots_and_not_by_serializability() {
        assert_eq!(judged(&write_skew(), Transactions::ListAppend, Level::SnapshotIsolation), Answer::Holds);
        assert!(is_violated(&judged(&write_skew(), Transactions::ListAppend, Level::Serializable), "G2-item"));
    }

    #[test]
    fn a_lost_update_is_found_in_registers() {
        let update = |process: u32, value: u64, at: u64| {
            let (asked, read) = (json!([["r", 0, null], ["w", 0, value]]), json!([["r", 0, 1], ["w", 0, value]]));
            ok(process, "txn", asked, read, at, at + 10)
        };
        let first = ok(9, "txn", json!([["w", 0, 1]]), json!([["w", 0, 1]]), 0, 1);
        let history = [first, update(0, 2, 5), update(1, 3, 6)];
        assert!(is_violated(&judged(&history, Transactions::RwRegister, Level::SnapshotIsolation), "lost-update"));
        assert_eq!(judged(&history[..2], Transactions::RwRegister, Level::StrictSerializable), Answer::Holds);
    }

    #[test]
    fn a_stale_read_breaks_strict_serializability_only() {
        let history = [
            ok(0, "txn", json!([["append", 0, 1]]), json!([["append", 0, 1]]), 0, 1),
            ok(0, "txn", json!([["append", 0, 2]]), json!([["append", 0, 2]]), 2, 3),
            ok(1, "txn", json!([["r", 0, null]]), json!([["r", 0, [1]]]), 5, 6),
            ok(1, "txn", json!([["r", 0, null]]), json!([["r", 0, [1, 2]]]), 7, 8),
        ];
        assert_eq!(judged(&history, Transactions::ListAppend, Level::Serializable), Answer::Holds);
        assert!(is_violated(&judged(&history, Transactions::ListAppend, Level::StrictSerializable), "realtime"));
    }

    #[test]
    fn what_may_have_been_committed_may_be_read() {
        let history = [
            unknown(0, "txn", json!([["append", 0, 1]]), 0, Some(1)),
            ok(1, "txn", json!([["r", 0, null], ["append", 0, 2]]), json!([["r", 0, [1]], ["append", 0, 2]]), 5, 6),
            unknown(2, "txn", json!([["append", 0, 3]]), 7, None),
            ok(1, "txn", json!([["r", 0, null]]), json!([["r", 0, [1, 2, 3]]]), 8, 9),
        ];
        assert_eq!(judged(&history, Transactions::ListAppend, Level::StrictSerializable), Answer::Holds);
    }

    #[test]
    fn a_history_of_something_else_is_named_by_its_operation() {
        let mut history = write_skew();
        history[1].index = 41;
        history[1].f = "read".into();
        let error = isolation(&history, Transactions::ListAppend, Level::Serializable, LIMIT).unwrap_err();
        assert_eq!(error.index, 41);
        history[1].f = "txn".into();
        assert!(isolation(&history, Transactions::RwRegister, Level::Serializable, LIMIT).is_err());
    }
}
