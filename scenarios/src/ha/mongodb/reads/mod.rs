//! Reads go to the members that their preference names: seen at the members, not asked of the driver.

mod observer;
mod preferences;
mod reader;
mod rule;
mod staleness;

pub(super) use preferences::PREFERENCES;
pub(super) use staleness::STALENESS;
