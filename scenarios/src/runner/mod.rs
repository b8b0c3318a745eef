//! Runs scenarios on a shared platform, side by side where they do not disturb each other.

mod evidence;
mod lanes;
mod session;

pub use evidence::{describe_images, describe_topology, new_evidence};
pub use lanes::{Job, run_all};
pub use session::{Session, SessionError, SessionOptions};
