//! What a run's nodes have written, kept in files: a container's log goes when the container goes.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::time::timeout;

use super::Engine;
use crate::security::redacted;

/// Lines of each container's log that are kept, the last ones.
const LINES: usize = 2_000;
/// A log that was not read by then is given up: a removal waits for it, or the end of a run.
const READ_LIMIT: Duration = Duration::from_secs(10);
/// Stands between the logs of containers that had one name, one after the other.
const NEXT: &str = "--- the next container of this name ---\n";

/// Where logs are kept, and whose are not yet.
#[derive(Debug)]
pub(super) struct KeptLogs {
    folder: PathBuf,
    suffix: &'static str,
    /// Names of nodes by container.
    open: Mutex<BTreeMap<String, String>>,
    /// Why a log could not be written, the first time.
    unwritten: Mutex<Option<String>>,
}

impl Engine {
    /// The same client, which from now on keeps the log of every node whose container it started: at the latest when it removes the node's container.
    /// `folder`, which has to be there, gets one file a node, its name and `suffix`. Secrets of this process are replaced by their kind.
    #[must_use]
    pub fn keeping_logs(self, folder: PathBuf, suffix: &'static str) -> Self {
        let kept = KeptLogs { folder, suffix, open: Mutex::default(), unwritten: Mutex::default() };
        Self { kept_logs: Some(Arc::new(kept)), ..self }
    }

    /// Keeps the logs of all nodes that are there, as they are now; the file of one that cannot be read says why. Ends within some ten
    /// seconds.
    pub async fn keep_logs(&self) {
        let Some(kept) = &self.kept_logs else { return };
        let containers: Vec<String> = kept.open().keys().cloned().collect();
        join_all(containers.iter().map(|container| self.keep_log(container))).await;
    }

    /// Why a log could not be written, if so.
    pub fn unwritten_log(&self) -> Option<String> {
        self.kept_logs.as_ref().and_then(|kept| kept.unwritten().clone())
    }

    /// Notes that a container is that node's, and its log to be kept.
    pub(super) fn note_log(&self, node: &str, container: &str) {
        if let Some(kept) = &self.kept_logs {
            kept.open().insert(container.to_owned(), node.to_owned());
        }
    }

    /// Keeps the log of a container, unless it is no node's or its log is kept already.
    pub(super) async fn keep_log(&self, container: &str) {
        let Some(kept) = &self.kept_logs else { return };
        if !kept.open().contains_key(container) {
            return;
        }
        let lines = match timeout(READ_LIMIT, self.logs(container, LINES)).await {
            Ok(Ok(lines)) => lines,
            Ok(Err(error)) => vec![format!("this log could not be read: {error}")],
            Err(_elapsed) => vec![format!("this log could not be read within {} s", READ_LIMIT.as_secs())],
        };
        // Only now, so that whoever is cut off while reading leaves it to the next. Of two that read at the same time the first one writes.
        let Some(node) = kept.open().remove(container) else { return };
        let writer = Arc::clone(kept);
        // Elsewhere, for the search for secrets takes its time and others measure meanwhile; a failure is told by `unwritten_log`.
        if let Err(error) = tokio::task::spawn_blocking(move || writer.write(&node, &redacted(&lines))).await {
            kept.unwritten().get_or_insert(format!("the log of container {container} was not kept: {error}"));
        }
    }
}

impl KeptLogs {
    fn open(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unwritten(&self) -> MutexGuard<'_, Option<String>> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, node: &str, lines: &[String]) {
        let path = self.folder.join(format!("{node}{}.log", self.suffix));
        if let Err(error) = append(&path, lines) {
            let reason = format!("cannot write {}: {error}. Check the free space and that you may write there", path.display());
            self.unwritten().get_or_insert(reason);
        }
    }
}

fn append(path: &Path, lines: &[String]) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let mut text = if file.metadata()?.len() > 0 { NEXT.to_owned() } else { String::new() };
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(folder: &Path) -> KeptLogs {
        KeptLogs { folder: folder.to_owned(), suffix: "-second", open: Mutex::default(), unwritten: Mutex::default() }
    }

    #[test]
    fn containers_of_one_name_share_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let kept = kept(folder.path());
        for line in ["first", "second"] {
            kept.write("pg1", &[line.to_owned()]);
        }
        let text = std::fs::read_to_string(folder.path().join("pg1-second.log")).unwrap();
        assert_eq!(text, format!("first\n{NEXT}second\n"));
        assert_eq!(*kept.unwritten(), None);
    }

    #[test]
    fn the_first_log_that_cannot_be_written_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let kept = kept(&folder.path().join("none"));
        for node in ["pg1", "pg2"] {
            kept.write(node, &["a line".to_owned()]);
        }
        let reason = kept.unwritten().clone().unwrap();
        assert!(reason.contains("pg1-second.log") && reason.contains("free space"), "{reason}");
    }
}
