//! What a model expects of an operation's value, and what is said when it is not so.

use serde_json::Value;

use crate::history::Operation;

/// An operation that is none of the model's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("operation {index} ({f} {value}) is none of this model's: {why}")]
pub struct Mismatch {
    /// Position of its invocation in the history.
    pub index: u64,
    /// Its kind.
    pub f: String,
    /// Its value at the end, or else at the beginning.
    pub value: Value,
    /// What the model expects.
    pub why: &'static str,
}

impl Mismatch {
    /// Of an operation.
    pub fn new(operation: &Operation, why: &'static str) -> Self {
        Self { index: operation.index, f: operation.f.to_string(), value: final_value(operation).clone(), why }
    }
}

/// An operation's value at its end or, where that says nothing, at its beginning.
pub fn final_value(operation: &Operation) -> &Value {
    if operation.returned.is_null() { &operation.value } else { &operation.returned }
}

/// `[key, value]`.
pub fn pair(value: &Value) -> Option<(&Value, &Value)> {
    match value.as_array()?.as_slice() {
        [key, value] => Some((key, value)),
        _ => None,
    }
}

/// The operation's number.
pub fn number(operation: &Operation, value: &Value, why: &'static str) -> Result<i64, Mismatch> {
    value.as_i64().ok_or_else(|| Mismatch::new(operation, why))
}

/// The elements of a list that was read, each as JSON text.
pub fn elements(operation: &Operation) -> Result<Vec<String>, Mismatch> {
    let list = operation.returned.as_array().ok_or_else(|| Mismatch::new(operation, "a read answers a list"))?;
    Ok(list.iter().map(Value::to_string).collect())
}

/// The first element that is there twice.
pub fn duplicate(elements: &[String]) -> Option<&String> {
    let mut seen = std::collections::HashSet::new();
    elements.iter().find(|element| !seen.insert(element.as_str()))
}
