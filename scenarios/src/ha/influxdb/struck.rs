//! Who was struck, and what was under way at that moment.

use std::{
    ops::RangeInclusive,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use dora_harness::topology::Node;

use crate::ha::load::inserts_within;

/// Inserts offered within about a second. One that a node was writing just before it was killed may have reached a majority and been
/// acknowledged, while the node died before it could write the last copy or keep a hint of it; the engine has nothing that would repair
/// this later.
const INSERTS_BEFORE_A_KILL: u64 = inserts_within(1_000);
/// Batches offered within that time.
const BATCHES_BEFORE_A_KILL: u64 = 8;

/// What clients and whoever strikes tell the judges.
#[derive(Debug, Default)]
pub struct Struck {
    away: Mutex<Vec<String>>,
    kills: Mutex<Vec<Moment>>,
    inserts: AtomicU64,
    batches: AtomicU64,
}

/// The highest numbers that clients had offered at a moment.
#[derive(Debug, Clone, Copy)]
struct Offered {
    insert: u64,
    batch: u64,
}

/// A node is killed somewhere between these; on a busy machine the order takes seconds to become a death.
#[derive(Debug, Clone, Copy)]
struct Moment {
    ordered: Offered,
    /// `None` while nobody has seen that it is dead.
    dead: Option<Offered>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Struck {
    /// A client offers an insert.
    pub fn offer_insert(&self, value: u64) {
        self.inserts.fetch_max(value, Ordering::Relaxed);
    }

    /// A client offers a batch.
    pub fn offer_batch(&self, number: u64) {
        self.batches.fetch_max(number, Ordering::Relaxed);
    }

    /// These are away from now on.
    pub fn note_away(&self, hit: &[Node]) {
        lock(&self.away).extend(hit.iter().map(|node| node.name().to_owned()));
    }

    fn offered(&self) -> Offered {
        Offered { insert: self.inserts.load(Ordering::Relaxed), batch: self.batches.load(Ordering::Relaxed) }
    }

    /// A node is killed: to be said right before it is.
    pub fn note_kill(&self) {
        let ordered = self.offered();
        lock(&self.kills).push(Moment { ordered, dead: None });
    }

    /// The node that was killed last was seen dead. What is said more than once changes nothing.
    pub fn note_dead(&self) {
        let dead = self.offered();
        if let Some(kill) = lock(&self.kills).last_mut() {
            kill.dead.get_or_insert(dead);
        }
    }

    fn at_kills(&self, number: impl Fn(Offered) -> u64, before: u64) -> Vec<RangeInclusive<u64>> {
        let now = self.offered();
        let span = |kill: &Moment| number(kill.ordered).saturating_sub(before)..=number(kill.dead.unwrap_or(now));
        lock(&self.kills).iter().map(span).collect()
    }

    /// The names of those that were away.
    pub fn away(&self) -> Vec<String> {
        lock(&self.away).clone()
    }

    /// Whether an insert was under way when a node was killed.
    pub fn is_at_a_kill(&self, value: u64) -> bool {
        self.at_kills(|offered| offered.insert, INSERTS_BEFORE_A_KILL).iter().any(|span| span.contains(&value))
    }

    /// The batches that were under way when a node was killed.
    pub fn batches_at_kills(&self) -> Vec<RangeInclusive<u64>> {
        self.at_kills(|offered| offered.batch, BATCHES_BEFORE_A_KILL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_offered_until_the_node_was_seen_dead_was_under_way() {
        let struck = Struck::default();
        struck.offer_batch(20);
        struck.note_kill();
        struck.offer_batch(31);
        struck.note_dead();
        struck.offer_batch(40);
        struck.note_dead();
        assert_eq!(struck.batches_at_kills(), [12..=31]);
    }

    #[test]
    fn as_long_as_nobody_saw_it_dead_all_may_be_under_way() {
        let struck = Struck::default();
        struck.offer_insert(100);
        struck.note_kill();
        struck.offer_insert(300);
        assert!(struck.is_at_a_kill(60) && struck.is_at_a_kill(300));
        assert!(!struck.is_at_a_kill(59) && !struck.is_at_a_kill(301));
    }
}
