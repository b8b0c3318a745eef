//! Reads histories: our JSON lines, Jepsen's `history.edn` and its JSON form.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader, Read as _},
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    Operation, Outcome,
    edn::{self, Malformed},
};

/// A line is no longer than this.
const LINE_MAX: u64 = 64 << 20;

/// A history that was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Its operations in the order of invocation.
    pub operations: Vec<Operation>,
    /// Lines of clients.
    pub events: u64,
    /// Lines of others than clients (Jepsen's nemesis), which say nothing about data.
    pub skipped: u64,
    /// For each operation the line of its invocation, from 1.
    lines: Vec<u64>,
}

impl History {
    /// The line on which an operation was invoked, from 1; `index` is that of [`Operation::index`].
    pub fn line_of(&self, index: u64) -> Option<u64> {
        let at = self.operations.binary_search_by_key(&index, |operation| operation.index).ok()?;
        self.lines.get(at).copied()
    }
}

/// A history that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file.
    #[error("failed to read the history {}: {source}", path.display())]
    File {
        /// Where it is.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A line of it.
    #[error("line {line}: {fault}")]
    Line {
        /// From 1.
        line: u64,
        /// What is wrong with it.
        fault: LineFault,
    },
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    /// Neither JSON nor EDN, or not a history's.
    #[error("malformed: {0}")]
    Malformed(String),
    /// Neither beginning nor end.
    #[error("the type {0} is none of invoke, ok, fail and info")]
    UnknownType(String),
    /// Time runs backwards.
    #[error("the time {time} is before {before}, that of the line before; sort the history by time")]
    UnorderedTime {
        /// Nanoseconds.
        time: u64,
        /// Nanoseconds.
        before: u64,
    },
    /// Positions that do not tell lines apart.
    #[error("the index {index} is not larger than {before}, that of the line before: it is there twice, or lines are out of order")]
    DuplicateIndex {
        /// The position.
        index: u64,
        /// The position of the line before.
        before: u64,
    },
    /// An end without a beginning.
    #[error("process {0} completes an operation that it never invoked")]
    NeverInvoked(u32),
    /// A beginning before the end of what the process is at.
    #[error("process {process} invokes an operation while it is at that of index {open}")]
    InvokesTwice {
        /// The process.
        process: u32,
        /// Position of the operation that it is at.
        open: u64,
    },
    /// An end of something else.
    #[error("process {process} completes {f} and had invoked {invoked}")]
    OtherOperation {
        /// The process.
        process: u32,
        /// What ended.
        f: String,
        /// What had begun.
        invoked: String,
    },
}

/// Reads a history from a file; which of the forms it has is seen from its first characters.
///
/// # Errors
/// [`ReadError`], with the line where there is one.
pub fn read_file(path: &Path) -> Result<History, ReadError> {
    let file = File::open(path).map_err(|source| ReadError::File { path: path.to_owned(), source })?;
    read(BufReader::new(file), path)
}

/// Reads a history from memory.
///
/// # Errors
/// [`ReadError::Line`].
pub fn read_bytes(bytes: &[u8]) -> Result<History, ReadError> {
    read(bytes, Path::new("in memory"))
}

fn read(mut input: impl BufRead, path: &Path) -> Result<History, ReadError> {
    let failed = |source| ReadError::File { path: path.to_owned(), source };
    let mut intake = Intake::default();
    let (mut line, mut bytes) = (0, Vec::new());
    loop {
        bytes.clear();
        if input.by_ref().take(LINE_MAX).read_until(b'\n', &mut bytes).map_err(failed)? == 0 {
            return Ok(intake.finish());
        }
        line += 1;
        let at = |fault| ReadError::Line { line, fault };
        if bytes.len() as u64 == LINE_MAX {
            return Err(at(LineFault::Malformed(format!("longer than {LINE_MAX} bytes"))));
        }
        let text = utf8(&bytes).map_err(at)?;
        let Some(first) = edn::skip_blank(text).chars().next() else { continue };
        if first == '[' && intake.is_empty() {
            // One list of all events instead of one event a line.
            input.read_to_end(&mut bytes).map_err(failed)?;
            list(&bytes, line, &mut intake)?;
            return Ok(intake.finish());
        }
        let event =
            if is_edn(text) { edn_line(text) } else { serde_json::from_str(text).map_err(|error| LineFault::Malformed(error.to_string())) };
        event.and_then(|event| intake.take(&event, line)).map_err(at)?;
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, LineFault> {
    std::str::from_utf8(bytes).map_err(|error| LineFault::Malformed(error.to_string()))
}

/// A map of JSON begins with a text, one of EDN with a keyword; a record of Jepsen with a tag.
fn is_edn(text: &str) -> bool {
    let text = edn::skip_blank(text);
    let inner = text.strip_prefix('{').map(edn::skip_blank);
    inner.is_none_or(|inner| !inner.starts_with(['"', '}']))
}

fn edn_line(text: &str) -> Result<Value, LineFault> {
    let malformed = |Malformed { why, .. }| LineFault::Malformed(why);
    let (event, rest) = edn::next(text).map_err(malformed)?.ok_or_else(|| LineFault::Malformed("nothing".into()))?;
    if edn::skip_blank(rest).is_empty() { Ok(event) } else { Err(LineFault::Malformed("something follows the event".into())) }
}

/// All events in one list, JSON or EDN; commas are blanks to both.
fn list(bytes: &[u8], first_line: u64, intake: &mut Intake) -> Result<(), ReadError> {
    let whole = utf8(bytes).map_err(|fault| ReadError::Line { line: first_line, fault })?;
    let mut rest = edn::skip_blank(whole).strip_prefix('[').unwrap_or_default();
    let mut place = (whole.len() - rest.len(), first_line + lines(&whole[..whole.len() - rest.len()]));
    loop {
        rest = edn::skip_blank(rest);
        let begins = whole.len() - rest.len();
        place = (begins, place.1 + lines(&whole[place.0..begins]));
        let at = |fault| ReadError::Line { line: place.1, fault };
        if let Some(end) = rest.strip_prefix(']') {
            return if edn::skip_blank(end).is_empty() {
                Ok(())
            } else {
                Err(at(LineFault::Malformed("something follows the list".into())))
            };
        }
        let event;
        (event, rest) = next_in_list(rest, place.1)?;
        intake.take(&event, place.1).map_err(at)?;
    }
}

fn next_in_list(text: &str, line: u64) -> Result<(Value, &str), ReadError> {
    let at = |offset: u64, why: String| ReadError::Line { line: line + offset.saturating_sub(1), fault: LineFault::Malformed(why) };
    if is_edn(text) {
        return match edn::next(text) {
            Ok(found) => found.ok_or_else(|| at(1, "the list has no end".into())),
            Err(Malformed { line, why }) => Err(at(line, why)),
        };
    }
    let mut events = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    match events.next() {
        Some(Ok(event)) => Ok((event, &text[events.byte_offset()..])),
        Some(Err(error)) => Err(at(error.line() as u64, error.to_string())),
        None => Err(at(1, "the list has no end".into())),
    }
}

fn lines(text: &str) -> u64 {
    text.matches('\n').count() as u64
}

/// Pairs beginnings with ends, and refuses what is no history.
#[derive(Default)]
struct Intake {
    history: History,
    /// The operation that each process is at.
    open: HashMap<u32, usize>,
    index: Option<u64>,
    time: Option<u64>,
    /// Whether lines have times; where they have none, their positions are taken.
    is_timed: Option<bool>,
}

impl Intake {
    fn is_empty(&self) -> bool {
        self.history.events + self.history.skipped == 0
    }

    fn finish(self) -> History {
        self.history
    }

    fn take(&mut self, event: &Value, line: u64) -> Result<(), LineFault> {
        let malformed = |what: &str| LineFault::Malformed(what.into());
        let Value::Object(fields) = event else { return Err(malformed("an event is a map")) };
        let field = |name: &str| fields.get(name).filter(|value| !value.is_null());
        let position = self.history.events + self.history.skipped;
        let number = |name: &str| {
            field(name).map(|value| value.as_u64().ok_or_else(|| malformed(&format!("{name} is a number from 0")))).transpose()
        };
        let index = number("index")?.unwrap_or(position);
        if let Some(before) = self.index.replace(index).filter(|before| *before >= index) {
            return Err(LineFault::DuplicateIndex { index, before });
        }
        let time = number("time")?;
        if *self.is_timed.get_or_insert(time.is_some()) != time.is_some() {
            return Err(malformed("either all lines have a time or none has"));
        }
        let time = time.unwrap_or(position);
        if let Some(before) = self.time.replace(time).filter(|before| *before > time) {
            return Err(LineFault::UnorderedTime { time, before });
        }
        let process = field("process").ok_or_else(|| malformed("an event has a process"))?;
        if process.is_string() {
            self.history.skipped += 1;
            return Ok(());
        }
        let process = process.as_u64().and_then(|process| u32::try_from(process).ok());
        let process = process.ok_or_else(|| malformed("a process is a number from 0, or the name of none that is a client"))?;
        let kind = field("type").and_then(Value::as_str).ok_or_else(|| malformed("an event has a type"))?;
        let f = field("f").and_then(Value::as_str).ok_or_else(|| malformed("an event has an f, the kind of operation"))?;
        let value = fields.get("value").cloned().unwrap_or_default();
        self.history.events += 1;
        if word(kind) == "invoke" {
            self.history.lines.push(line);
            self.begin(index, time, process, word(f), value)
        } else {
            self.end(time, process, word(f), value, word(kind), field("error"))
        }
    }

    fn begin(&mut self, index: u64, time: u64, process: u32, f: &str, value: Value) -> Result<(), LineFault> {
        let operations = &mut self.history.operations;
        if let Some(open) = self.open.insert(process, operations.len()) {
            return Err(LineFault::InvokesTwice { process, open: operations[open].index });
        }
        operations.push(Operation {
            index,
            process,
            f: f.to_owned().into(),
            value,
            returned: Value::Null,
            invoked: time,
            completed: None,
            outcome: Outcome::Unknown("the history ends before it does".into()),
        });
        Ok(())
    }

    fn end(&mut self, time: u64, process: u32, f: &str, value: Value, kind: &str, error: Option<&Value>) -> Result<(), LineFault> {
        let why = || error.map_or_else(String::new, |error| error.as_str().map_or_else(|| error.to_string(), str::to_owned));
        let outcome = match kind {
            "ok" => Outcome::Ok,
            "fail" => Outcome::Fail(why()),
            "info" => Outcome::Unknown(why()),
            other => return Err(LineFault::UnknownType(other.into())),
        };
        let operation = self.open.remove(&process).map(|at| &mut self.history.operations[at]).ok_or(LineFault::NeverInvoked(process))?;
        if operation.f != f {
            return Err(LineFault::OtherOperation { process, f: f.into(), invoked: operation.f.to_string() });
        }
        operation.completed = Some(time);
        operation.returned = value;
        operation.outcome = outcome;
        Ok(())
    }
}

/// A keyword that became a text of JSON may have kept its colon.
fn word(text: &str) -> &str {
    text.strip_prefix(':').unwrap_or(text)
}
