//! Who was struck, and what was under way at that moment.

use std::{
    ops::RangeInclusive,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use dora_harness::topology::Node;

/// Inserts offered within about a second. One that a killed node was writing just then may have reached a majority and been acknowledged,
/// while the node died before it could write the last copy or keep a hint of it; the engine has nothing that would repair this later.
const INSERTS_AT_A_KILL: u64 = 80;
/// Batches offered within that time.
const BATCHES_AT_A_KILL: u64 = 8;

/// What clients and whoever strikes tell the judges.
#[derive(Debug, Default)]
pub struct Struck {
    away: Mutex<Vec<String>>,
    kills: Mutex<Vec<Offered>>,
    inserts: AtomicU64,
    batches: AtomicU64,
}

/// The highest numbers that clients had offered at a moment.
#[derive(Debug, Clone, Copy)]
struct Offered {
    insert: u64,
    batch: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn around(at: u64, span: u64) -> RangeInclusive<u64> {
    at.saturating_sub(span / 4)..=at + span
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

    /// A node is killed: to be said right before it is.
    pub fn note_kill(&self) {
        let offered = Offered { insert: self.inserts.load(Ordering::Relaxed), batch: self.batches.load(Ordering::Relaxed) };
        lock(&self.kills).push(offered);
    }

    /// The names of those that were away.
    pub fn away(&self) -> Vec<String> {
        lock(&self.away).clone()
    }

    /// Whether an insert was under way when a node was killed.
    pub fn is_at_a_kill(&self, value: u64) -> bool {
        lock(&self.kills).iter().any(|offered| around(offered.insert, INSERTS_AT_A_KILL).contains(&value))
    }

    /// The batches that were under way when a node was killed.
    pub fn batches_at_kills(&self) -> Vec<RangeInclusive<u64>> {
        lock(&self.kills).iter().map(|offered| around(offered.batch, BATCHES_AT_A_KILL)).collect()
    }
}
