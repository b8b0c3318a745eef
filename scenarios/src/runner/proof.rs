//! Whether a planted defect was noticed, and which part of all defects is tried.

use std::{fmt, str::FromStr};

use dora_reports::evidence::{ProofEvidence, ProofOutcome, ScenarioEvidence, Severity, Verdict};
use time::OffsetDateTime;

use super::Job;
use crate::{Sabotage, Scenario};

/// Decides what a scenario under a sabotage proves: killed only when it was not satisfied *because of the expected finding*.
pub fn proof_of(evidence: &ScenarioEvidence, sabotage: &Sabotage) -> ProofEvidence {
    let noticed = evidence.findings.iter().find(|finding| finding.severity == Severity::Violation && finding.id == sabotage.expects);
    let others = || {
        let ids: Vec<&str> = evidence.findings.iter().filter(|f| f.severity > Severity::Note).map(|finding| finding.id.as_str()).collect();
        if ids.is_empty() { String::new() } else { format!(" (found: {})", ids.join(", ")) }
    };
    let (outcome, told) = match (evidence.verdict, noticed) {
        (Verdict::NotSatisfied, Some(finding)) => (ProofOutcome::Killed, finding.message.clone()),
        (Verdict::Satisfied, _) => (ProofOutcome::Survived, "satisfied, as if nothing had been planted".to_owned()),
        (Verdict::NotSatisfied, None) => {
            (ProofOutcome::Survived, format!("not satisfied for another reason: {}{}", evidence.reason, others()))
        }
        (verdict, _) => (ProofOutcome::Undecided, format!("{verdict}: {}{}", evidence.reason, others())),
    };
    ProofEvidence {
        scenario: evidence.scenario.clone(),
        sabotage: sabotage.id.to_owned(),
        what: sabotage.what.to_owned(),
        expects: sabotage.expects.to_owned(),
        outcome,
        told,
        elapsed_ms: evidence.finished_ms - evidence.started_ms,
    }
}

/// Every sabotage of these scenarios as a job, in their order.
pub fn proofs_of(scenarios: &[&'static Scenario]) -> Vec<Job> {
    let of = |scenario: &&'static Scenario| {
        let scenario: &'static Scenario = scenario;
        scenario.sabotages.iter().map(move |sabotage| Job { scenario, sabotage: Some(sabotage) })
    };
    scenarios.iter().flat_map(of).collect()
}

/// One part of all proofs, so that a run with little time tries some today and the others on the following days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    number: usize,
    of: usize,
}

impl Part {
    /// Everything.
    pub const ALL: Self = Self { number: 1, of: 1 };

    /// The part whose turn it is on the day that contains `now`: after `of` days every proof was tried.
    pub fn of_day(now: OffsetDateTime, of: usize) -> Self {
        let of = of.max(1);
        Self { number: usize::try_from(now.to_julian_day()).unwrap_or(0) % of + 1, of }
    }

    /// The jobs of this part. They are dealt out one by one, database by database, so that every part has some of each.
    pub fn select(self, jobs: Vec<Job>) -> Vec<Job> {
        let mut dealt = std::collections::BTreeMap::<_, usize>::new();
        let mine = |job: &Job| {
            let next = dealt.entry(job.scenario.database).or_default();
            *next += 1;
            (*next - 1) % self.of == self.number - 1
        };
        jobs.into_iter().filter(mine).collect()
    }
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.number, self.of)
    }
}

/// Text that names no part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no part: write `all`, `2/7` for the second of seven, or `today/7` for the one whose turn it is")]
pub struct NoPart(String);

impl FromStr for Part {
    type Err = NoPart;

    fn from_str(text: &str) -> Result<Self, NoPart> {
        let refused = || NoPart(text.to_owned());
        if text == "all" {
            return Ok(Self::ALL);
        }
        let (number, of) = text.split_once('/').ok_or_else(refused)?;
        let of = of.parse().ok().filter(|of| (1..=1_000).contains(of)).ok_or_else(refused)?;
        if number == "today" {
            return Ok(Self::of_day(OffsetDateTime::now_utc(), of));
        }
        let number = number.parse().ok().filter(|number| (1..=of).contains(number)).ok_or_else(refused)?;
        Ok(Self { number, of })
    }
}

#[cfg(test)]
mod tests {
    use dora_reports::evidence::Finding;

    use super::*;
    use crate::all;

    const PLANTED: Sabotage = Sabotage { id: "planted", what: "a defect", expects: "the-finding" };

    fn evidence(verdict: Verdict, finding: Option<&str>) -> ScenarioEvidence {
        let findings = finding.map(|id| Finding::violation(id, "seen")).into_iter().collect();
        ScenarioEvidence { verdict, findings, ..ScenarioEvidence::default() }
    }

    #[test]
    fn only_red_for_the_stated_reason_is_a_proof() {
        let outcome = |verdict, finding| proof_of(&evidence(verdict, finding), &PLANTED).outcome;
        assert_eq!(outcome(Verdict::NotSatisfied, Some("the-finding")), ProofOutcome::Killed);
        assert_eq!(outcome(Verdict::NotSatisfied, Some("another")), ProofOutcome::Survived);
        assert_eq!(outcome(Verdict::NotSatisfied, None), ProofOutcome::Survived);
        assert_eq!(outcome(Verdict::Satisfied, None), ProofOutcome::Survived);
        assert_eq!(outcome(Verdict::Inconclusive, None), ProofOutcome::Undecided);
        assert_eq!(outcome(Verdict::NotEvidenced, None), ProofOutcome::Undecided);
    }

    #[test]
    fn the_parts_of_a_week_make_the_whole_and_share_nothing() {
        let everything = proofs_of(&all());
        let name = |job: &Job| format!("{} {}", job.scenario.id, job.sabotage.map_or("", |sabotage| sabotage.id));
        let mut seen: Vec<String> =
            (1..=7).flat_map(|number| Part { number, of: 7 }.select(everything.clone())).map(|job| name(&job)).collect();
        let mut expected: Vec<String> = everything.iter().map(name).collect();
        seen.sort();
        expected.sort();
        assert_eq!(seen, expected);
    }

    #[test]
    fn following_days_have_following_parts() {
        let day = time::macros::datetime!(2026-11-24 12:00 UTC);
        let (today, tomorrow) = (Part::of_day(day, 4), Part::of_day(day + time::Duration::DAY, 4));
        assert_eq!(tomorrow.number, today.number % 4 + 1);
    }

    #[test]
    fn a_part_is_read_or_refused_with_what_to_write() {
        assert_eq!("2/7".parse(), Ok(Part { number: 2, of: 7 }));
        assert_eq!("all".parse(), Ok(Part::ALL));
        for wrong in ["0/3", "4/3", "x/3", "3", "1/0", "1/", "/"] {
            assert!(wrong.parse::<Part>().unwrap_err().to_string().contains("today/7"), "{wrong}");
        }
    }
}
