//! The models that a history can be checked against, by name.

use std::{fmt, str::FromStr};

use super::Level;

/// What a history is checked against. Values and operations are as in [`crate::workload`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// `register`: linearizable reads and writes of one register, or of one a key.
    Register,
    /// `cas-register`: the same with compare-and-set.
    CasRegister,
    /// `mutex`: `acquire` and `release` of one lock, linearizable.
    Mutex,
    /// `set`: `add` and reads of the whole set, linearizable.
    Set,
    /// `counter`: `add` and `read`, linearizable.
    Counter,
    /// `queue`: `enqueue` and `dequeue`, first in, first out, linearizable.
    Queue,
    /// `counter-bounds`: every read of a counter lies between what was surely and what was possibly added by then.
    CounterBounds,
    /// `durability`: the last read has every acknowledged `add`, none that failed, none twice.
    Durability,
    /// `bounded-loss`: as `durability`, but so many acknowledged ones may be lost.
    BoundedLoss {
        /// How many.
        lost_max: u64,
    },
    /// `ledger`: every database has every event that it acknowledged, and the databases agree.
    Ledger,
    /// `bank`: every read of all accounts has the same total, and no account is overdrawn.
    Bank {
        /// The total; [`None`]: that of the first read.
        total: Option<i64>,
    },
    /// `list-append`: transactions that append to lists, isolated at this level.
    ListAppend(Level),
    /// `rw-register`: transactions that write registers, isolated at this level.
    RwRegister(Level),
    /// `monotonic-reads`: no client sees a key go back.
    MonotonicReads,
    /// `causal`: who sees an effect sees its cause.
    Causal,
    /// `exclusive-writer`: never were two nodes writable at the same time.
    ExclusiveWriter,
    /// `fencing`: tokens of a lock grow, and the guarded resource refuses old ones.
    Fencing,
}

/// A model that there is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no model {0:?}; choose one of {names}", names = Model::NAMES.join(", "))]
pub struct UnknownModel(pub String);

impl Model {
    /// All names.
    pub const NAMES: [&str; 17] = [
        "register",
        "cas-register",
        "mutex",
        "set",
        "counter",
        "queue",
        "counter-bounds",
        "durability",
        "bounded-loss",
        "ledger",
        "bank",
        "list-append",
        "rw-register",
        "monotonic-reads",
        "causal",
        "exclusive-writer",
        "fencing",
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::CasRegister => "cas-register",
            Self::Mutex => "mutex",
            Self::Set => "set",
            Self::Counter => "counter",
            Self::Queue => "queue",
            Self::CounterBounds => "counter-bounds",
            Self::Durability => "durability",
            Self::BoundedLoss { .. } => "bounded-loss",
            Self::Ledger => "ledger",
            Self::Bank { .. } => "bank",
            Self::ListAppend(_) => "list-append",
            Self::RwRegister(_) => "rw-register",
            Self::MonotonicReads => "monotonic-reads",
            Self::Causal => "causal",
            Self::ExclusiveWriter => "exclusive-writer",
            Self::Fencing => "fencing",
        }
    }

    /// The same model at another isolation level; [`None`] for a model that has no levels.
    pub const fn at(self, level: Level) -> Option<Self> {
        match self {
            Self::ListAppend(_) => Some(Self::ListAppend(level)),
            Self::RwRegister(_) => Some(Self::RwRegister(level)),
            _ => None,
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Model {
    type Err = UnknownModel;

    /// A name as in [`Model::NAMES`]; transactions at [`Level::Serializable`], a loss bounded to none, a bank of any total.
    fn from_str(name: &str) -> Result<Self, UnknownModel> {
        Ok(match name {
            "register" => Self::Register,
            "cas-register" => Self::CasRegister,
            "mutex" => Self::Mutex,
            "set" => Self::Set,
            "counter" => Self::Counter,
            "queue" => Self::Queue,
            "counter-bounds" => Self::CounterBounds,
            "durability" => Self::Durability,
            "bounded-loss" => Self::BoundedLoss { lost_max: 0 },
            "ledger" => Self::Ledger,
            "bank" => Self::Bank { total: None },
            "list-append" => Self::ListAppend(Level::Serializable),
            "rw-register" => Self::RwRegister(Level::Serializable),
            "monotonic-reads" => Self::MonotonicReads,
            "causal" => Self::Causal,
            "exclusive-writer" => Self::ExclusiveWriter,
            "fencing" => Self::Fencing,
            other => return Err(UnknownModel(other.into())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_names_its_model() {
        for name in Model::NAMES {
            assert_eq!(name.parse::<Model>().unwrap().name(), name);
        }
        assert!("regiser".parse::<Model>().unwrap_err().to_string().contains("rw-register"));
    }
}
