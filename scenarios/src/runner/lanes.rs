//! Runs a list of scenarios: one lane a database, lanes side by side.

use std::collections::BTreeMap;

use dora_reports::evidence::ScenarioEvidence;
use futures_util::future::join_all;

use super::Session;
use crate::{Sabotage, Scenario};

/// A scenario to run, with a sabotage when it is a proof.
#[derive(Debug, Clone, Copy)]
pub struct Job {
    /// The scenario.
    pub scenario: &'static Scenario,
    /// The planted defect.
    pub sabotage: Option<&'static Sabotage>,
}

/// Runs all jobs; those of one database one after the other in their order. `started` and `ended` are told as it goes.
pub async fn run_all(session: &Session, jobs: &[Job], started: &(dyn Fn(&Job) + Sync), ended: &(dyn Fn(&Job, ScenarioEvidence) + Sync)) {
    let mut lanes: BTreeMap<_, Vec<&Job>> = BTreeMap::new();
    for job in jobs {
        lanes.entry(job.scenario.database).or_default().push(job);
    }
    join_all(lanes.into_values().map(|lane| async move {
        for job in lane {
            let evidence = session.run(job.scenario, job.sabotage, || started(job)).await;
            ended(job, evidence);
        }
    }))
    .await;
}
