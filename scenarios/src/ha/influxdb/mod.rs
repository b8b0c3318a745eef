//! InfluxDB's cluster under faults: quorum writes, hinted handoff, consistency levels, the meta nodes.

mod batches;
mod clients;
mod during;
mod handoff;
mod levels;
mod outages;
mod sabotage;
mod scenarios;
mod set;
mod struck;
mod target;

pub use scenarios::SCENARIOS;
