//! What the clients ask of the set.

use std::time::Duration;

use mongodb::options::{Acknowledgment, ReadConcern, WriteConcern};

use super::sabotage;

/// How long the server waits for the copies that a write asks for; below the workload's own limit, so that its words are heard.
const COPIES_LIMIT: Duration = Duration::from_millis(1_500);

/// Concerns of the clients. A sabotage of the clients asks for something else than the scenario promises.
#[derive(Debug, Clone)]
pub(super) struct Demand {
    /// What acknowledges a write.
    pub write: WriteConcern,
    /// Whose word a register's read is.
    pub read: ReadConcern,
    /// Whether transactions are transactions.
    pub transactions: bool,
    /// Whether sessions carry what they have seen.
    pub sessions: bool,
}

impl Demand {
    /// A majority's journals on both sides, unless the sabotage says otherwise.
    pub(super) fn under(sabotage: Option<&str>) -> Self {
        let asks = |id| sabotage == Some(id);
        let (copies, journal) = match sabotage {
            Some(sabotage::ONE_COPY) => (Acknowledgment::Nodes(1), true),
            Some(sabotage::FROM_MEMORY) => (Acknowledgment::Nodes(1), false),
            Some(sabotage::EVERY_COPY) => (Acknowledgment::Nodes(3), true),
            _ => (Acknowledgment::Majority, true),
        };
        Self {
            write: WriteConcern::builder().w(copies).journal(journal).w_timeout(COPIES_LIMIT).build(),
            read: ReadConcern::linearizable(),
            transactions: !asks(sabotage::NO_TRANSACTIONS),
            sessions: !asks(sabotage::NO_SESSIONS),
        }
    }
}
