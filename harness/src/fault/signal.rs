//! Signals by name.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What a process can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Signal {
    /// Ends it at once, no clean-up.
    Kill,
    /// Asks it to end.
    Term,
    /// Asks it to end, as Ctrl-C does. PostgreSQL: fast shutdown.
    Int,
    /// Asks it to end with a core. PostgreSQL: immediate shutdown.
    Quit,
    /// As a crash of its own making.
    Abrt,
    /// As a crash of its own making.
    Segv,
    /// Freezes it.
    Stop,
    /// Ends [`Signal::Stop`].
    Cont,
}

impl Signal {
    /// All of them.
    pub const ALL: [Self; 8] = [Self::Kill, Self::Term, Self::Int, Self::Quit, Self::Abrt, Self::Segv, Self::Stop, Self::Cont];

    /// The name without `SIG`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "KILL",
            Self::Term => "TERM",
            Self::Int => "INT",
            Self::Quit => "QUIT",
            Self::Abrt => "ABRT",
            Self::Segv => "SEGV",
            Self::Stop => "STOP",
            Self::Cont => "CONT",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SIG{}", self.name())
    }
}

/// Nothing has that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no signal `{0}` here; known are KILL, TERM, INT, QUIT, ABRT, SEGV, STOP, CONT")]
pub struct UnknownSignal(String);

impl FromStr for Signal {
    type Err = UnknownSignal;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        Self::ALL.into_iter().find(|signal| signal.name() == name).ok_or_else(|| UnknownSignal(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_with_and_without_their_prefix() {
        for signal in Signal::ALL {
            assert_eq!(signal.name().parse(), Ok(signal));
            assert_eq!(signal.to_string().to_lowercase().parse(), Ok(signal));
        }
        assert!("9".parse::<Signal>().is_err());
    }
}
