//! Load: histories of operations for checkers, domain queries in an open loop for latency.

mod adds;
mod client;
mod open_loop;
mod running;

pub use adds::{Adder, Adds, InsertClient};
pub use client::{Client, Completion, Generator, Invocation};
pub use open_loop::{LoadPlan, LoadResult, QueryClient, open_loop};
pub use running::{Pace, Rhythm, Running};
