//! Takes a history apart, checks the parts side by side, puts the answers together.

use std::{
    collections::VecDeque,
    num::NonZeroUsize,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize},
    },
    time::{Duration, Instant},
};

use hashbrown::HashMap;
use thiserror::Error;

use super::{
    model::{Model, Operation},
    object::{Decision, Found, Shared, decision},
    verdict::{Limit, Verdict, Witness},
};

/// What a check may take.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long it may search; `None`: until it knows. Checked between steps of the model, so a check ends later by one step at most.
    pub time_limit: Option<Duration>,
    /// How many configurations and states it may keep; a configuration takes some 30 bytes, a state what the model makes of it.
    pub configurations_max: usize,
    /// How many objects it checks at a time.
    pub threads: NonZeroUsize,
}

impl Default for Options {
    /// A minute, a gigabyte or so, all processors.
    fn default() -> Self {
        Self {
            time_limit: Some(Duration::from_secs(60)),
            configurations_max: 30_000_000,
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        }
    }
}

/// A history that is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Malformed {
    /// An operation ends before it begins.
    #[error("check the history: operation {index} returns at {ret}, before its call at {call}; record both with one clock")]
    ReturnsBeforeCall {
        /// Its place in the history.
        index: usize,
        /// When it was called.
        call: u64,
        /// When it returned.
        ret: u64,
    },
    /// More operations than the checker can number.
    #[error("check the history: it has {0} operations and {max} are the most; split it", max = u32::MAX / 2)]
    TooLong(usize),
}

/// Whether `history` is linearizable with respect to `model`. The order of the slice does not matter.
pub fn check<M: Model>(model: &M, history: &[Operation<M::Op>], options: &Options) -> Result<Verdict, Malformed> {
    let deadline = options.time_limit.and_then(|limit| Instant::now().checked_add(limit));
    validate(history)?;
    let jobs: VecDeque<Job<'_>> =
        objects(model, history).into_iter().enumerate().map(|(number, indices)| (number, Work::Laid(indices), FIRST_STEPS)).collect();
    let found: Vec<Mutex<Option<Found>>> = jobs.iter().map(|_| Mutex::new(None)).collect();
    let shared = Shared {
        deadline,
        configurations_max: options.configurations_max,
        configurations: AtomicUsize::new(0),
        failed_at: AtomicU64::new(u64::MAX),
        stop: AtomicBool::new(false),
    };
    let threads = options.threads.get().min(jobs.len());
    let jobs = Mutex::new(jobs);
    let work = || {
        while let Some((number, work, steps)) = next(&jobs) {
            let mut decision = match work {
                Work::Laid(indices) => decision(model, history, indices),
                Work::Begun(decision) => decision,
            };
            match decision.proceed(steps, &shared) {
                None => lock(&jobs).push_back((number, Work::Begun(decision), steps.saturating_mul(2))),
                answer => *lock(&found[number]) = answer,
            }
        }
    };
    if threads <= 1 {
        work();
    } else {
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(work);
            }
        });
    }
    Ok(together(found.into_iter().filter_map(|found| found.into_inner().unwrap_or_else(PoisonError::into_inner))))
}

/// Which object, how far it is, and how many steps it may make before it is another's turn.
///
/// All objects take turns, even on one thread: an object that fails early saves the others the rest of their searches, however hard
/// they are. Turns double, so that changing them costs nothing in the end.
type Job<'a> = (usize, Work<'a>, u32);

enum Work<'a> {
    Laid(Vec<usize>),
    Begun(Box<dyn Decision + 'a>),
}

/// How many steps an object may make in its first turn.
const FIRST_STEPS: u32 = 1_024;

fn next<'a>(jobs: &Mutex<VecDeque<Job<'a>>>) -> Option<Job<'a>> {
    lock(jobs).pop_front()
}

/// A thread that panicked ends the check when the scope ends; until then the rest may go on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn validate<Op>(history: &[Operation<Op>]) -> Result<(), Malformed> {
    // The last half of the numbers is kept free, so that no sum of two overflows.
    if history.len() > (u32::MAX / 2) as usize {
        return Err(Malformed::TooLong(history.len()));
    }
    for (index, operation) in history.iter().enumerate() {
        if let Some(ret) = operation.ret.filter(|ret| *ret < operation.call) {
            return Err(Malformed::ReturnsBeforeCall { index, call: operation.call, ret });
        }
    }
    Ok(())
}

/// The operations of each object, in order of their first ones.
fn objects<M: Model>(model: &M, history: &[Operation<M::Op>]) -> Vec<Vec<usize>> {
    let mut numbers: HashMap<M::Key, usize> = HashMap::new();
    let mut objects: Vec<Vec<usize>> = Vec::new();
    for (index, operation) in history.iter().enumerate() {
        let number = *numbers.entry(model.key(&operation.op)).or_insert_with(|| {
            objects.push(Vec::new());
            objects.len() - 1
        });
        objects[number].push(index);
    }
    objects
}

fn together(found: impl Iterator<Item = Found>) -> Verdict {
    let mut witness: Option<Witness> = None;
    let mut linearizations = Vec::new();
    let mut limit = None;
    let mut objects_open = 0;
    for found in found {
        match found {
            Found::Order(order) => linearizations.push(order),
            Found::Witness(other) => {
                if witness.as_ref().is_none_or(|witness| other.failed_at < witness.failed_at) {
                    witness = Some(*other);
                }
            }
            // Linearizable up to where another object fails: that one decides.
            Found::Enough => {}
            Found::Limit(by) => {
                objects_open += 1;
                limit = Some(limit.map_or(by, |limit| if limit == Limit::Time { limit } else { by }));
            }
        }
    }
    match (witness, limit) {
        (Some(witness), _) => Verdict::NotLinearizable(witness),
        (None, Some(limit)) => Verdict::Unknown { limit, objects_checked: linearizations.len(), objects_open },
        (None, None) => Verdict::Linearizable { linearizations },
    }
}
