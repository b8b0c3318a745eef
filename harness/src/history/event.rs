//! The events of a history and the operations that they make.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

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
    /// The client. It has one operation under way at most.
    pub process: u32,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// The operation, such as `insert`.
    pub f: String,
    /// Its value.
    pub value: u64,
    /// The database's words, for `fail` and `info`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// An operation from its invocation to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// The client.
    pub process: u32,
    /// Its value.
    pub value: u64,
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
}

/// Pairs invocations with ends, in the order of invocation.
pub fn operations(events: &[Event]) -> Vec<Operation> {
    let mut open: HashMap<u32, usize> = HashMap::new();
    let mut operations: Vec<Operation> = Vec::new();
    for event in events {
        if event.kind == EventKind::Invoke {
            open.insert(event.process, operations.len());
            operations.push(Operation {
                process: event.process,
                value: event.value,
                invoked: event.time,
                completed: None,
                outcome: Outcome::Unknown("the history ends before it does".into()),
            });
        } else if let Some(at) = open.remove(&event.process) {
            let why = event.error.clone().unwrap_or_default();
            operations[at].completed = Some(event.time);
            operations[at].outcome = match event.kind {
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
        Event { index, time: index * 10, process, kind, f: "insert".into(), value, error: None }
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
            operations.iter().map(|o| (o.value, o.is_ok(), o.completed)).collect::<Vec<_>>(),
            vec![(7, true, Some(20)), (8, false, Some(40)), (9, false, None)]
        );
    }

    #[test]
    fn a_line_reads_as_jepsens() {
        let line = serde_json::to_string(&event(3, 1, EventKind::Info, 9)).unwrap();
        assert_eq!(line, r#"{"index":3,"time":30,"process":1,"type":"info","f":"insert","value":9}"#);
    }
}
