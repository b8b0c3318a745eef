//! What a test run decides: always the core, and of everything else the part whose turn it is.

use time::OffsetDateTime;

use super::{Job, Part, proofs_of};
use crate::{all, core_ids};

/// Beyond the core, every scenario is decided once within so many days of test runs.
const SCENARIO_DAYS: usize = 15;
/// Beyond the core's, every proof is tried once within so many days of test runs.
const PROOF_DAYS: usize = 90;

/// The scenarios and proofs of a test run: the core, the first proof of each scenario of the core, and a part of the others.
#[derive(Debug, Clone, Copy)]
pub struct Choice {
    /// Which of the scenarios beyond the core.
    pub scenarios: Part,
    /// Which of the proofs beyond the first one of each scenario of the core.
    pub proofs: Part,
}

impl Choice {
    /// Everything.
    pub const ALL: Self = Self { scenarios: Part::ALL, proofs: Part::ALL };

    /// What a test run has time for on the day that contains `now`.
    pub fn of_day(now: OffsetDateTime) -> Self {
        Self { scenarios: Part::of_day(now, SCENARIO_DAYS), proofs: Part::of_day(now, PROOF_DAYS) }
    }

    /// The chosen jobs: the pillars in the order in which they use the cluster up, in each of them the scenarios before the proofs.
    pub fn jobs(self) -> Vec<Job> {
        let scenarios = all();
        let core = core_ids();
        let first = |job: &Job| job.sabotage.is_none() || job.sabotage == job.scenario.sabotages.first();
        let always = |job: &Job| core.contains(job.scenario.id) && first(job);
        let without_defect = scenarios.iter().copied().map(|scenario| Job { scenario, sabotage: None }).collect();
        let mut chosen = with_part(without_defect, self.scenarios, always);
        chosen.extend(with_part(proofs_of(&scenarios), self.proofs, always));
        let place = |job: &Job| scenarios.iter().position(|scenario| scenario.id == job.scenario.id);
        chosen.sort_by_cached_key(|job| (job.scenario.pillar, job.sabotage.is_some(), place(job)));
        chosen
    }
}

/// The jobs that are chosen always, then those of the others that are in the part.
fn with_part(jobs: Vec<Job>, part: Part, always: impl Fn(&Job) -> bool) -> Vec<Job> {
    let (mut chosen, others): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(always);
    chosen.extend(part.select(others));
    chosen
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{Database, Pillar};

    /// What a test run has time for on two cores.
    const TRIALS_MAX: usize = 65;

    fn names(jobs: &[Job]) -> Vec<(&'static str, &'static str)> {
        jobs.iter().map(|job| (job.scenario.id, job.sabotage.map_or("", |sabotage| sabotage.id))).collect()
    }

    /// The choices of as many days as it takes until every pair of parts was there.
    fn days() -> impl Iterator<Item = Choice> {
        let first = time::macros::datetime!(2026-11-24 12:00 UTC);
        (0_i64..).take(SCENARIO_DAYS * PROOF_DAYS).map(move |day| Choice::of_day(first + time::Duration::days(day)))
    }

    #[test]
    fn every_day_decides_the_core_with_one_proof_of_each_and_has_time_for_it() {
        let scenarios = all();
        let core = core_ids();
        assert_eq!(core.len(), Pillar::ALL.len() * Database::ALL.len());
        for choice in days() {
            let jobs = choice.jobs();
            let chosen: BTreeSet<_> = names(&jobs).into_iter().collect();
            for scenario in scenarios.iter().filter(|scenario| core.contains(scenario.id)) {
                assert!(chosen.contains(&(scenario.id, "")), "{} is not decided", scenario.id);
                assert!(chosen.contains(&(scenario.id, scenario.sabotages[0].id)), "{} is not seen to fail", scenario.id);
            }
            assert_eq!(chosen.len(), jobs.len(), "a trial is there twice");
            assert!(jobs.len() <= TRIALS_MAX, "{} trials with part {} and {}", jobs.len(), choice.scenarios, choice.proofs);
        }
    }

    #[test]
    fn the_days_leave_nothing_out() {
        let everything: BTreeSet<_> = names(&Choice::ALL.jobs()).into_iter().collect();
        assert_eq!(everything.len(), all().len() + proofs_of(&all()).len());
        let tried: BTreeSet<_> = days().take(PROOF_DAYS).flat_map(|choice| names(&choice.jobs())).collect();
        assert_eq!(tried, everything);
    }

    #[test]
    fn what_uses_the_cluster_up_comes_last() {
        let jobs = Choice::ALL.jobs();
        assert!(jobs.is_sorted_by_key(|job| (job.scenario.pillar, job.sabotage.is_some())));
    }
}
