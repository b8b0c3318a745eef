//! A secondary is struck.

use std::time::Duration;

use crate::{
    Database, Pillar, Sabotage, Scenario,
    ha::{
        Course,
        mongodb::{
            case::Case,
            sabotage::{EVERY_COPY, NO_SESSIONS, RETURNS_LATE},
            target::strike,
        },
    },
};

const EVERY_COPY_SABOTAGE: Sabotage =
    Sabotage { id: EVERY_COPY, what: "writes wait for all three copies (w:3)", expects: "service-interrupted" };
/// How long a secondary is dead or frozen, or lags: several times the time after which its peers count it as down.
const LONGER_THAN_A_HEARTBEAT: Duration = Duration::from_secs(12);

/// Its process dies.
pub(in crate::ha::mongodb) const KILLED: Scenario = Scenario {
    id: "ha/mongodb/secondary-killed",
    title: "Majority writes go on when a secondary's process dies, and it catches up",
    pillar: Pillar::Ha,
    database: Database::Mongodb,
    clauses: &["HA-MDB-1"],
    goal: "Find out whether the loss of one copy of three interrupts writes, and whether the copy is complete again after its return.",
    method: &[
        "Four clients insert with w:majority and j:true, three read, write and compare-and-set registers, a prober writes to each member.",
        "Kill a secondary with SIGKILL; start it again after sustained operation.",
        "Wait until each member holds every acknowledged value itself; compare the values, check the registers for linearizability.",
    ],
    does_not_show: &["a copy that is gone and has to be made anew", "reads that were served by the secondary (see read-preferences)"],
    needs_high_availability: true,
    deadline: Duration::from_secs(150),
    sabotages: &[
        EVERY_COPY_SABOTAGE,
        Sabotage { id: RETURNS_LATE, what: "the secondary applies writes only after five minutes", expects: "redundancy-not-regained" },
    ],
    run: |trial| Box::pin(strike(trial, Case::SecondaryKilled, Course::continues().lasting(LONGER_THAN_A_HEARTBEAT))),
};

/// It freezes and comes back.
pub(in crate::ha::mongodb) const PAUSED: Scenario = Scenario {
    id: "ha/mongodb/secondary-paused",
    title: "Majority writes go on while a secondary is frozen, and it catches up",
    pillar: Pillar::Ha,
    database: Database::Mongodb,
    clauses: &["HA-MDB-1"],
    goal: "Find out whether a secondary that accepts connections and answers nothing interrupts writes.",
    method: &[
        "Load as in secondary-killed.",
        "Freeze all processes of a secondary for at least 12 s, then let them run again.",
        "Wait until each member holds every acknowledged value itself; compare the values, check the registers for linearizability.",
    ],
    does_not_show: &["a secondary that is frozen for longer than the oplog reaches back"],
    needs_high_availability: true,
    deadline: Duration::from_secs(150),
    sabotages: &[EVERY_COPY_SABOTAGE],
    run: |trial| Box::pin(strike(trial, Case::SecondaryPaused, Course::continues().lasting(LONGER_THAN_A_HEARTBEAT))),
};

/// It falls behind.
pub(in crate::ha::mongodb) const LAGGING: Scenario = Scenario {
    id: "ha/mongodb/secondary-lagging",
    title: "Sessions are causally consistent across members, one of which falls behind",
    pillar: Pillar::Ha,
    database: Database::Mongodb,
    clauses: &["HA-MDB-1", "HA-MDB-3"],
    goal: "Find out whether a client that goes from member to member sees what it wrote, and no effect without its cause.",
    method: &[
        "Four clients insert with w:majority and j:true; a prober writes to each member.",
        "Beside them three sessions write causes and effects at the primary and read each other's from whichever member is chosen, at read concern majority.",
        "Drop all packets between a secondary and its peers for at least 12 s: clients still reach it and it answers, from a past that grows older.",
        "Check the sessions' history for causal consistency; compare the inserted values.",
    ],
    does_not_show: &[
        "an answer of the late member to a session that has seen more: it has to refuse, and does",
        "a session that is handed from one process to another",
        "reads at lesser concerns",
    ],
    needs_high_availability: true,
    deadline: Duration::from_secs(150),
    sabotages: &[Sabotage { id: NO_SESSIONS, what: "each operation stands for itself, without a session", expects: "cause-not-seen" }],
    run: |trial| Box::pin(strike(trial, Case::SecondaryCutFromPeers, Course::continues().lasting(LONGER_THAN_A_HEARTBEAT))),
};
