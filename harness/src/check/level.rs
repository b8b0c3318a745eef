//! Isolation levels, weakest first.

use std::{fmt, str::FromStr};

/// What transactions promise each other (Adya, "Weak Consistency", 1999; Cerone et al., CONCUR 2015).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    /// No dirty writes.
    ReadUncommitted,
    /// No aborted, intermediate or circular reads either.
    ReadCommitted,
    /// Each transaction reads from one snapshot, and no two that overlap write the same.
    SnapshotIsolation,
    /// Snapshot isolation that respects the order within each session.
    StrongSessionSnapshotIsolation,
    /// Snapshot isolation that respects real time.
    StrongSnapshotIsolation,
    /// Nothing read changes before the end.
    RepeatableRead,
    /// As if one after the other.
    Serializable,
    /// Serializable in the order of each session.
    StrongSessionSerializable,
    /// Serializable in the order of real time.
    StrictSerializable,
}

/// A level that there is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no isolation level {0:?}; choose one of {names}", names = Level::ALL.map(Level::name).join(", "))]
pub struct UnknownLevel(pub String);

impl Level {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::ReadUncommitted,
        Self::ReadCommitted,
        Self::SnapshotIsolation,
        Self::StrongSessionSnapshotIsolation,
        Self::StrongSnapshotIsolation,
        Self::RepeatableRead,
        Self::Serializable,
        Self::StrongSessionSerializable,
        Self::StrictSerializable,
    ];

    /// Its name, as in the literature and in Elle.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadUncommitted => "read-uncommitted",
            Self::ReadCommitted => "read-committed",
            Self::SnapshotIsolation => "snapshot-isolation",
            Self::StrongSessionSnapshotIsolation => "strong-session-snapshot-isolation",
            Self::StrongSnapshotIsolation => "strong-snapshot-isolation",
            Self::RepeatableRead => "repeatable-read",
            Self::Serializable => "serializable",
            Self::StrongSessionSerializable => "strong-session-serializable",
            Self::StrictSerializable => "strict-serializable",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(name: &str) -> Result<Self, UnknownLevel> {
        Self::ALL.into_iter().find(|level| level.name() == name).ok_or_else(|| UnknownLevel(name.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_names_its_level_and_the_checker_knows_it() {
        for level in Level::ALL {
            assert_eq!(level.name().parse(), Ok(level));
            assert_eq!(adya::model::canonical(level.name()), Some(level.name()));
        }
        assert!("serial".parse::<Level>().unwrap_err().to_string().contains("serializable"));
    }
}
