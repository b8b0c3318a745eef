//! Does a history of concurrent operations look as if each had taken effect at one instant between its call and its
//! return?
//!
//! # Method
//! The search is that of Wing and Gong ("Testing and Verifying Concurrent Objects", 1993) with the memory of Lowe ("Testing
//! for Linearizability", 2017), on a history that is first taken apart by key (Horn and Kroening, "Faster Linearizability
//! Checking via P-compositionality", 2015): a history of independent objects is linearizable if and only if that of each
//! object is.
//!
//! A *configuration* says which operations have taken effect and what state they left. From each one, the search lets any
//! operation take effect that has been called, as long as none that has not yet taken effect returned before that call. What is
//! special here, each argued where it is done:
//!
//! - operations are forced just in time (Lowe, section 4): the one that returns next is tried first (`search`);
//! - everything before the next return has taken effect, so a configuration is the number of returns passed, a state and one
//!   bit for each operation under way: a few bytes, whatever the length of the history (`timeline`);
//! - an operation that never changes a state takes effect as soon as it can, without a choice (`search`);
//! - a way is left as soon as a read has lost the last write that could make it true (`position`);
//! - a configuration is left when a better one was seen, not only the same one (`visited`);
//! - equal states and equal operations are kept and stepped once (`states`);
//! - objects take turns, so that one that fails ends the check whatever the others cost (`check`).
//!
//! # Time
//! An operation without a return may take effect at any time after its call, or never. Intervals are closed: a call at the
//! very nanosecond of another's return counts as concurrent with it. Were they half-open, a correct register could be
//! condemned: the clock reads 5 when `write(1)` has returned, and still 5 when another client calls the `read` that had been
//! answered with the old value, because the clock did not move between two events in the other order. With closed intervals
//! the worst is one unnoticed violation within one tick of the clock, never a false alarm.

mod check;
mod model;
mod object;
mod position;
mod search;
mod states;
mod timeline;
mod verdict;
mod visited;

pub use check::{Malformed, Options, check};
pub use model::{
    Model, Operation,
    combine::{Keyed, PerKey, Together},
    counter::{Counter, CounterOp},
    lock::{Lock, LockOp},
    queue::{Queue, QueueOp, Taken},
    register::{Register, RegisterOp},
    set::{Set, SetOp},
    text::{Text, TextOp},
};
pub use verdict::{Limit, Verdict, Witness};
