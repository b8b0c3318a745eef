//! A clause of the catalogue with its verdict.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ScenarioEvidence, Verdict, worst};

/// A clause of the catalogue. It is always listed, evidenced or not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClauseEvidence {
    /// Id, for example `HA-PG-3`.
    pub id: String,
    /// Heading under which the catalogue lists it, for example `High availability`.
    pub family: String,
    /// The clause in words.
    pub title: String,
    /// What a scenario has to observe.
    pub shows: String,
    /// The duties that its evidence supports, for example `DORA 12(4)`.
    pub refs: Vec<String>,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, in one sentence.
    #[serde(default)]
    pub reason: String,
    /// Ids of all scenarios that give evidence for it, whether they ran or not.
    #[serde(default)]
    pub scenarios: Vec<String>,
}

impl ClauseEvidence {
    /// Decides the clause from its scenarios: the worst verdict of all of them counts.
    ///
    /// A scenario that did not run leaves its clause not evidenced, and so does a clause that has no scenario; in the
    /// latter case a reason that is already there is kept. Scenarios are named in the reason only where they are some of
    /// several: all of them are in the list already.
    pub fn settle(&mut self, ended: &[ScenarioEvidence]) {
        if self.scenarios.is_empty() {
            self.verdict = Verdict::NotEvidenced;
            if self.reason.is_empty() {
                "no scenario gives evidence for this clause yet".clone_into(&mut self.reason);
            }
            return;
        }
        let outcome = |id: &String| ended.iter().find(|scenario| scenario.scenario == *id);
        if self.scenarios.iter().all(|id| outcome(id).is_none()) {
            self.verdict = Verdict::NotEvidenced;
            "none of its scenarios ran".clone_into(&mut self.reason);
            return;
        }
        let outcomes = self.scenarios.iter().map(outcome);
        let verdicts = outcomes.map(|found| found.map_or(Verdict::NotEvidenced, |scenario| scenario.verdict));
        self.verdict = worst(verdicts);
        let reasons = self.scenarios.iter().filter_map(|id| match outcome(id) {
            None if self.verdict == Verdict::NotEvidenced => Some(format!("{id} did not run")),
            Some(scenario) if scenario.verdict == self.verdict && !scenario.reason.is_empty() => {
                let prefix = if self.scenarios.len() > 1 { format!("{id}: ") } else { String::new() };
                Some(format!("{prefix}{}", scenario.reason))
            }
            _ => None,
        });
        self.reason = reasons.collect::<Vec<_>>().join("; ");
    }
}
