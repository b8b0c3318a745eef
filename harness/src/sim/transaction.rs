//! Transactions read first and commit later.

use serde_json::{Value, json};

use super::store::{Cell, account, key};
use crate::{history::Outcome, workload::Completion};

/// What a transaction read and wants to write.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Each key that it read or writes, with the version that it saw.
    pub read: Vec<(String, u64)>,
    /// Each key that it writes.
    pub writes: Vec<(String, Value)>,
    /// What it answers.
    pub answer: Value,
}

/// Whether an operation is a transaction that reads before it writes.
pub fn is_transaction(f: &str, value: &Value) -> bool {
    match f {
        "cas" | "transfer" => true,
        "txn" => value.as_array().is_some_and(|steps| steps.iter().any(|step| step[0] != "r")),
        _ => false,
    }
}

/// Reads what a transaction reads; or its end, where that decides it already.
pub fn begin(f: &str, value: &Value, see: &dyn Fn(&str) -> Cell) -> Result<Commit, Completion> {
    let mut view = View { see, read: Vec::new(), writes: Vec::new() };
    let answer = match f {
        "cas" => view.compare_and_set(value)?,
        "transfer" => view.transfer(value)?,
        _ => value.as_array().into_iter().flatten().map(|step| view.step(step)).collect::<Vec<_>>().into(),
    };
    Ok(Commit { read: view.read, writes: view.writes, answer })
}

struct View<'a> {
    see: &'a dyn Fn(&str) -> Cell,
    read: Vec<(String, u64)>,
    writes: Vec<(String, Value)>,
}

impl View<'_> {
    /// Its own write, or else what is there.
    fn get(&mut self, key: &str) -> Value {
        let cell = (self.see)(key);
        if !self.read.iter().any(|(read, _)| read == key) {
            self.read.push((key.to_owned(), cell.version));
        }
        self.writes.iter().rfind(|(written, _)| written == key).map_or(cell.value, |(_, value)| value.clone())
    }

    fn set(&mut self, key: String, value: Value) {
        self.get(&key);
        self.writes.retain(|(written, _)| *written != key);
        self.writes.push((key, value));
    }

    fn step(&mut self, step: &Value) -> Value {
        let key = key(&step[1]);
        match step[0].as_str() {
            Some("append") => {
                let mut list = self.get(&key).as_array().cloned().unwrap_or_default();
                list.push(step[2].clone());
                self.set(key, list.into());
                step.clone()
            }
            Some("w") => {
                self.set(key, step[2].clone());
                step.clone()
            }
            _ => json!([step[0], step[1], self.get(&key)]),
        }
    }

    fn compare_and_set(&mut self, value: &Value) -> Result<Value, Completion> {
        let key = key(&value[0]);
        if self.get(&key) != value[1][0] {
            return Err(Completion::of(Outcome::Fail("another value is there".into())));
        }
        self.set(key, value[1][1].clone());
        Ok(value.clone())
    }

    fn transfer(&mut self, value: &Value) -> Result<Value, Completion> {
        let of = |name: &str| value[name].as_u64().unwrap_or(0);
        let (from, to, amount) = (account(of("from")), account(of("to")), value["amount"].as_i64().unwrap_or(0));
        let balance = self.get(&from).as_i64().unwrap_or(0);
        if balance < amount {
            return Err(Completion::of(Outcome::Fail("the account would be overdrawn".into())));
        }
        let other = self.get(&to).as_i64().unwrap_or(0);
        self.set(from, (balance - amount).into());
        self.set(to, (other + amount).into());
        Ok(value.clone())
    }
}
