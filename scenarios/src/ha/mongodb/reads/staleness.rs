//! A limit on staleness keeps reads away from a secondary that lags.

use std::{sync::Arc, time::Duration};

use dora_harness::{
    database::{Cluster as _, mongodb::ReplicaSet},
    fault::inject,
    history::Recorder,
    patience::within,
    platform::all_healthy,
    topology::Node,
};
use dora_reports::evidence::NamedLimit;
use mongodb::options::{ReadPreference, ReadPreferenceOptions};

use super::{
    super::case::Case,
    preferences::decide,
    reader::{Reader, prepare},
    rule::Rule,
};
use crate::{
    Database, Pillar, Sabotage, Scenario, ScenarioError, Trial,
    security::mongodb::{client_error, replica_set},
};

const NO_LIMIT: &str = "limit-not-set";
/// The smallest limit that drivers accept.
const STALENESS_MAX: Duration = Duration::from_secs(90);
/// Above the limit by more than the driver's own uncertainty.
const LAG: Duration = Duration::from_secs(94);
/// The lag grows by a second each second.
const LAG_LIMIT: Duration = Duration::from_secs(130);
const CHANGE_LIMIT: Duration = Duration::from_secs(60);
const EVERY: Duration = Duration::from_millis(200);

/// The scenario.
pub(in crate::ha::mongodb) const STALENESS: Scenario = Scenario {
    id: "ha/mongodb/read-staleness",
    title: "A limit on staleness keeps reads away from a secondary that lags",
    pillar: Pillar::Ha,
    database: Database::Mongodb,
    clauses: &["HA-MDB-3"],
    goal: "Find out whether reads with maxStalenessSeconds reach a secondary that is further behind than that.",
    method: &[
        "Drop all packets between a secondary and its peers, and wait until it says itself that it is 94 s behind: 90 s is the smallest limit that drivers accept. Clients still reach it.",
        "Read with secondary, secondaryPreferred and nearest, with the limit and without; the member whose profile has a read answered it.",
        "Compare: with the limit the late secondary is never read, without it it is.",
    ],
    does_not_show: &["limits above 90 s", "a primary that is away, where the driver compares secondaries with each other"],
    needs_high_availability: true,
    deadline: Duration::from_secs(260),
    sabotages: &[Sabotage { id: NO_LIMIT, what: "the client leaves the limit out", expects: "read-at-wrong-member" }],
    run: |trial| Box::pin(run(trial)),
};

async fn run(trial: &Trial) -> Result<(), ScenarioError> {
    let set = replica_set(trial).await?;
    trial.promise_limits(
        "no read that limits staleness is answered by the secondary that lags further",
        vec![NamedLimit::at_most("wrong_reads", 0.0, "findings")],
    );
    if let Some(sabotage) = trial.sabotage {
        trial.note("sabotage", sabotage.what);
    }
    prepare(&set).await?;
    let primary = set.primary().await.map_err(client_error)?;
    let mut secondaries = set.data_nodes().iter().filter(|node| node.name() != primary.name());
    let (Some(late), Some(fresh)) = (secondaries.next(), secondaries.next()) else {
        return Err(ScenarioError::Missing("the set has fewer than two secondaries".into()));
    };
    let injected = inject(Case::isolation(&set, late), trial.origin()).await?;
    let confirmed = match injected.confirm(CHANGE_LIMIT).await {
        Ok(confirmed) => confirmed,
        Err(unconfirmed) => {
            let last = unconfirmed.last_seen().to_owned();
            trial.fault(&unconfirmed.heal().await?.confirm(CHANGE_LIMIT).await);
            return Err(ScenarioError::client("cut a secondary from its peers", last));
        }
    };
    trial.note("fault", format!("{}: {}", confirmed.record().target, confirmed.record().confirmed_by));
    let outcome = read_late(trial, &set, &primary, late, fresh).await;
    trial.fault(&confirmed.heal().await?.confirm(CHANGE_LIMIT).await);
    within("the whole set", CHANGE_LIMIT, EVERY, || async { all_healthy(&set.health().await) }).await?;
    let (rules, recorder) = outcome?;
    decide(trial, &rules, &recorder)
}

/// Waits until the secondary is late enough, and reads.
async fn read_late(
    trial: &Trial,
    set: &Arc<ReplicaSet>,
    primary: &Node,
    late: &Node,
    fresh: &Node,
) -> Result<(Vec<Rule>, Recorder), ScenarioError> {
    let is_late = || async {
        let lag = set.lag_of(late).await.map_err(|error| error.to_string())?;
        if lag >= LAG { Ok(lag) } else { Err(format!("{} is {:.1} s behind", late.name(), lag.as_secs_f64())) }
    };
    let lag = within("the lag of a secondary", LAG_LIMIT, EVERY, is_late).await?;
    trial.note("fault", format!("{} says itself that it is {:.0} s behind", late.name(), lag.as_secs_f64()));
    let recorder = trial.recorder()?;
    let rules = rules(trial, primary, late, fresh);
    let reader = Reader::open(set, set.data_nodes(), &recorder, None).await.map_err(client_error)?;
    for rule in &rules {
        reader.try_rule(rule).await?;
    }
    reader.end().await;
    Ok((rules, recorder))
}

fn rules(trial: &Trial, primary: &Node, late: &Node, fresh: &Node) -> Vec<Rule> {
    let limit = (!trial.is_sabotaged_by(NO_LIMIT)).then(|| ReadPreferenceOptions::builder().max_staleness(STALENESS_MAX).build());
    vec![
        Rule::new("secondary", ReadPreference::Secondary { options: None }, &[late, fresh]),
        Rule::new("secondary, 90 s", ReadPreference::Secondary { options: limit.clone() }, &[fresh]),
        Rule::new("secondaryPreferred, 90 s", ReadPreference::SecondaryPreferred { options: limit.clone() }, &[fresh]),
        Rule::new("nearest", ReadPreference::Nearest { options: None }, &[primary, late, fresh]),
        Rule::new("nearest, 90 s", ReadPreference::Nearest { options: limit }, &[primary, fresh]),
    ]
}
