//! Which nodes were begun through a handle of the ground, and how far each came.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

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
