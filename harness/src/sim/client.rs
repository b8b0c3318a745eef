//! Clients: each has one operation under way, and writes down what it did and what came of it.

use serde_json::{Value, json};

use super::schedule::NODES;
use crate::{
    history::{Event, EventKind, Outcome},
    workload::{Completion, Generator, Invocation},
};

/// What a `read null` reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whole {
    /// All that was added.
    Set,
    /// The sum of all that was added.
    Count,
    /// The bank's accounts.
    Accounts,
}

/// The operations of a simulation.
pub struct Load {
    /// Thinks of them.
    pub generator: Box<dyn Generator>,
    /// What their reads of everything read.
    pub whole: Whole,
    /// Whether everything is read once more when all faults are healed.
    pub reads_last: bool,
}

/// The operation that a client is at.
struct UnderWay {
    request: u64,
    f: &'static str,
    asked: Value,
}

/// One client.
pub struct Client {
    number: usize,
    process: u32,
    /// The node that it asks, until that does not answer.
    pub node: usize,
    token: Value,
    under_way: Option<UnderWay>,
}

impl Client {
    pub fn new(number: usize) -> Self {
        Self { number, process: number as u32, node: number % NODES, token: Value::Null, under_way: None }
    }

    /// Begins an operation; answers what to ask the store. A token that it lacks ends a lock's operation at once.
    pub fn begin(
        &mut self,
        invocation: &Invocation,
        whole: Whole,
        request: u64,
        now: u64,
        history: &mut Vec<Event>,
    ) -> (&'static str, Value) {
        let Invocation { f, value } = invocation.clone();
        note(history, now, self.process, EventKind::Invoke, f, value.clone(), None);
        self.under_way = Some(UnderWay { request, f, asked: value.clone() });
        let asked = match (f, &value) {
            ("acquire", _) => self.number.into(),
            ("write" | "release", Value::Null) => self.token.clone(),
            ("read", Value::Null) => match whole {
                Whole::Set => json!("set"),
                Whole::Count => json!("count"),
                Whole::Accounts => json!("accounts"),
            },
            _ => value,
        };
        if let Some(node) = asked[0].as_str().filter(|_| f == "probe").and_then(|name| name.strip_prefix('n')) {
            self.node = node.parse().unwrap_or(0);
        }
        (f, asked)
    }

    /// Ends its operation, if it is still at that; answers whether it was.
    pub fn end(&mut self, request: u64, completion: Completion, clients: usize, now: u64, history: &mut Vec<Event>) -> bool {
        let Some(UnderWay { f, asked, .. }) = self.under_way.take_if(|under_way| under_way.request == request) else { return false };
        let Completion { outcome, value } = completion;
        if f == "acquire" && outcome == Outcome::Ok {
            self.token = value.clone().unwrap_or_default();
        }
        let is_guarded = matches!(f, "write" | "release") && asked.is_null();
        let value = value.unwrap_or_else(|| if is_guarded { self.token.clone() } else { asked });
        if f == "release" {
            self.token = Value::Null;
        }
        let process = self.process;
        let (kind, why) = match outcome {
            Outcome::Ok => (EventKind::Ok, None),
            Outcome::Fail(why) => (EventKind::Fail, Some(why)),
            Outcome::Unknown(why) => {
                self.process += clients as u32;
                (EventKind::Info, Some(why))
            }
        };
        if kind != EventKind::Ok {
            self.node = (self.node + 1) % NODES;
        }
        note(history, now, process, kind, f, value, why);
        true
    }

    /// Whether it may ask for what it is about to: a guarded write needs a token.
    pub fn lacks_token(&self, invocation: &Invocation) -> bool {
        matches!(invocation.f, "write" | "release") && invocation.value.is_null() && self.token.is_null()
    }
}

/// Appends an event; `now` is in microseconds.
fn note(history: &mut Vec<Event>, now: u64, process: u32, kind: EventKind, f: &'static str, value: Value, error: Option<String>) {
    history.push(Event { index: history.len() as u64, time: now * 1_000, process, kind, f: f.into(), value, error });
}
