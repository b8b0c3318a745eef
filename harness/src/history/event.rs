//! The events of a history and the operations that they make.

use std::{borrow::Cow, collections::HashMap};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Acknowledged.
    Ok,
    /// Surely not applied, and why.
    Fail(String),
    /// May or may not have been applied (a time-out, a broken connection), and why.
    Unknown(String),
}

/// What an event says; the words are those of Jepsen's histories, so that its tools read ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// An operation begins.
    Invoke,
    /// It was acknowledged.
    Ok,
    /// It was surely not applied.
    Fail,
    /// Nobody knows.
    Info,
}

/// One line of a history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Position in the history.
    pub index: u64,
    /// Monotonic nanoseconds from the history's origin.
    pub time: u64,
    /// The client. It has one operation under way at most, and none after one that ended with `info`.
    pub process: u32,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// The operation, such as `add`, `read`, `cas` or `txn`.
    pub f: Cow<'static, str>,
    /// What it is about: a number, `[key, value]`, `[key, [old, new]]`, or a transaction's list of micro-operations. At the end
    /// of a read, what was read.
    #[serde(default)]
    pub value: Value,
    /// The database's words, for `fail` and `info`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// An operation from its invocation to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Position of its invocation in the history.
    pub index: u64,
    /// The client.
    pub process: u32,
    /// What kind, such as `add`.
    pub f: Cow<'static, str>,
    /// What it was asked to do.
    pub value: Value,
    /// What its end says; the same as `value` where nothing was read, null where it never ended.
    pub returned: Value,
    /// Monotonic nanoseconds.
    pub invoked: u64,
    /// Monotonic nanoseconds; [`None`] when the history ends before it does.
    pub completed: Option<u64>,
    /// How it ended; one that never did is unknown.
    pub outcome: Outcome,
}

impl Operation {
    /// Whether it was acknowledged.
    pub fn is_ok(&self) -> bool {
        self.outcome == Outcome::Ok
    }

    /// Its value as a number, for workloads whose values are numbers.
    pub fn number(&self) -> Option<u64> {
        self.value.as_u64()
    }
}

/// Pairs invocations with ends, in the order of invocation.
pub fn operations(events: &[Event]) -> Vec<Operation> {
    let mut open: HashMap<u32, usize> = HashMap::new();
    let mut operations: Vec<Operation> = Vec::new();
    for event in events {
        if event.kind == EventKind::Invoke {
            open.insert(event.process, operations.len());
            operations.push(Operation {
                index: event.index,
                process: event.process,
                f: event.f.clone(),
                value: event.value.clone(),
                returned: Value::Null,
                invoked: event.time,
                completed: None,
                outcome: Outcome::Unknown("the history ends before it does".into()),
            });
        } else if let Some(at) = open.remove(&event.process) {
            let why = event.error.clone().unwrap_or_default();
            let operation = &mut operations[at];
            operation.completed = Some(event.time);
            operation.returned = event.value.clone();
            operation.outcome = match event.kind {
                EventKind::Ok => Outcome::Ok,
                EventKind::Fail => Outcome::Fail(why),
                EventKind::Info | EventKind::Invoke => Outcome::Unknown(why),
            };
        }
    }
    operations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(index: u64, process: u32, kind: EventKind, value: u64) -> Event {
        Event { index, time: index * 10, process, kind, f: "add".into(), value: value.into(), error: None }
    }

    #[test]
    fn interleaved_events_are_paired_by_process() {
        let events = [
            event(0, 1, EventKind::Invoke, 7),
            event(1, 2, EventKind::Invoke, 8),
            event(2, 1, EventKind::Ok, 7),
            event(3, 1, EventKind::Invoke, 9),
            event(4, 2, EventKind::Info, 8),
        ];
        let operations = operations(&events);
        assert_eq!(
            operations.iter().map(|o| (o.number(), o.is_ok(), o.completed)).collect::<Vec<_>>(),
            vec![(Some(7), true, Some(20)), (Some(8), false, Some(40)), (Some(9), false, None)]
        );
    }

    #[test]
    fn a_line_reads_as_jepsens() {
        let line = serde_json::to_string(&event(3, 1, EventKind::Info, 9)).unwrap();
        assert_eq!(line, r#"{"index":3,"time":30,"process":1,"type":"info","f":"add","value":9}"#);
    }
}
