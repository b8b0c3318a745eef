//! Two datacentres, one node (2.7) in each: what is written to the source is sent on to the remote, through a queue on the source's disk.

mod client;
mod datacentre;
mod pair;
mod start;

pub use client::TokenClient;
pub use datacentre::Datacentre;
pub use pair::{Datacentres, Queue};
pub use start::{BUCKET, IMAGE};
