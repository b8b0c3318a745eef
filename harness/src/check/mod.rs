//! Pure functions from a history to a result with a witness.

mod availability;
mod durability;

pub use availability::{Availability, availability, samples};
pub use durability::{Durability, durability};
