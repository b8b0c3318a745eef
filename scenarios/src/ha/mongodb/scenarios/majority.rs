//! More members are struck than the set can do without.

use std::time::Duration;

use crate::{
    Database, Pillar, Sabotage, Scenario,
    ha::{
        Course,
        mongodb::{
            case::Case,
            sabotage::{FROM_MEMORY, NO_VOTES},
            target::strike,
        },
    },
};

/// A write that was on its way when the majority was lost may still be acknowledged within this time.
const CEASED_WITHIN: Duration = Duration::from_secs(4);
/// The set has no majority for longer than the survivor needs to step down.
const NO_MAJORITY: Course = Course::ceases(CEASED_WITHIN, Duration::from_secs(10)).noticed();
/// The set has no member for longer than anything may be acknowledged.
const NO_MEMBER: Course = Course::ceases(CEASED_WITHIN, Duration::from_secs(9));

/// Both secondaries die.
pub(in crate::ha::mongodb) const LOST: Scenario = Scenario {
    id: "ha/mongodb/majority-lost",
    title: "Without a majority nothing is acknowledged, and with it everything is back",
    pillar: Pillar::Ha,
    database: Database::Mongodb,
    clauses: &["HA-MDB-1"],
    goal: "Find out whether the last of three members acknowledges writes that nobody else has.",
    method: &[
        "Four clients insert with w:majority and j:true, three read, write and compare-and-set registers, a prober writes to each member.",
        "Kill both secondaries with SIGKILL for at least 10 s: no insert may be acknowledged later than 4 s after they were seen dead, and the primary has to step down.",
        "Start them again; writes have to be back within the objective.",
        "Compare the values, check the registers for linearizability and the probes for two primaries.",
    ],
    does_not_show: &["a majority that never comes back, where an operator has to decide"],
    needs_high_availability: true,
    deadline: Duration::from_secs(150),
    sabotages: &[Sabotage {
        id: NO_VOTES,
        what: "the secondaries have no vote, so that the primary alone is a majority",
        expects: "acknowledged-without-quorum",
    }],
    run: |trial| Box::pin(strike(trial, Case::MajorityLost, NO_MAJORITY)),
};

/// All members die.
pub(in crate::ha::mongodb) const ALL_KILLED: Scenario = Scenario {
    id: "ha/mongodb/all-nodes-killed",
    title: "What was journaled outlives the death of all members at once",
    pillar: Pillar::Ha,
    database: Database::Mongodb,
    clauses: &["HA-MDB-1"],
    goal: "Find out whether a write with w:majority and j:true is there after every member was killed in the same moment.",
    method: &[
        "Four clients insert with w:majority and j:true; a prober writes to each member.",
        "Kill all members with SIGKILL side by side: no insert may be acknowledged later than 4 s after they were seen dead. Start them again after 9 s.",
        "Compare the values, the probes for two primaries.",
    ],
    does_not_show: &["the loss of power: what a killed process gave to the kernel is still written"],
    needs_high_availability: true,
    deadline: Duration::from_secs(180),
    sabotages: &[Sabotage {
        id: FROM_MEMORY,
        what: "writes are acknowledged from the primary's memory (w:1, j:false), the journal is flushed twice a second, and the secondaries lag",
        expects: "acknowledged-writes-lost",
    }],
    run: |trial| Box::pin(strike(trial, Case::AllNodesKilled, NO_MEMBER)),
};
