//! Pure functions from a history to a result with a witness.

mod answer;
mod availability;
mod durability;
mod exclusive;

pub use answer::{Answer, Checked};
pub use availability::{Availability, availability, ceased_after, longest_gap, samples};
pub use durability::{Durability, durability};
pub use exclusive::{Overlap, overlaps};
