//! Simulated time, and messages that take some of it or are lost.

use std::{cmp::Reverse, collections::BinaryHeap};

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::{Fault, FaultKind, schedule::NODES};

/// How long a message takes, in microseconds.
const DELAY_US: std::ops::Range<u64> = 500..4_000;

/// Something that happens at a moment.
struct Due<E> {
    at: u64,
    /// Of two at the same moment the one that was planned first happens first.
    number: u64,
    event: E,
}

impl<E> PartialEq for Due<E> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<E> Eq for Due<E> {}

impl<E> PartialOrd for Due<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Due<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// The clock, what is planned, and who is struck by what.
pub struct Network<E> {
    now: u64,
    planned: BinaryHeap<Reverse<Due<E>>>,
    number: u64,
    /// All chance of a simulation.
    pub random: ChaCha8Rng,
    faults: Vec<Fault>,
}

impl<E> Network<E> {
    /// At time zero.
    pub fn new(seed: u64, faults: &[Fault]) -> Self {
        Self { now: 0, planned: BinaryHeap::new(), number: 0, random: ChaCha8Rng::seed_from_u64(seed), faults: faults.to_vec() }
    }

    /// Simulated microseconds.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Plans something for this many microseconds from now.
    pub fn after(&mut self, delay: u64, event: E) {
        self.number += 1;
        self.planned.push(Reverse(Due { at: self.now + delay, number: self.number, event }));
    }

    /// Sends something that arrives after a usual delay.
    pub fn send(&mut self, event: E) {
        let delay = self.random.random_range(DELAY_US);
        self.after(delay, event);
    }

    /// Goes on to what happens next.
    pub fn next(&mut self) -> Option<E> {
        let Reverse(due) = self.planned.pop()?;
        self.now = due.at;
        Some(due.event)
    }

    /// The fault of a kind that a node is under now.
    fn struck(&self, node: usize, is: impl Fn(FaultKind) -> bool) -> Option<&Fault> {
        let lasts = |fault: &&Fault| {
            fault.node == node && fault.at * 1_000 <= self.now && self.now < (fault.at + fault.lasts) * 1_000 && is(fault.kind)
        };
        self.faults.iter().filter(lasts).max_by_key(|fault| fault.at + fault.lasts)
    }

    /// Whether a node has crashed and has not come back.
    pub fn is_down(&self, node: usize) -> bool {
        self.struck(node, |kind| kind == FaultKind::Crash).is_some()
    }

    /// For how many microseconds a node does nothing yet.
    pub fn paused_for(&self, node: usize) -> Option<u64> {
        self.struck(node, |kind| kind == FaultKind::Pause).map(|fault| (fault.at + fault.lasts) * 1_000 - self.now)
    }

    /// Whether two nodes hear each other.
    pub fn is_linked(&self, from: usize, to: usize) -> bool {
        from == to || [from, to].iter().all(|node| self.struck(*node, |kind| kind == FaultKind::Isolate).is_none())
    }

    /// What a node's clock says, in microseconds.
    pub fn clock(&self, node: usize) -> i64 {
        let skew = match self.struck(node, |kind| matches!(kind, FaultKind::Skew(_))).map(|fault| fault.kind) {
            Some(FaultKind::Skew(ms)) => ms * 1_000,
            _ => 0,
        };
        i64::try_from(self.now).unwrap_or(i64::MAX).saturating_add(skew)
    }

    /// The moments, in microseconds, at which nodes crash.
    pub fn crashes(&self) -> Vec<(u64, usize)> {
        self.faults
            .iter()
            .filter(|fault| fault.kind == FaultKind::Crash && fault.node < NODES)
            .map(|fault| (fault.at * 1_000, fault.node))
            .collect()
    }
}
