//! Which nodes were begun through a handle of the ground, how far each came, and how what is left of them is removed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{Ground, GroundError};
use crate::{engine::EngineError, patience::within};

/// Removing a node takes a second or two; a machine that boots thirty meanwhile is given this.
const REMOVE_LIMIT: Duration = Duration::from_secs(30);
const REMOVE_EVERY: Duration = Duration::from_millis(200);
/// A creation that the engine had already accepted may finish this long after whoever asked for it was cut off.
const SETTLE: Duration = Duration::from_secs(3);

/// How far a start came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// It was begun, and nobody saw its end: it is under way, it was cut off, or what it left could not be removed.
    Begun,
    /// The node is there. Whoever has its cluster removes it.
    Node,
    /// A pod of the harness is there, for the whole run.
    Pod,
}

/// How far the start of each node came, by its name.
#[derive(Debug, Default)]
pub(super) struct Starts(Mutex<BTreeMap<String, Progress>>);

impl Starts {
    /// Notes how far a start came, and returns what was noted of that name before.
    pub fn note(&self, node: &str, progress: Progress) -> Option<Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(node.to_owned(), progress)
    }

    /// Notes what was noted before.
    pub fn restore(&self, node: &str, before: Option<Progress>) {
        let mut starts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match before {
            Some(progress) => starts.insert(node.to_owned(), progress),
            None => starts.remove(node),
        };
    }

    /// The names of all but what is there for the whole run.
    pub fn names(&self) -> BTreeSet<String> {
        let starts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        starts.iter().filter(|(_, progress)| **progress != Progress::Pod).map(|(node, _)| node.clone()).collect()
    }

    /// Whether nobody saw the end of a start of one of these.
    pub fn is_any_unfinished(&self, nodes: &BTreeSet<String>) -> bool {
        let starts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.iter().any(|node| starts.get(node) == Some(&Progress::Begun))
    }

    /// These are no more.
    pub fn forget(&self, nodes: &BTreeSet<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|node, _| !nodes.contains(node));
    }
}

impl Ground {
    /// Another handle of the same ground, with a memory of its own of what is started through it: see [`Ground::begun`].
    #[must_use]
    pub fn watched(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), starts: Arc::default() }
    }

    /// The names of all nodes that were begun through this handle or a clone of it: destroyed ones are among them, and those whose start was
    /// cut off. Pods without a database are not, once they are there: they serve the whole run.
    pub fn begun(&self) -> BTreeSet<String> {
        self.starts.names()
    }

    /// Removes whatever there is of nodes of these names, so that the names are free. Where the start of one was cut off, the engine may still
    /// be at work on it: this waits for that, too.
    ///
    /// # Errors
    /// [`GroundError::Deadline`], or that the engine is gone.
    pub async fn remove(&self, nodes: &BTreeSet<String>) -> Result<(), GroundError> {
        self.remove_until_gone(nodes).await?;
        if self.starts.is_any_unfinished(nodes) {
            tokio::time::sleep(SETTLE).await;
            self.remove_until_gone(nodes).await?;
        }
        self.starts.forget(nodes);
        Ok(())
    }

    async fn remove_until_gone(&self, nodes: &BTreeSet<String>) -> Result<(), GroundError> {
        if nodes.is_empty() {
            return Ok(());
        }
        let (engine, run) = (self.engine(), self.run());
        let names: Vec<&str> = nodes.iter().map(String::as_str).collect();
        let what = format!("the removal of what there is of {}", names.join(", "));
        let removed = within(&what, REMOVE_LIMIT, REMOVE_EVERY, || async {
            match engine.remove_nodes(run, nodes).await {
                Ok(0) => Ok(Ok(())),
                // What was asked for is not always done at once.
                Ok(count) => Err(format!("{count} objects were there")),
                // It does not come back by being asked again.
                Err(gone @ EngineError::Gone { .. }) => Ok(Err(gone)),
                Err(error) => Err(error.to_string()),
            }
        });
        Ok(removed.await??)
    }

    /// Removes what a failed start has made, and hands its error on.
    pub(super) async fn undone(&self, node: &str, before: Option<Progress>, error: GroundError) -> GroundError {
        if matches!(error, GroundError::Engine(EngineError::Taken { .. })) {
            // What bears the name is not of this start.
            self.starts.restore(node, before);
            return error;
        }
        match self.remove_until_gone(&BTreeSet::from([node.to_owned()])).await {
            Ok(()) => self.starts.restore(node, None),
            // It stays noted as begun, for whoever clears up.
            Err(left) => tracing::warn!(node, %left, "something of a failed start stays"),
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_nobody_saw_the_end_of_is_known_and_a_pod_of_the_whole_run_is_not() {
        let starts = Starts::default();
        for (node, progress) in [("cut", None), ("there", Some(Progress::Node)), ("prober", Some(Progress::Pod))] {
            starts.note(node, Progress::Begun);
            if let Some(progress) = progress {
                starts.note(node, progress);
            }
        }
        assert_eq!(starts.names(), names(&["cut", "there"]));
        assert!(starts.is_any_unfinished(&names(&["cut", "there"])));
        assert!(!starts.is_any_unfinished(&names(&["there", "prober", "unheard-of"])));
        starts.forget(&names(&["cut"]));
        assert_eq!(starts.names(), names(&["there"]));
    }

    #[test]
    fn a_start_that_failed_leaves_what_was_known_before() {
        let starts = Starts::default();
        let before = starts.note("pg1", Progress::Begun);
        starts.restore("pg1", before);
        assert_eq!(starts.names(), names(&[]));
        starts.note("pg1", Progress::Node);
        let before = starts.note("pg1", Progress::Begun);
        starts.restore("pg1", before);
        assert_eq!(starts.names(), names(&["pg1"]));
        assert!(!starts.is_any_unfinished(&names(&["pg1"])));
    }
}
