//! Pure functions from a history to a result with a witness.

mod answer;
mod availability;
mod bank;
mod batch_reads;
mod causal;
mod counter;
mod durability;
mod exclusive;
mod fencing;
mod isolation;
mod judge;
mod ledger;
mod level;
pub mod linearizability;
mod linearizable;
mod model;
mod monotonic;
mod retained;
#[cfg(test)]
mod sample;
mod shape;
mod witness;

pub use answer::{Answer, Checked};
pub use availability::{Availability, availability, ceased_after, longest_gap, samples};
pub use batch_reads::{BatchReads, batches_read};
pub use durability::{Durability, durability};
pub use exclusive::{Overlap, overlaps, writable_at_once};
pub use fencing::stale_token_tried;
pub use judge::{judge, judge_within, try_judge_within};
pub use level::{Level, UnknownLevel};
pub use model::{Model, UnknownModel};
pub use shape::Mismatch;
