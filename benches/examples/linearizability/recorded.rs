//! Reads the histories that come with the peer's module.

use std::{collections::HashMap, path::Path};

use dora_harness::check::linearizability::{Keyed, Operation, RegisterOp, TextOp};

/// A register of numbers that starts without one.
pub type EtcdOp = RegisterOp<Option<u64>>;
/// Texts under keys.
pub type KvOp = Keyed<String, TextOp>;

/// Operations whose return is still to be read, by process.
struct Recording<Op> {
    history: Vec<Operation<Op>>,
    under_way: HashMap<u64, usize>,
}

impl<Op> Recording<Op> {
    fn new() -> Self {
        Self { history: Vec::new(), under_way: HashMap::new() }
    }

    fn call(&mut self, line: usize, process: u64, op: Op) {
        self.under_way.insert(process, self.history.len());
        self.history.push(Operation { call: line as u64, ret: None, op });
    }

    /// The operation that returns; the line number is its time, as for the peer.
    fn ret(&mut self, line: usize, process: u64) -> Option<&mut Op> {
        let operation = &mut self.history[self.under_way.remove(&process)?];
        operation.ret = Some(line as u64);
        Some(&mut operation.op)
    }
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("read {}: {error}", path.display()))
}

/// `INFO  jepsen.util - 2 :invoke :cas [3 0]`: a read that timed out says nothing, anything else that did may have happened.
pub fn etcd(path: &Path) -> Result<Vec<Operation<EtcdOp>>, String> {
    let mut recording = Recording::new();
    for (number, line) in read(path)?.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["INFO", "jepsen.util", "-", process, kind, f, values @ ..] = words.as_slice() else { continue };
        let Ok(process) = process.parse() else { continue };
        let values: Vec<Option<u64>> = values.iter().map(|value| value.trim_matches(['[', ']']).parse().ok()).collect();
        match (*kind, *f, values.as_slice()) {
            (":invoke", ":read", _) => recording.call(number, process, RegisterOp::Read(None)),
            (":invoke", ":write", &[value]) => recording.call(number, process, RegisterOp::Write(value)),
            (":invoke", ":cas", &[from, to]) => recording.call(number, process, RegisterOp::CompareAndSet { from, to, set: None }),
            (":ok", ":read", &[value]) => {
                if let Some(RegisterOp::Read(found)) = recording.ret(number, process) {
                    *found = Some(value);
                }
            }
            (":ok", ":write", _) => {
                recording.ret(number, process);
            }
            (":ok" | ":fail", ":cas", &[_, _]) => {
                if let Some(RegisterOp::CompareAndSet { set, .. }) = recording.ret(number, process) {
                    *set = Some(*kind == ":ok");
                }
            }
            _ => {}
        }
    }
    Ok(recording.history)
}

/// `{:process 9, :type :invoke, :f :append, :key "0", :value "x 9 0 y"}`
pub fn kv(path: &Path) -> Result<Vec<Operation<KvOp>>, String> {
    let mut recording = Recording::new();
    for (number, line) in read(path)?.lines().enumerate() {
        let Some(process) = field(line, ":process ", ",").and_then(|process| process.parse().ok()) else { continue };
        let (Some(kind), Some(f), Some(key)) = (field(line, ":type ", ","), field(line, ":f ", ","), field(line, ":key \"", "\"")) else {
            continue;
        };
        let value = field(line, ":value \"", "\"}").map(ToOwned::to_owned);
        let op = match (f, value) {
            (":get", value) => TextOp::Get(value),
            (":put", Some(value)) => TextOp::Put(value),
            (":append", Some(value)) => TextOp::Append(value),
            _ => return Err(format!("read {}: line {} is of an unknown form", path.display(), number + 1)),
        };
        match kind {
            ":invoke" => recording.call(number, process, Keyed { key: key.to_owned(), op }),
            ":ok" => {
                if let Some(called) = recording.ret(number, process) {
                    called.op = op;
                }
            }
            _ => {}
        }
    }
    Ok(recording.history)
}

fn field<'a>(line: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(before)?;
    rest.split_once(after).map(|(value, _)| value)
}
