//! Members go that do not lead, or more than the cluster can spare.

use std::time::Duration;

use super::{case::Case, target::Target};
use crate::{
    Database, Pillar, Sabotage, Scenario,
    ha::{Course, outage},
};

const DEADLINE: Duration = Duration::from_secs(360);
/// What was under way when the majority went may still be answered for a moment.
const CEASES_WITHIN: Duration = Duration::from_secs(5);
/// Long enough for a leader without followers to give up.
const WITHOUT_MAJORITY: Course = Course::ceases(CEASES_WITHIN, Duration::from_secs(15));
/// Long enough to see that nobody answers.
const WITHOUT_CORES: Course = Course::ceases(CEASES_WITHIN, Duration::from_secs(10));

const LOADS: &str = "four clients insert through the routing table; sessions with bookmarks follow causes and effects, others read a growing number; a prober on each core writes to that core itself";
const WHOLE: &str = "every member says its role and holds every acknowledged value itself; the set is read at the leader and compared with what was acknowledged";
const RELEASE: &str = "clustering of releases newer than 3.3";

/// `ha/neo4j/minority-lost`.
pub const MINORITY: Scenario = Scenario {
    id: "ha/neo4j/minority-lost",
    title: "Neo4j: one follower is killed",
    pillar: Pillar::Ha,
    database: Database::Neo4j,
    clauses: &["HA-NEO-1"],
    goal: "Writes go on without an election when a core that does not lead is lost, and that core catches up when it is back.",
    method: &[
        LOADS,
        "a follower is killed with SIGKILL; that its Bolt port refuses connections confirms it",
        "the longest time without an acknowledged write is taken while the follower is away",
        WHOLE,
    ],
    does_not_show: &["a follower that is slow and not gone", RELEASE],
    needs_high_availability: true,
    deadline: DEADLINE,
    sabotages: &[Sabotage {
        id: "follower-frozen",
        what: "the other follower is frozen before, so that the loss leaves no majority",
        expects: "service-interrupted",
    }],
    run: |trial| Box::pin(async move { outage(trial, &Target::of(trial, Case::MinorityLost).await?, Course::continues()).await }),
};

/// `ha/neo4j/majority-lost`.
pub const MAJORITY: Scenario = Scenario {
    id: "ha/neo4j/majority-lost",
    title: "Neo4j: two of three cores are lost",
    pillar: Pillar::Ha,
    database: Database::Neo4j,
    clauses: &["HA-NEO-1"],
    goal: "Without a majority nothing is acknowledged and reads are still answered; when the cores are back, writes are too, and nothing acknowledged is lost.",
    method: &[
        LOADS,
        "both followers are cut off and killed at once, as if their machines had lost power; silence on their ports and their pods' socket tables confirm it",
        "until the healing no write is acknowledged; an application reads through its routing table",
        "the followers are started again; the time from their healing to the first acknowledged write is taken",
        WHOLE,
    ],
    does_not_show: &["that the survivor's answers are the newest: it may lag behind what the other two acknowledged", RELEASE],
    needs_high_availability: true,
    deadline: DEADLINE,
    sabotages: &[
        Sabotage {
            id: "write-behind",
            what: "the clients acknowledge writes that they only remember, and send many at once later",
            expects: "acknowledged-without-quorum",
        },
        Sabotage { id: "reads-at-writer", what: "the application sends its reads where writes go", expects: "survivor-does-not-read" },
    ],
    run: |trial| Box::pin(async move { outage(trial, &Target::of(trial, Case::MajorityLost).await?, WITHOUT_MAJORITY).await }),
};

/// `ha/neo4j/replica-lost`.
pub const REPLICA: Scenario = Scenario {
    id: "ha/neo4j/replica-lost",
    title: "Neo4j: the read replica is lost",
    pillar: Pillar::Ha,
    database: Database::Neo4j,
    clauses: &["HA-NEO-1", "HA-NEO-2"],
    goal: "Reads are routed past a lost replica, writes go on, and the replica catches up when it is back.",
    method: &[
        LOADS,
        "two further clients only read, through the routing table: no time without an answer is longer than 4 s",
        "the replica is cut off and killed, as if its machine had lost power; silence on its port and its pod's socket table confirm it",
        "the replica is started again on its data",
        WHOLE,
    ],
    does_not_show: &["a replica whose store is older than what the cores keep for catching up", RELEASE],
    needs_high_availability: true,
    deadline: DEADLINE,
    sabotages: &[
        Sabotage {
            id: "replica-astray",
            what: "the replica's configuration names cores that there are not, so that it does not come back",
            expects: "redundancy-not-regained",
        },
        Sabotage { id: "replicas-only", what: "the application reads at replicas only", expects: "reads-interrupted" },
    ],
    run: |trial| Box::pin(async move { outage(trial, &Target::of(trial, Case::ReplicaLost).await?, Course::continues()).await }),
};

/// `ha/neo4j/all-cores-killed`.
pub const ALL: Scenario = Scenario {
    id: "ha/neo4j/all-cores-killed",
    title: "Neo4j: all cores are killed at once",
    pillar: Pillar::Ha,
    database: Database::Neo4j,
    clauses: &["HA-NEO-1"],
    goal: "A cluster whose cores all crash takes writes again when they are started, and has everything that it acknowledged.",
    method: &[
        LOADS,
        "the processes of all cores are killed with SIGKILL at once; that their Bolt ports refuse connections confirms it",
        "for ten seconds nobody starts them: no write may be acknowledged later than five seconds after they were seen dead",
        "they are started again on their data; the time to the first acknowledged write is taken",
        WHOLE,
    ],
    does_not_show: &["machines that lose power: what the operating system held in its cache survives a process", RELEASE],
    needs_high_availability: true,
    deadline: DEADLINE,
    sabotages: &[Sabotage {
        id: "write-behind",
        what: "the clients acknowledge writes that they only remember, and send many at once later",
        expects: "acknowledged-writes-lost",
    }],
    run: |trial| Box::pin(async move { outage(trial, &Target::of(trial, Case::AllCoresKilled).await?, WITHOUT_CORES).await }),
};
