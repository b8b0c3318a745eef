//! Tables of evidence that some scenarios have: a matrix of probes, a register, contents before and after a restore.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was tried (columns) against what (rows), what should have happened and what did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProbeMatrix {
    /// What the table shows, in one line.
    pub title: String,
    /// What a row is, for example `Role`; `Endpoint` where it is empty.
    #[serde(default)]
    pub row_heading: String,
    /// One heading for each cell of a row, for example `TLS 1.2`.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<ProbeRow>,
}

/// The probes of one endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProbeRow {
    /// The endpoint, for example `pg1:5432`.
    pub name: String,
    /// One cell a column; absent where the probe does not apply.
    pub cells: Vec<Option<ProbeCell>>,
}

/// One probe.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProbeCell {
    /// What should have happened, for example `refused`.
    pub expected: String,
    /// What happened, for example `accepted`.
    pub observed: String,
    /// Whether that is right.
    pub ok: bool,
    /// Whether what happened decides nothing, such as a refusal for a reason that could not be read: then it is not right, and not wrong
    /// either.
    #[serde(default)]
    pub undecided: bool,
}

/// A register: things as they were found, for a reader to look up. It decides nothing; what is wrong with it is a finding.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Register {
    /// What is registered, in one line.
    pub title: String,
    /// One heading for each cell of a row, for example `Serial number`.
    pub columns: Vec<String>,
    /// The rows; each has as many cells as there are columns.
    pub rows: Vec<Vec<String>>,
}

/// One object (table, label, collection, measurement, key space) before a backup and after its restore.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContentRow {
    /// Name of the object.
    pub object: String,
    /// Number of records when the backup was taken.
    pub before_count: u64,
    /// Number of records after the restore; absent when the object is not there.
    #[serde(default)]
    pub after_count: Option<u64>,
    /// Hash of the content when the backup was taken, lowercase hexadecimal.
    pub before_hash: String,
    /// Hash of the content after the restore; absent when the object is not there.
    #[serde(default)]
    pub after_hash: Option<String>,
    /// Whether count and hash are the same.
    pub equal: bool,
}

impl ProbeMatrix {
    /// Whether every probe that applies gave what was expected.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.cells().all(|cell| cell.ok)
    }

    /// Every probe that applies.
    pub fn cells(&self) -> impl Iterator<Item = &ProbeCell> {
        self.rows.iter().flat_map(|row| row.cells.iter().flatten())
    }
}

impl ProbeCell {
    /// A probe that is right exactly when it gave what was expected.
    #[must_use]
    pub fn new(expected: impl Into<String>, observed: impl Into<String>) -> Self {
        let (expected, observed) = (expected.into(), observed.into());
        let ok = expected == observed;
        Self { expected, observed, ok, undecided: false }
    }

    /// Whether it is wrong: not right, and decided.
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        !self.ok && !self.undecided
    }
}

impl ContentRow {
    /// Compares count and hash; `after` is absent when the restored system does not have the object.
    #[must_use]
    pub fn compare(object: impl Into<String>, before: (u64, String), after: Option<(u64, String)>) -> Self {
        let equal = after.as_ref() == Some(&before);
        let (after_count, after_hash) = after.unzip();
        Self { object: object.into(), before_count: before.0, after_count, before_hash: before.1, after_hash, equal }
    }
}
