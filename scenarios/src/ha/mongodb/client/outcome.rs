//! How an operation ended, from the driver's words.

use std::time::Duration;

use dora_harness::history::Outcome;
use mongodb::error::{Error, ErrorKind, WriteFailure};

/// How long an operation waits for a primary: short, so that the next one tries again.
pub(super) const SELECTION: Duration = Duration::from_secs(1);
/// How long the server may take for a read that waits for others; below the workload's own limit, so that its words are heard.
pub(super) const MAJORITY_LIMIT: Duration = Duration::from_millis(1_500);
/// `NotWritablePrimary` and `NotPrimaryNoSecondaryOk`: refused before anything was done.
pub(super) const NOT_PRIMARY: [i32; 2] = [10_107, 13_435];

/// The end of something that writes.
pub(super) fn written<T>(result: Result<T, Error>) -> Outcome {
    match result {
        Ok(_answer) => Outcome::Ok,
        Err(error) if surely_not_applied(&error) => Outcome::Fail(error.to_string()),
        Err(error) => Outcome::Unknown(error.to_string()),
    }
}

/// Whether a write surely did not happen: there was nobody to send it to, or the server refused it before doing anything.
/// A broken connection, an interrupted primary or a majority that did not answer in time leave it open.
fn surely_not_applied(error: &Error) -> bool {
    match &*error.kind {
        ErrorKind::ServerSelection { .. } | ErrorKind::Authentication { .. } | ErrorKind::Write(WriteFailure::WriteError(_)) => true,
        ErrorKind::Command(command) => NOT_PRIMARY.contains(&command.code),
        _ => false,
    }
}

/// A value as the server keeps it; what does not fit is never sent.
pub(super) fn signed(value: u64) -> Result<i64, Outcome> {
    i64::try_from(value).map_err(|_| Outcome::Fail("the value is beyond the server's integers".into()))
}
