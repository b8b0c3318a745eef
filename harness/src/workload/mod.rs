//! Load: acknowledged inserts in a closed loop for durability, domain queries in an open loop for latency.

mod inserts;
mod open_loop;

pub use inserts::{InsertClient, InsertPlan, Inserts};
pub use open_loop::{LoadPlan, LoadResult, QueryClient, open_loop};
