//! What a check answers.

/// Is the history linearizable?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Linearizable {
        /// For each object, in order of its first operation, an order that explains it (places in the history). Operations that
        /// never returned are in it only where their effect is needed.
        linearizations: Vec<Vec<usize>>,
    },
    /// No.
    NotLinearizable(Witness),
    /// The search was ended before it knew.
    Unknown {
        /// By what.
        limit: Limit,
        /// Of how many objects the history is known to be linearizable.
        objects_checked: usize,
        /// Of how many objects nothing is known.
        objects_open: usize,
    },
}

/// What ended a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// [`Options::time_limit`](super::Options::time_limit).
    Time,
    /// [`Options::configurations_max`](super::Options::configurations_max).
    Configurations,
}

/// Why a history is not linearizable. All operations are of one object and are named by their places in the history.
///
/// The failing prefix ends with the return of `failed`: no order explains it, while one explains everything up to just before that
/// return. Where several objects fail, the witness is of the one that fails first. An operation under way at the end of
/// the prefix may have taken effect or not; if so, with the answer it got later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// The operation that cannot be put anywhere.
    pub failed: usize,
    /// When it returned: the end of the failing prefix.
    pub failed_at: u64,
    /// Whether the prefix is the shortest that fails. `false` only when a limit ended the search for it.
    pub shortest: bool,
    /// The failing prefix: the operations that returned in it, in order of their returns, `failed` last.
    pub returned: Vec<usize>,
    /// The failing prefix: the operations under way at its end, in order of their calls.
    pub under_way: Vec<usize>,
    /// The longest order found that explains all of the prefix but `failed`.
    pub longest: Vec<usize>,
    /// What to look at first: what ran while `failed` ran, in order of calls.
    pub concurrent: Vec<usize>,
}
