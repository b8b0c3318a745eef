//! Records events from many clients and streams them to disk.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use super::{Event, EventKind, Operation, Outcome, operations};

/// Events a history holds at most; a workload that exceeds it is misconfigured, and its clients stop being recorded with a note.
const EVENTS_MAX: usize = 4_000_000;

/// A history could not be written.
#[derive(Debug, thiserror::Error)]
#[error("failed to write the history {}: {source}; is the disk full?", path.display())]
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

#[derive(Debug)]
struct Shared {
    events: Vec<Event>,
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
                Some((path.to_owned(), BufWriter::new(file)))
            }
        };
        Ok(Self {
            origin,
            shared: Arc::new(Mutex::new(Shared { events: Vec::new(), open: HashMap::new(), acknowledged: None, file, failed: None })),
        })
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
    pub fn invoke(&self, process: u32, f: &str, value: u64) {
        self.append(process, EventKind::Invoke, f, value, None);
    }

    /// Notes how it ended.
    pub fn complete(&self, process: u32, f: &str, value: u64, outcome: &Outcome) {
        let (kind, error) = match outcome {
            Outcome::Ok => (EventKind::Ok, None),
            Outcome::Fail(why) => (EventKind::Fail, Some(why.clone())),
            Outcome::Unknown(why) => (EventKind::Info, Some(why.clone())),
        };
        self.append(process, kind, f, value, error);
    }

    fn append(&self, process: u32, kind: EventKind, f: &str, value: u64, error: Option<String>) {
        // The time is taken under the lock: positions and times never disagree.
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.events.len() >= EVENTS_MAX {
            return;
        }
        let event = Event { index: shared.events.len() as u64, time: self.now(), process, kind, f: f.to_owned(), value, error };
        if let Some((path, file)) = &mut shared.file {
            let written = serde_json::to_writer(&mut *file, &event).map_err(std::io::Error::from).and_then(|()| file.write_all(b"\n"));
            if let Err(source) = written {
                let path = path.clone();
                shared.failed.get_or_insert(HistoryError { path, source });
            }
        }
        match kind {
            EventKind::Invoke => {
                shared.open.insert(process, event.time);
            }
            EventKind::Ok => {
                let begun = shared.open.remove(&process);
                shared.acknowledged = shared.acknowledged.max(begun);
            }
            EventKind::Fail | EventKind::Info => {
                shared.open.remove(&process);
            }
        }
        shared.events.push(event);
    }

    /// Whether an operation that began at `since` (nanoseconds) or later was acknowledged: cheap enough to be asked often.
    pub fn has_acknowledged_since(&self, since: u64) -> bool {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).acknowledged.is_some_and(|begun| begun >= since)
    }

    /// All events so far.
    pub fn events(&self) -> Vec<Event> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).events.clone()
    }

    /// All operations so far.
    pub fn operations(&self) -> Vec<Operation> {
        operations(&self.shared.lock().unwrap_or_else(PoisonError::into_inner).events)
    }

    /// Writes what is still buffered.
    ///
    /// # Errors
    /// The first [`HistoryError`] of any line.
    pub fn flush(&self) -> Result<(), HistoryError> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = shared.failed.take() {
            return Err(error);
        }
        if let Some((path, file)) = &mut shared.file {
            file.flush().map_err(|source| HistoryError { path: path.clone(), source })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_is_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("h.jsonl");
        let recorder = Recorder::new(Instant::now(), Some(&path)).unwrap();
        recorder.invoke(0, "insert", 1);
        recorder.complete(0, "insert", 1, &Outcome::Unknown("time-out".into()));
        recorder.flush().unwrap();
        assert!(!recorder.has_acknowledged_since(0));
        let text = std::fs::read_to_string(&path).unwrap();
        let events: Vec<Event> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(events, recorder.events());
        assert_eq!(recorder.operations()[0].outcome, Outcome::Unknown("time-out".into()));
    }
}
