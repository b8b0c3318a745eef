//! Which faults strike when.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// How many nodes the store has.
pub const NODES: usize = 3;
/// Faults of a generated schedule at most.
const FAULTS_MAX: usize = 5;
/// How long one lasts at most, in milliseconds: several elections.
const LASTS_MAX: u64 = 600;
/// How far a clock is set off at most, in milliseconds.
const SKEW_MAX: i64 = 500;

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// When it strikes, in simulated milliseconds from the start.
    pub at: u64,
    /// After how many milliseconds it is healed.
    pub lasts: u64,
    /// Which node, below [`NODES`].
    pub node: usize,
    /// What happens to it.
    pub kind: FaultKind,
}

/// What happens to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// It loses all but its log, and starts again when healed.
    Crash,
    /// It does nothing, and goes on with everything when healed.
    Pause,
    /// No other node hears it, and it hears none; clients still reach it.
    Isolate,
    /// Its clock is off by so many milliseconds.
    Skew(i64),
}

/// A schedule from a seed, for a run of this many simulated milliseconds. All faults are healed by then.
pub fn schedule(seed: u64, millis: u64) -> Vec<Fault> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    (0..random.random_range(1..=FAULTS_MAX))
        .map(|_| {
            let at = random.random_range(0..millis * 3 / 4);
            Fault {
                at,
                lasts: random.random_range(1..=LASTS_MAX).min(millis - at),
                node: random.random_range(0..NODES),
                kind: match random.random_range(0..4) {
                    0 => FaultKind::Crash,
                    1 => FaultKind::Pause,
                    2 => FaultKind::Isolate,
                    _ => FaultKind::Skew(random.random_range(-SKEW_MAX..=SKEW_MAX)),
                },
            }
        })
        .collect()
}
