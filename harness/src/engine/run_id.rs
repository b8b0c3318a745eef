//! The name of a run.

use std::{fmt, str::FromStr};

use rand::RngExt as _;
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, macros::format_description};

/// Names one run: its containers, its networks, its bundle. Sorts by start time; two runs that start in the same second
/// differ in the random part.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(String);

/// The text is not a run's name.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a run's name: use letters, digits and `-` only, as printed when the run started")]
pub struct RunIdError(String);

impl RunId {
    /// A new name from the clock and chance, such as `20260131-235959-k3f9`.
    pub fn generate() -> Self {
        let stamp = OffsetDateTime::now_utc()
            .format(format_description!("[year][month][day]-[hour][minute][second]"))
            .unwrap_or_else(|_| String::from("undated"));
        let mut random = rand::rng();
        let suffix: String = (0..4).map(|_| char::from(b"abcdefghjkmnpqrstuvwxyz23456789"[random.random_range(0..31)])).collect();
        Self(format!("{stamp}-{suffix}"))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for RunId {
    type Err = RunIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let usable = !text.is_empty() && text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if usable { Ok(Self(text.to_owned())) } else { Err(RunIdError(text.to_owned())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_name_reads_back() {
        let run = RunId::generate();
        assert_eq!(run.as_str().parse::<RunId>().unwrap(), run);
    }

    #[test]
    fn a_name_that_could_leave_its_folder_is_refused() {
        assert!("../evil".parse::<RunId>().is_err());
        assert!("".parse::<RunId>().is_err());
    }
}
