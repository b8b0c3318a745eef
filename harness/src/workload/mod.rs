//! Load: histories of operations for checkers, domain queries in an open loop for latency.

mod adds;
mod causes;
mod client;
mod counts;
mod locks;
mod monotonic;
mod open_loop;
mod registers;
mod running;
mod transactions;
mod transfers;

pub use adds::{Adder, Adds, InsertClient};
pub use causes::Causes;
pub use client::{Client, Completion, Generator, Invocation};
pub use counts::Counts;
pub use locks::Locks;
pub use monotonic::Monotonic;
pub use open_loop::{LoadPlan, LoadResult, QueryClient, open_loop};
pub use registers::Registers;
pub use running::{Pace, Rhythm, Running};
pub use transactions::{Appends, Writes};
pub use transfers::Transfers;
