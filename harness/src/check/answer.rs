//! What every check of a history says.

/// The answer of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The history is one that the model allows.
    Holds,
    /// It is not.
    Violated {
        /// Stable kebab-case id of what is wrong, such as `not-linearizable`.
        finding: &'static str,
        /// One sentence for people.
        message: String,
        /// The smallest piece of the history that shows it; may have several lines.
        witness: String,
    },
    /// It could not be decided, and why: out of time, or nothing to decide from.
    Unknown(String),
}

/// A check that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Against which model, such as `cas-register`.
    pub model: &'static str,
    /// How many operations it decided from.
    pub operations: u64,
    /// What came out.
    pub answer: Answer,
}
