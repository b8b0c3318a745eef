//! The four verdicts, and how they are decided.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Finding, Measured, ProbeCell, ScenarioEvidence, Severity};

/// What is known about a clause or a scenario. There is no "skipped".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It was observed to hold.
    Satisfied,
    /// It was observed not to hold.
    NotSatisfied,
    /// It was tried, but something that the verdict rests on was not confirmed.
    Inconclusive,
    /// Nothing was tried: there is no scenario, it did not run, or a capability that it needs is missing.
    #[default]
    NotEvidenced,
}

impl Verdict {
    /// All verdicts, in the order in which they are listed.
    pub const ALL: [Self; 4] = [Self::Satisfied, Self::NotSatisfied, Self::Inconclusive, Self::NotEvidenced];

    /// The words that people read.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Satisfied => "satisfied",
            Self::NotSatisfied => "not satisfied",
            Self::Inconclusive => "inconclusive",
            Self::NotEvidenced => "not evidenced",
        }
    }

    /// The stable kebab-case word of files and style sheets.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Satisfied => "satisfied",
            Self::NotSatisfied => "not-satisfied",
            Self::Inconclusive => "inconclusive",
            Self::NotEvidenced => "not-evidenced",
        }
    }

    /// How much it weighs when several verdicts become one; the heaviest wins.
    fn weight(self) -> u8 {
        match self {
            Self::Satisfied => 0,
            Self::NotEvidenced => 1,
            Self::Inconclusive => 2,
            Self::NotSatisfied => 3,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text())
    }
}

/// Decides from what was found and measured.
///
/// A violation, or a limit that was not met, is `not satisfied`. Otherwise something unconfirmed, or a limited value
/// that was not observed, is `inconclusive`. Only the rest is `satisfied`.
#[must_use]
pub fn decide(findings: &[Finding], measured: &[Measured]) -> Verdict {
    let found = |severity| findings.iter().any(|finding| finding.severity == severity);
    if found(Severity::Violation) || measured.iter().any(|measure| measure.met == Some(false)) {
        Verdict::NotSatisfied
    } else if found(Severity::Unconfirmed) || measured.iter().any(|m| m.limit.is_some() && m.met.is_none()) {
        Verdict::Inconclusive
    } else {
        Verdict::Satisfied
    }
}

/// The worst of several verdicts: `not satisfied`, then `inconclusive`, then `not evidenced`, then `satisfied`.
/// Of none at all: `not evidenced`.
#[must_use]
pub fn worst(verdicts: impl IntoIterator<Item = Verdict>) -> Verdict {
    verdicts.into_iter().max_by_key(|verdict| verdict.weight()).unwrap_or(Verdict::NotEvidenced)
}

impl ScenarioEvidence {
    /// Decides from everything that this evidence holds; a superset of [`decide`] for one that ran to its end.
    ///
    /// Besides findings and measures: a probe with the wrong answer or a content that differs is `not satisfied`; a
    /// fault that no probe confirmed, a probe whose answer decides nothing, a limit that nobody measured, or the lack of any evidence at all is
    /// `inconclusive`.
    #[must_use]
    pub fn decide(&self) -> Verdict {
        let wrong_probe = self.probes().any(ProbeCell::is_wrong);
        let wrong_content = self.contents.iter().any(|row| !row.equal);
        let verdict = decide(&self.findings, &self.measured);
        if verdict == Verdict::NotSatisfied || wrong_probe || wrong_content {
            return Verdict::NotSatisfied;
        }
        let unconfirmed_fault = self.faults.iter().any(|fault| fault.confirmed_ms.is_none());
        let measured = |name: &str| self.measured.iter().any(|measure| measure.name == name && measure.met.is_some());
        let unmeasured_limit = self.objective.limits.iter().any(|limit| !measured(&limit.name));
        let observed_nothing =
            !self.measured.iter().any(|measure| measure.value.is_some()) && self.probes().next().is_none() && self.contents.is_empty();
        let undecided_probe = self.probes().any(|probe| probe.undecided);
        if unconfirmed_fault || unmeasured_limit || observed_nothing || undecided_probe { Verdict::Inconclusive } else { verdict }
    }
}

/// How often each verdict was given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct VerdictCounts {
    /// Number of `satisfied`.
    pub satisfied: usize,
    /// Number of `not satisfied`.
    pub not_satisfied: usize,
    /// Number of `inconclusive`.
    pub inconclusive: usize,
    /// Number of `not evidenced`.
    pub not_evidenced: usize,
}

impl VerdictCounts {
    /// The number of this verdict.
    #[must_use]
    pub fn of(&self, verdict: Verdict) -> usize {
        match verdict {
            Verdict::Satisfied => self.satisfied,
            Verdict::NotSatisfied => self.not_satisfied,
            Verdict::Inconclusive => self.inconclusive,
            Verdict::NotEvidenced => self.not_evidenced,
        }
    }

    /// All of them together.
    #[must_use]
    pub fn total(&self) -> usize {
        Verdict::ALL.into_iter().map(|verdict| self.of(verdict)).sum()
    }
}

impl FromIterator<Verdict> for VerdictCounts {
    fn from_iter<T: IntoIterator<Item = Verdict>>(verdicts: T) -> Self {
        let mut counts = Self::default();
        for verdict in verdicts {
            match verdict {
                Verdict::Satisfied => counts.satisfied += 1,
                Verdict::NotSatisfied => counts.not_satisfied += 1,
                Verdict::Inconclusive => counts.inconclusive += 1,
                Verdict::NotEvidenced => counts.not_evidenced += 1,
            }
        }
        counts
    }
}
