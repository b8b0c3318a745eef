//! What can be wrong with the store.

/// A bug that can be switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bug {
    /// Each node answers reads from what it has applied itself.
    StaleRead,
    /// The leader acknowledges writes before any other node has them.
    LostAcknowledgedWrite,
    /// A node needs nobody else to lead or to commit.
    SplitBrain,
    /// Transactions see what others have not committed yet.
    DirtyRead,
    /// Transactions commit although what they read has changed.
    LostUpdate,
    /// Transactions commit if what they write is unchanged, whatever else they read.
    WriteSkew,
    /// As [`Bug::StaleRead`], and each read asks another node.
    NonMonotonicRead,
    /// The leader puts a command that is slow to commit into the log a second time.
    DuplicateApply,
    /// Of two writes the one with the later clock time wins, by the clock of the node that the client asked.
    ClockSkewedLastWriteWins,
    /// The resource that a lock guards accepts any token.
    UnfencedWrite,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::StaleRead,
        Self::LostAcknowledgedWrite,
        Self::SplitBrain,
        Self::DirtyRead,
        Self::LostUpdate,
        Self::WriteSkew,
        Self::NonMonotonicRead,
        Self::DuplicateApply,
        Self::ClockSkewedLastWriteWins,
        Self::UnfencedWrite,
    ];
}
