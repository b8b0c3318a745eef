//! A master, its replicas and the Sentinels that choose another master.

mod case;
mod roles;
mod sabotage;
pub mod scenarios;
mod target;

use case::Case;
use target::run;
pub use target::{forget_inserts, replica_killed};
