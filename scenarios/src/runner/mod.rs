//! Runs scenarios on a shared platform, side by side where they do not disturb each other.

mod choice;
mod evidence;
mod lanes;
mod lent;
mod proof;
mod runtime;
mod session;
mod turns;

pub use choice::Choice;
pub use evidence::{describe_platform, new_evidence, note_what_images_lack};
pub use lanes::{Job, run_all};
pub use proof::{NoPart, Part, proof_of, proofs_of};
pub use runtime::runtime;
pub use session::{Session, SessionError, SessionOptions};
pub(crate) use turns::Turn;
