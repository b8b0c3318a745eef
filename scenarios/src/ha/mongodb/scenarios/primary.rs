//! The primary is struck.

use std::time::Duration;

use crate::{
    Database, Pillar, Sabotage, Scenario,
    ha::{
        Course,
        mongodb::{
            case::Case,
            sabotage::{NEVER_ELECTED, NO_SUCCESSOR, NO_TRANSACTIONS, ONE_COPY, SPLIT_BRAIN},
            target::strike,
        },
    },
};

const NEVER_ELECTED_SABOTAGE: Sabotage =
    Sabotage { id: NEVER_ELECTED, what: "the secondaries have priority 0, so none of them can be elected", expects: "recovery-too-late" };
/// A paused or isolated primary stays away for longer than an election takes, so that it meets its successor when it is back.
const LONGER_THAN_AN_ELECTION: Duration = Duration::from_secs(15);

/// Its process dies.
pub(in crate::ha::mongodb) const KILLED: Scenario = Scenario {
    id: "ha/mongodb/primary-killed",
    title: "A replica set goes on when its primary's process dies",
    pillar: Pillar::Ha,
    database: Database::Mongodb,
    clauses: &["HA-MDB-1"],
    goal: "Find out how long nobody can write after the primary's death, and whether a write that a majority acknowledged is ever lost.",
    method: &[
        "Four clients insert distinct values with w:majority and j:true over TLS, without retries.",
        "Beside them three clients read (linearizable), write and compare-and-set registers, and three carry out transactions at read concern snapshot that append to lists.",
        "A prober on each member writes to that member alone, all the time; the election term of each acknowledged write is its epoch.",
        "Kill the primary with SIGKILL; take the four clocks; start it again and wait until every member holds every acknowledged value itself.",
        "Read all values at read concern majority and compare; check the registers for linearizability, the transactions for snapshot isolation, the probes for two primaries.",
    ],
    does_not_show: &[
        "silence instead of a reset (see primary-isolated)",
        "a primary that comes back in its old role (see primary-paused)",
        "transactions over several shards",
    ],
    needs_high_availability: true,
    deadline: Duration::from_secs(180),
    sabotages: &[
        NEVER_ELECTED_SABOTAGE,
        Sabotage { id: NO_TRANSACTIONS, what: "the steps of each transaction are sent without one", expects: "isolation-violated" },
    ],
    run: |trial| Box::pin(strike(trial, Case::PrimaryKilled, Course::returns().leader_moves())),
};

/// It freezes and comes back.
pub(in crate::ha::mongodb) const PAUSED: Scenario = Scenario {
    id: "ha/mongodb/primary-paused",
    title: "A frozen primary is replaced, and steps down when it comes back",
    pillar: Pillar::Ha,
    database: Database::Mongodb,
    clauses: &["HA-MDB-1"],
    goal: "Find out whether a primary that was frozen for longer than an election takes writes beside its successor when it runs again.",
    method: &[
        "Load and probers as in primary-killed, with registers.",
        "Freeze all of the primary's processes for at least 15 s: its kernel still accepts connections, and nobody answers.",
        "Let it run again under load; the probers see who takes majority writes.",
        "Compare the values, check the registers for linearizability and the probes for two primaries in different terms.",
    ],
    does_not_show: &[
        "writes with w:1, which the old primary may take for a moment and which are then rolled back (see psa-data-node-lost)",
    ],
    needs_high_availability: true,
    deadline: Duration::from_secs(180),
    sabotages: &[NEVER_ELECTED_SABOTAGE],
    run: |trial| Box::pin(strike(trial, Case::PrimaryPaused, Course::returns().lasting(LONGER_THAN_AN_ELECTION).leader_moves())),
};

/// Nobody reaches it.
pub(in crate::ha::mongodb) const ISOLATED: Scenario = Scenario {
    id: "ha/mongodb/primary-isolated",
    title: "A primary that nobody reaches is replaced",
    pillar: Pillar::Ha,
    database: Database::Mongodb,
    clauses: &["HA-MDB-1"],
    goal: "Find out how long nobody can write when peers and clients meet silence in place of a reset.",
    method: &[
        "Load and probers as in primary-killed, with registers.",
        "Drop all packets between the primary's pod and everyone else, clients included, for at least 15 s.",
        "Compare the values, check the registers for linearizability and the probes for two primaries.",
    ],
    does_not_show: &[
        "clients that still reach the old primary (see primary-cut-from-peers)",
        "how soon the former throughput is back: for up to 30 s (a constant of the engine) a secondary may wait for the silent member before it reports its progress to the new primary",
        "links that lose some packets",
    ],
    needs_high_availability: true,
    deadline: Duration::from_secs(180),
    sabotages: &[NEVER_ELECTED_SABOTAGE],
    run: |trial| Box::pin(strike(trial, Case::PrimaryIsolated, Course::returns().lasting(LONGER_THAN_AN_ELECTION).leader_moves())),
};

/// Only its peers do not reach it.
pub(in crate::ha::mongodb) const CUT_FROM_PEERS: Scenario = Scenario {
    id: "ha/mongodb/primary-cut-from-peers",
    title: "Clients that still reach a cut-off primary neither lose writes nor read what will be rolled back",
    pillar: Pillar::Ha,
    database: Database::Mongodb,
    clauses: &["HA-MDB-1"],
    goal: "Find out whether a primary that lost its peers, but not its clients, acknowledges what cannot last or shows it to readers.",
    method: &[
        "Load and probers as in primary-killed, with registers.",
        "Drop all packets between the primary and the other members for at least 15 s; every client still reaches every member.",
        "Compare the values, check the registers for linearizability and the probes for two primaries.",
    ],
    does_not_show: &["reads at a lesser concern, which may see writes that are rolled back: that is what the sabotage plants"],
    needs_high_availability: true,
    deadline: Duration::from_secs(180),
    sabotages: &[
        Sabotage { id: ONE_COPY, what: "writes are acknowledged by the primary alone (w:1)", expects: "acknowledged-writes-lost" },
        Sabotage {
            id: SPLIT_BRAIN,
            what: "an operator forces the cut-off primary into a set of its own, where it is a majority",
            expects: "two-primaries",
        },
    ],
    run: |trial| Box::pin(strike(trial, Case::PrimaryCutFromPeers, Course::returns().lasting(LONGER_THAN_AN_ELECTION).leader_moves())),
};

/// It hands its role over.
pub(in crate::ha::mongodb) const SWITCHOVER: Scenario = Scenario {
    id: "ha/mongodb/switchover",
    title: "A primary hands its role over as before maintenance",
    pillar: Pillar::Ha,
    database: Database::Mongodb,
    clauses: &["HA-MDB-1"],
    goal: "Find out how long nobody can write when the primary is told to step down, and whether anything acknowledged is lost.",
    method: &[
        "Load and probers as in primary-killed, with registers.",
        "Order replSetStepDown: the primary waits for a secondary that has everything, and hands over to it.",
        "Compare the values, check the registers for linearizability and the probes for two primaries.",
    ],
    does_not_show: &["the maintenance itself", "drivers that do not look for a new primary"],
    needs_high_availability: true,
    deadline: Duration::from_secs(150),
    sabotages: &[Sabotage {
        id: NO_SUCCESSOR,
        what: "no secondary can be elected, and the step-down is forced all the same",
        expects: "recovery-too-late",
    }],
    run: |trial| Box::pin(strike(trial, Case::Switchover, Course::returns().leader_moves())),
};
