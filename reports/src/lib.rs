//! Plain data in, files out: the evidence of a run and everything that is rendered from it.
//!
//! [`evidence`] is the versioned schema. [`BundleWriter`] writes it while a run goes on; [`Bundle`] reads it back.
//! [`html`], [`junit`] and [`terminal`] are pure functions of the evidence. This crate knows nothing of containers,
//! databases or clauses: whoever runs scenarios fills in the data.

pub mod bundle;
pub mod evidence;
pub mod html;
pub mod junit;
pub mod schema;
pub mod terminal;

mod order;
mod text;

pub use bundle::{Bundle, BundleError, BundleWriter};
pub use evidence::*;
