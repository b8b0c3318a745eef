//! The scenarios as values.

pub(super) mod arbiter;
pub(super) mod majority;
pub(super) mod primary;
pub(super) mod secondary;
