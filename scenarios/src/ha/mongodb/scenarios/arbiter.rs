//! The set of a primary, a secondary and an arbiter.

use std::{sync::Arc, time::Duration};

use dora_harness::database::mongodb::ReplicaSet;

use crate::{
    Database, Pillar, Sabotage, Scenario, ScenarioError, Trial,
    ha::{
        Course,
        mongodb::{
            case::Case,
            data_node_lost::{self, DURABLE, MAJORITY_OF_ONE},
            sabotage::NO_VOTES,
            target::strike_set,
        },
    },
};

/// How long the arbiter is dead: several times the time after which a primary without a majority steps down.
const LONGER_THAN_A_HEARTBEAT: Duration = Duration::from_secs(12);

/// The set with an arbiter.
async fn arbitrated(trial: &Trial) -> Result<Arc<ReplicaSet>, ScenarioError> {
    let set = trial.platform().mongodb.arbitrated.get().await;
    set.ok_or_else(|| ScenarioError::Missing("this profile has no set with an arbiter; choose the profile production".into()))
}

/// The arbiter dies.
pub(in crate::ha::mongodb) const LOST: Scenario = Scenario {
    id: "ha/mongodb/arbiter-lost",
    title: "A primary and a secondary go on when their arbiter dies",
    pillar: Pillar::Ha,
    database: Database::Mongodb,
    clauses: &["HA-MDB-1"],
    goal: "Find out whether two copies that have each other need the third vote.",
    method: &[
        "In the set with an arbiter, four clients insert with w:majority and j:true; a prober writes to each data node.",
        "Kill the arbiter with SIGKILL; start it again after sustained operation.",
        "Compare the values, and the probes for two primaries.",
    ],
    does_not_show: &["a second loss while the arbiter is away: one vote of three is no majority"],
    needs_high_availability: true,
    deadline: Duration::from_secs(150),
    sabotages: &[Sabotage {
        id: NO_VOTES,
        what: "the secondary has no vote, so that the primary depends on the arbiter's",
        expects: "service-interrupted",
    }],
    run: |trial| {
        Box::pin(async move {
            strike_set(trial, arbitrated(trial).await?, Case::ArbiterLost, Course::continues().lasting(LONGER_THAN_A_HEARTBEAT)).await
        })
    },
};

/// One of two copies dies.
pub(in crate::ha::mongodb) const DATA_NODE_LOST: Scenario = Scenario {
    id: "ha/mongodb/psa-data-node-lost",
    title: "An arbiter replaces a vote, not a copy: majority writes block, single-node writes are taken and rolled back",
    pillar: Pillar::Ha,
    database: Database::Mongodb,
    clauses: &["HA-MDB-1"],
    goal: "Find out what a set with an arbiter does when one of its two copies dies: which writes it takes, and which of them last.",
    method: &[
        "In the set with an arbiter, two clients insert with w:majority and two others with w:1, into two sets of values with a history each.",
        "Kill the secondary: no majority write may be acknowledged any more, single-node writes have to go on.",
        "Kill the primary too and start the secondary: the arbiter's vote makes it primary, without what only the dead primary had, and single-node writes go on there.",
        "Start the old primary: it rolls back what it alone had. Majority writes are back.",
        "Compare both sets with their histories: of the majority's nothing may be missing; of the others only what was acknowledged while there was one copy.",
    ],
    does_not_show: &["a set whose default write concern is majority: it would refuse every write while one copy is dead"],
    needs_high_availability: true,
    deadline: Duration::from_secs(180),
    sabotages: &[
        Sabotage { id: DURABLE, what: "a write that one node acknowledged is taken for durable", expects: "acknowledged-writes-lost" },
        Sabotage {
            id: MAJORITY_OF_ONE,
            what: "writes that shall have a majority ask for one node only",
            expects: "acknowledged-without-quorum",
        },
    ],
    run: |trial| Box::pin(async move { data_node_lost::run(trial, &*arbitrated(trial).await?).await }),
};
