//! What became of the planted defects: a check that stays green under its sabotage is itself a defect.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One scenario under one planted defect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProofEvidence {
    /// The scenario, for example `ha/postgres/primary-killed`.
    pub scenario: String,
    /// The defect's name, for example `patroni-frozen`.
    pub sabotage: String,
    /// What was planted.
    pub what: String,
    /// Id of the finding by which it has to be noticed.
    pub expects: String,
    /// Whether it was.
    pub outcome: ProofOutcome,
    /// What the scenario said: the finding's message when it was noticed, otherwise its verdict and reason.
    pub told: String,
    /// How long it took, in milliseconds.
    pub elapsed_ms: f64,
}

/// Whether a planted defect was noticed; the words are those of mutation testing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProofOutcome {
    /// The scenario was not satisfied, for the stated reason.
    Killed,
    /// The scenario was satisfied, or not satisfied for another reason only.
    Survived,
    /// The scenario could not be carried out or decided.
    Undecided,
}

impl ProofOutcome {
    /// The word.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Survived => "survived",
            Self::Undecided => "undecided",
        }
    }
}
