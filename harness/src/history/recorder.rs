//! Records events from many clients and streams them to disk.

use std::{
    borrow::Cow,
    collections::HashMap,
    fs::File,
    io::{BufRead as _, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use serde::Serialize;
use serde_json::Value;

use super::{Event, EventKind, Operation, Outcome, operations};

/// Events kept in memory beside the file; a longer history is read back from its file when it is asked for.
const KEPT_MAX: usize = 200_000;
/// Bytes that wait for the file: some hundred events, so that writing them costs each hardly anything.
const BUFFER: usize = 64 << 10;
/// Events that a history without a file holds at most: nothing could give the rest back.
const UNFILED_MAX: usize = 4_000_000;

/// A history could not be written or read back.
#[derive(Debug, thiserror::Error)]
#[error("failed to keep the history {}: {source}; is the disk full?", path.display())]
pub struct HistoryError {
    /// The file.
    pub path: PathBuf,
    /// The cause.
    pub source: std::io::Error,
}

/// Appends events; clones record into the same history.
#[derive(Debug, Clone)]
pub struct Recorder {
    origin: Instant,
    shared: Arc<Mutex<Shared>>,
}

/// An [`Event`] on its way to the file.
#[derive(Serialize)]
struct Line<'a> {
    index: u64,
    time: u64,
    process: u32,
    #[serde(rename = "type")]
    kind: EventKind,
    f: &'a str,
    value: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Debug)]
struct Shared {
    /// How many events there were.
    count: u64,
    /// All of them, or none any more when there is a file and they became too many.
    kept: Option<Vec<Event>>,
    /// When each process began the operation that it is at.
    open: HashMap<u32, u64>,
    /// The latest beginning of an operation that was acknowledged.
    acknowledged: Option<u64>,
    file: Option<(PathBuf, BufWriter<File>)>,
    failed: Option<HistoryError>,
}

impl Recorder {
    /// A history in memory and, where a path is given, in a file as JSON lines. Its times count from `origin`.
    ///
    /// # Errors
    /// [`HistoryError`] when the file cannot be made.
    pub fn new(origin: Instant, path: Option<&Path>) -> Result<Self, HistoryError> {
        let file = match path {
            None => None,
            Some(path) => {
                let file = File::create(path).map_err(|source| HistoryError { path: path.to_owned(), source })?;
                Some((path.to_owned(), BufWriter::with_capacity(BUFFER, file)))
            }
        };
        let shared = Shared { count: 0, kept: Some(Vec::new()), open: HashMap::new(), acknowledged: None, file, failed: None };
        Ok(Self { origin, shared: Arc::new(Mutex::new(shared)) })
    }

    /// The zero of its times.
    pub fn origin(&self) -> Instant {
        self.origin
    }

    /// Nanoseconds since its zero.
    pub fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Notes that an operation begins.
    pub fn invoke(&self, process: u32, f: &'static str, value: &Value) {
        self.append(process, EventKind::Invoke, f, value, None);
    }

    /// Notes how it ended, and with which value (for a read: what was read).
    pub fn complete(&self, process: u32, f: &'static str, value: &Value, outcome: &Outcome) {
        let (kind, error) = match outcome {
            Outcome::Ok => (EventKind::Ok, None),
            Outcome::Fail(why) => (EventKind::Fail, Some(why.as_str())),
            Outcome::Unknown(why) => (EventKind::Info, Some(why.as_str())),
        };
        self.append(process, kind, f, value, error);
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, process: u32, kind: EventKind, f: &'static str, value: &Value, error: Option<&str>) {
        // The time is taken under the lock: positions and times never disagree.
        let mut shared = self.lock();
        let (index, time) = (shared.count, self.now());
        if let Some((path, file)) = &mut shared.file {
            let line = Line { index, time, process, kind, f, value, error };
            let written = serde_json::to_writer(&mut *file, &line).map_err(std::io::Error::from).and_then(|()| file.write_all(b"\n"));
            if let Err(source) = written {
                let path = path.clone();
                shared.failed.get_or_insert(HistoryError { path, source });
            }
        }
        match kind {
            EventKind::Invoke => {
                shared.open.insert(process, time);
            }
            EventKind::Ok => {
                let begun = shared.open.remove(&process);
                shared.acknowledged = shared.acknowledged.max(begun);
            }
            EventKind::Fail | EventKind::Info => {
                shared.open.remove(&process);
            }
        }
        shared.count += 1;
        if shared.has_room() {
            let event = Event { index, time, process, kind, f: Cow::Borrowed(f), value: value.clone(), error: error.map(str::to_owned) };
            shared.kept.get_or_insert_default().push(event);
        }
    }

    /// Whether an operation that began at `since` (nanoseconds) or later was acknowledged: cheap enough to be asked often.
    pub fn has_acknowledged_since(&self, since: u64) -> bool {
        self.lock().acknowledged.is_some_and(|begun| begun >= since)
    }

    /// All events so far.
    ///
    /// # Errors
    /// [`HistoryError`] when a long history cannot be read back from its file.
    pub fn events(&self) -> Result<Vec<Event>, HistoryError> {
        let mut shared = self.lock();
        if let Some(events) = &shared.kept {
            return Ok(events.clone());
        }
        shared.flush()?;
        let Some((path, _writer)) = &shared.file else { return Ok(Vec::new()) };
        let path = path.clone();
        drop(shared);
        read_back(&path).map_err(|source| HistoryError { path, source })
    }

    /// All operations so far.
    ///
    /// # Errors
    /// As [`Recorder::events`].
    pub fn operations(&self) -> Result<Vec<Operation>, HistoryError> {
        if let Some(events) = &self.lock().kept {
            return Ok(operations(events));
        }
        Ok(operations(&self.events()?))
    }

    /// Writes what is still buffered.
    ///
    /// # Errors
    /// The first [`HistoryError`] of any line.
    pub fn flush(&self) -> Result<(), HistoryError> {
        self.lock().flush()
    }
}

impl Shared {
    /// Whether another event is kept in memory: copying one costs more than writing it.
    fn has_room(&mut self) -> bool {
        let limit = if self.file.is_some() { KEPT_MAX } else { UNFILED_MAX };
        match &self.kept {
            Some(events) if events.len() < limit => true,
            Some(_) if self.file.is_some() => {
                self.kept = None;
                false
            }
            Some(_) => {
                let source = std::io::Error::other(format!("more than {UNFILED_MAX} events, and no file to put them in"));
                self.failed.get_or_insert(HistoryError { path: PathBuf::from("in memory"), source });
                false
            }
            None => false,
        }
    }

    fn flush(&mut self) -> Result<(), HistoryError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if let Some((path, file)) = &mut self.file {
            file.flush().map_err(|source| HistoryError { path: path.clone(), source })?;
        }
        Ok(())
    }
}

fn read_back(path: &Path) -> std::io::Result<Vec<Event>> {
    BufReader::new(File::open(path)?).lines().map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_is_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("h.jsonl");
        let recorder = Recorder::new(Instant::now(), Some(&path)).unwrap();
        recorder.invoke(0, "add", &1.into());
        recorder.complete(0, "add", &1.into(), &Outcome::Unknown("time-out".into()));
        recorder.flush().unwrap();
        assert!(!recorder.has_acknowledged_since(0));
        assert_eq!(read_back(&path).unwrap(), recorder.events().unwrap());
        assert_eq!(recorder.operations().unwrap()[0].outcome, Outcome::Unknown("time-out".into()));
    }

    #[test]
    fn a_long_history_is_whole_although_memory_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let recorder = Recorder::new(Instant::now(), Some(&folder.path().join("h.jsonl"))).unwrap();
        let operations = KEPT_MAX as u64 / 2 + 10;
        for value in 0..operations {
            recorder.invoke(0, "add", &value.into());
            recorder.complete(0, "add", &value.into(), &Outcome::Ok);
        }
        assert!(recorder.lock().kept.is_none());
        let read = recorder.operations().unwrap();
        assert_eq!(read.len() as u64, operations);
        assert_eq!(read.last().and_then(Operation::number), Some(operations - 1));
    }
}
