//! What each way of keeping data survives.

mod driver;
mod judge;
mod scenario;
mod server;

pub use scenario::{DURABILITY_LEVELS, DURABILITY_LEVELS_POWER_LOSS};
