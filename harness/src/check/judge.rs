//! From a model and a history to an answer.

use std::time::Duration;

use serde_json::Value;

use super::{
    Answer, Checked, Model, bank, causal, counter, fencing,
    isolation::{Transactions, isolation},
    ledger, linearizable, monotonic, overlaps, retained,
    shape::Mismatch,
};
use crate::history::Operation;

/// How long a check may search, unless the caller says otherwise.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Checks a history against a model, within a minute; see [`judge_within`].
pub fn judge(model: Model, operations: &[Operation]) -> Checked {
    judge_within(model, operations, TIME_LIMIT)
}

/// Checks a history against a model. Where the search takes longer than the limit, where the history has nothing to decide from, and where
/// an operation is none of the model's, the answer is [`Answer::Unknown`] and says which.
pub fn judge_within(model: Model, operations: &[Operation], time_limit: Duration) -> Checked {
    try_judge_within(model, operations, time_limit).unwrap_or_else(|mismatch| Checked {
        model: model.name(),
        operations: operations.len() as u64,
        answer: Answer::Unknown(mismatch.to_string()),
    })
}

/// As [`judge_within`], for a history of somebody else's: an operation that is none of the model's is an error of its own.
///
/// # Errors
/// [`Mismatch`], with the operation.
pub fn try_judge_within(model: Model, operations: &[Operation], time_limit: Duration) -> Result<Checked, Mismatch> {
    let answer = decide(model, operations, time_limit)?;
    Ok(Checked { model: model.name(), operations: operations.len() as u64, answer })
}

fn decide(model: Model, operations: &[Operation], time_limit: Duration) -> Result<Answer, Mismatch> {
    match model {
        Model::Register => linearizable::register(operations, false, time_limit),
        Model::CasRegister => linearizable::register(operations, true, time_limit),
        Model::Mutex => linearizable::mutex(operations, time_limit),
        Model::Set => linearizable::set(operations, time_limit),
        Model::Counter => linearizable::counter(operations, time_limit),
        Model::Queue => linearizable::queue(operations, time_limit),
        Model::CounterBounds => counter::counter_bounds(operations),
        Model::Durability => retained::retained(operations, 0),
        Model::BoundedLoss { lost_max } => retained::retained(operations, lost_max),
        Model::Ledger => ledger::ledger(operations),
        Model::Bank { total } => bank::bank(operations, total),
        Model::ListAppend(level) => isolation(operations, Transactions::ListAppend, level, time_limit),
        Model::RwRegister(level) => isolation(operations, Transactions::RwRegister, level, time_limit),
        Model::MonotonicReads => monotonic::monotonic_reads(operations),
        Model::Causal => causal::causal(operations),
        Model::ExclusiveWriter => exclusive_writer(operations),
        Model::Fencing => fencing::fencing(operations),
    }
}

/// A history of probes, each of them a write that one node in one epoch accepted; see [`overlaps`].
fn exclusive_writer(operations: &[Operation]) -> Result<Answer, Mismatch> {
    let is_probe = |operation: &&Operation| operation.f == "probe" && operation.value.get(0).is_some_and(Value::is_string);
    if let Some(other) = operations.iter().find(|operation| !is_probe(operation)) {
        return Err(Mismatch::new(other, "exclusive-writer has probe [node, …]"));
    }
    Ok(match overlaps(operations).into_iter().next() {
        Some(found) => Answer::Violated { finding: "two-primaries", message: found.message(), witness: found.witness() },
        None if operations.iter().any(Operation::is_ok) => Answer::Holds,
        None => Answer::Unknown("no probe ever found a writable node, so the watch was blind".into()),
    })
}
