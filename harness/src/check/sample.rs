//! Operations for the tests of the checks. Times are nanoseconds; an operation's position is its beginning.

use serde_json::Value;

use crate::history::{Operation, Outcome};

fn operation(
    process: u32,
    f: &'static str,
    value: Value,
    returned: Value,
    invoked: u64,
    completed: Option<u64>,
    outcome: Outcome,
) -> Operation {
    Operation { index: invoked, process, f: f.into(), value, returned, invoked, completed, outcome }
}

/// An acknowledged operation.
pub fn ok(process: u32, f: &'static str, asked: impl Into<Value>, answered: impl Into<Value>, invoked: u64, completed: u64) -> Operation {
    operation(process, f, asked.into(), answered.into(), invoked, Some(completed), Outcome::Ok)
}

/// An operation that was surely not applied.
pub fn failed(process: u32, f: &'static str, asked: impl Into<Value>, invoked: u64, completed: u64) -> Operation {
    let asked = asked.into();
    operation(process, f, asked.clone(), asked, invoked, Some(completed), Outcome::Fail("refused".into()))
}

/// An operation of which nobody knows.
pub fn unknown(process: u32, f: &'static str, asked: impl Into<Value>, invoked: u64, completed: Option<u64>) -> Operation {
    let asked = asked.into();
    operation(process, f, asked.clone(), asked, invoked, completed, Outcome::Unknown("time-out".into()))
}
