//! The state that the log is applied to: keys with values and versions.

use std::{cmp::Ordering, collections::BTreeMap};

use serde_json::{Map, Value, json};

use super::{Bug, transaction::Commit};
use crate::{history::Outcome, workload::Completion};

/// How long a lock is held at most, in simulated microseconds.
const LEASE_US: i64 = 60_000;
/// Accounts of the bank, and what each starts with.
const ACCOUNTS: u64 = 4;
const BALANCE: i64 = 100;

/// What an entry of the log does.
#[derive(Debug, Clone)]
pub enum Command {
    /// Nothing: the first entry of a leader.
    Begin,
    /// Something that is decided when it is applied.
    Direct {
        /// The operation.
        f: &'static str,
        /// What it is about.
        value: Value,
        /// By whose clock, in microseconds.
        stamp: i64,
    },
    /// The end of a transaction that has read already.
    Commit(Commit),
}

/// A key's value, how often it changed, and the clock time of the last change.
#[derive(Debug, Clone, Default)]
pub struct Cell {
    /// Null: never written.
    pub value: Value,
    /// 0: never written.
    pub version: u64,
    stamp: i64,
}

/// The state of one node.
#[derive(Debug, Clone)]
pub struct Store {
    bug: Option<Bug>,
    cells: BTreeMap<String, Cell>,
}

impl Store {
    /// Empty, but for the bank's accounts.
    pub fn new(bug: Option<Bug>) -> Self {
        let account = |number: u64| (account(number), Cell { value: BALANCE.into(), version: 0, stamp: 0 });
        Self { bug, cells: (0..ACCOUNTS).map(account).collect() }
    }

    /// What a key holds.
    pub fn get(&self, key: &str) -> Cell {
        self.cells.get(key).cloned().unwrap_or_default()
    }

    /// Applies an entry; the answer is for the client that asked. `node` and `term` are those of the leader that wrote the entry.
    pub fn apply(&mut self, command: &Command, node: usize, term: u64) -> Completion {
        match command {
            Command::Begin => Completion::of(Outcome::Ok),
            Command::Direct { f: "probe", .. } => Completion::read(json!([format!("n{node}"), term])),
            Command::Direct { f: "write", value, stamp } if value.is_array() => self.write(value, *stamp),
            Command::Direct { f: "write", value, .. } => self.guarded(value),
            Command::Direct { f: "add", value, .. } => self.add(value),
            Command::Direct { f: "acquire", value, stamp } => self.acquire(value, *stamp),
            Command::Direct { f: "release", value, .. } => self.release(value),
            Command::Direct { value, .. } => Completion::read(self.read(value)),
            Command::Commit(commit) => self.commit(commit),
        }
    }

    /// What a read answers in this state: of one register, of all accounts, of the set and the counter, or of a transaction that only reads.
    pub fn read(&self, value: &Value) -> Value {
        match value {
            Value::String(what) if what == "accounts" => {
                (0..ACCOUNTS).map(|number| (number.to_string(), self.get(&account(number)).value)).collect::<Map<_, _>>().into()
            }
            Value::String(what) if what == "set" => self.get("set").value.as_array().cloned().unwrap_or_default().into(),
            Value::String(what) if what == "count" => self.get("count").value.as_i64().unwrap_or(0).into(),
            Value::Array(steps) if steps.iter().all(Value::is_array) => {
                steps.iter().map(|step| json!(["r", step[1], self.get(&key(&step[1])).value])).collect::<Vec<_>>().into()
            }
            value => json!([value[0], self.get(&key(&value[0])).value]),
        }
    }

    fn write(&mut self, value: &Value, stamp: i64) -> Completion {
        let cell = self.cells.entry(key(&value[0])).or_default();
        let is_older = self.bug == Some(Bug::ClockSkewedLastWriteWins) && stamp.cmp(&cell.stamp) == Ordering::Less;
        if !is_older {
            *cell = Cell { value: value[1].clone(), version: cell.version + 1, stamp };
        }
        Completion::of(Outcome::Ok)
    }

    /// Puts a value into the set and adds it to the counter: a history reads the one or the other.
    fn add(&mut self, value: &Value) -> Completion {
        let mut set = self.get("set").value.as_array().cloned().unwrap_or_default();
        set.push(value.clone());
        self.set("set", set.into());
        let count = self.get("count").value.as_i64().unwrap_or(0) + value.as_i64().unwrap_or(0);
        self.set("count", count.into());
        Completion::of(Outcome::Ok)
    }

    /// Grants the lock and the next token when it is free or its lease has ended.
    fn acquire(&mut self, client: &Value, stamp: i64) -> Completion {
        let held = self.get("lock");
        if held.value[0].is_number() && stamp < held.value[2].as_i64().unwrap_or(0) {
            return Completion::of(Outcome::Fail("another has the lock".into()));
        }
        let token = self.get("token").value.as_u64().unwrap_or(0) + 1;
        self.set("token", token.into());
        self.set("lock", json!([client, token, stamp + LEASE_US]));
        Completion::read(token)
    }

    fn release(&mut self, token: &Value) -> Completion {
        if self.get("lock").value[1] != *token {
            return Completion { outcome: Outcome::Fail("the lock is another's by now".into()), value: Some(token.clone()) };
        }
        self.set("lock", json!([null, token, 0]));
        Completion::read(token.clone())
    }

    /// A write to the resource that the lock guards.
    fn guarded(&mut self, token: &Value) -> Completion {
        let largest = self.get("guard").value.as_u64().unwrap_or(0);
        if token.as_u64().unwrap_or(0) < largest && self.bug != Some(Bug::UnfencedWrite) {
            return Completion { outcome: Outcome::Fail(format!("the token {token} is older than {largest}")), value: Some(token.clone()) };
        }
        self.set("guard", token.clone());
        Completion::read(token.clone())
    }

    fn commit(&mut self, commit: &Commit) -> Completion {
        let is_current = |(key, version): &(String, u64)| self.get(key).version == *version;
        let is_written = |(key, _): &&(String, u64)| commit.writes.iter().any(|(written, _)| written == key);
        let valid = match self.bug {
            Some(Bug::LostUpdate) => true,
            Some(Bug::WriteSkew) => commit.read.iter().filter(is_written).all(is_current),
            _ => commit.read.iter().all(is_current),
        };
        if !valid {
            return Completion::of(Outcome::Fail("what was read has changed".into()));
        }
        for (key, value) in &commit.writes {
            self.set(key, value.clone());
        }
        Completion::read(commit.answer.clone())
    }

    fn set(&mut self, key: &str, value: Value) {
        let cell = self.cells.entry(key.to_owned()).or_default();
        *cell = Cell { value, version: cell.version + 1, stamp: cell.stamp };
    }
}

/// The key of a register or list.
pub fn key(name: &Value) -> String {
    format!("key {name}")
}

/// The key of an account.
pub fn account(number: u64) -> String {
    format!("account {number}")
}
