//! Encryption at rest: what an intruder with the disks would find, and what the key is good for.

mod cost;
mod crash;
mod driver;
mod sabotage;
pub(super) mod search;
mod storage;
mod target;

pub mod influxdb;
pub mod mongodb;
pub mod neo4j;
pub mod postgres;
pub mod redis;

pub use driver::at_rest;
pub use sabotage::{ALONE_IN_THE_CLEAR, ANOTHER_CIPHER, ANOTHERS_KEY, COPY_BESIDE, FORGETFUL, KEY_ON_DISK, PART_OUTSIDE, PLAIN_DIRECTORY};
pub use target::{Alone, Holder, RestTarget};
