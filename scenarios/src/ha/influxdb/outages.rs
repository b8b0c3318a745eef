//! The scenarios in which nodes fail under load.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{
    sabotage::{BATCH_CUT, HANDOFF_OFF, LOG_IN_MEMORY, META_QUORUM_GONE, ONE_NODE_KNOWN, SINGLE_COPY_ONLY, WRITTEN_WITH_ONE},
    target::{Case, Points},
};
use crate::{
    Database, Pillar, Sabotage, Scenario, ScenarioError, Trial,
    ha::{Course, outage},
};

const DEADLINE: Duration = Duration::from_secs(300);
/// What was under way when the majority was lost ends by then.
const CEASES_WITHIN: Duration = Duration::from_secs(3);
/// Two of three nodes are away, and all of them.
const TWO_AWAY: Course = Course::ceases(CEASES_WITHIN, Duration::from_secs(10));
const ALL_AWAY: Course = Course::ceases(CEASES_WITHIN, Duration::from_secs(8));

const CLIENTS: &str = "four clients insert points with consistency quorum, each taking the next node for its next insert and leaving a node alone for a second that failed";
const BATCHES: &str = "six clients write batches of four points, each batch in one request; every second each node is read on its own, \
                       and after the load until nothing is there in part: a batch is there as a whole or not at all, and a node that was not struck has every batch acknowledged five seconds before the read";
const COPIES: &str = "read the set from every node on its own: with as many copies as nodes, a node answers from what it holds itself";
const NO_SNAPSHOT: &str = "that a query sees a batch at one moment: the engine promises no snapshot, so a batch is judged once it was acknowledged or given up, \
     and what a node takes in later, because it or another one was away, by what it still holds five seconds after that";
const NO_REPAIR: &str = "repair of a copy that a killed node had not written and not yet kept for its peer at its end: the engine has none; such values are \
                         counted as copies_short_at_the_kill, and a majority must have them";
const DISK: &str = "a node that is lost with its disk";

fn run(trial: &Trial, case: Case, course: Course) -> BoxFuture<'_, Result<(), ScenarioError>> {
    Box::pin(async move {
        let points = Points::of(trial, case).await?;
        outage(trial, &points, course).await
    })
}

/// A node dies.
pub const DATA_NODE_KILLED: Scenario = Scenario {
    id: "ha/influxdb/data-node-killed",
    title: "InfluxDB's cluster survives the loss of a node",
    pillar: Pillar::Ha,
    database: Database::Influxdb,
    clauses: &["HA-IDB-1"],
    goal: "find out whether quorum writes go on while a node is dead, and whether the node holds everything again when it is back",
    method: &[CLIENTS, BATCHES, "kill one node with SIGKILL, go on, start it again", COPIES],
    does_not_show: &[DISK, NO_SNAPSHOT, NO_REPAIR],
    needs_high_availability: true,
    deadline: DEADLINE,
    sabotages: &[
        Sabotage {
            id: HANDOFF_OFF,
            what: "the two surviving nodes run with hinted handoff switched off",
            expects: "returned-node-incomplete",
        },
        Sabotage {
            id: SINGLE_COPY_ONLY,
            what: "the database keeps one copy of every point, and the node that has it is killed",
            expects: "service-interrupted",
        },
        Sabotage { id: BATCH_CUT, what: "the clients leave the last point out of every batch", expects: "batch-torn" },
    ],
    run: |trial| run(trial, Case::Killed, Course::continues()),
};

/// A node is frozen.
pub const DATA_NODE_PAUSED: Scenario = Scenario {
    id: "ha/influxdb/data-node-paused",
    title: "InfluxDB's cluster survives a node that hangs",
    pillar: Pillar::Ha,
    database: Database::Influxdb,
    clauses: &["HA-IDB-1"],
    goal: "find out whether quorum writes go on while a node takes connections and answers nothing, and whether it holds everything after it woke",
    method: &[CLIENTS, BATCHES, "freeze all processes of one node, go on, let them run again", COPIES],
    does_not_show: &[NO_SNAPSHOT, "a node that is slow and not silent"],
    needs_high_availability: true,
    deadline: DEADLINE,
    sabotages: &[Sabotage {
        id: ONE_NODE_KNOWN,
        what: "the clients know one node only, the one that is frozen",
        expects: "service-interrupted",
    }],
    run: |trial| run(trial, Case::Paused, Course::continues()),
};

/// A node is cut from its peers.
pub const DATA_NODE_ISOLATED: Scenario = Scenario {
    id: "ha/influxdb/data-node-isolated",
    title: "A node that no peer hears acknowledges no quorum write",
    pillar: Pillar::Ha,
    database: Database::Influxdb,
    clauses: &["HA-IDB-1"],
    goal: "find out whether quorum writes go on at the majority, and are refused by the node that is cut off from it although clients reach it",
    method: &[
        CLIENTS,
        BATCHES,
        "cut one node from both others, in both directions; clients reach all three",
        "write to the isolated node with consistency quorum: none may be acknowledged",
        "mend the links",
        COPIES,
    ],
    does_not_show: &[
        NO_SNAPSHOT,
        "that a read of the isolated node is complete: it answers with what it has, and says nothing of what it lacks",
    ],
    needs_high_availability: true,
    deadline: DEADLINE,
    sabotages: &[Sabotage {
        id: WRITTEN_WITH_ONE,
        what: "the clients write with consistency one where quorum is asserted",
        expects: "reads-incomplete",
    }],
    run: |trial| run(trial, Case::Isolated, Course::continues()),
};

/// The leader of the meta nodes dies.
pub const META_LEADER_KILLED: Scenario = Scenario {
    id: "ha/influxdb/meta-leader-killed",
    title: "InfluxDB's meta nodes elect a new leader",
    pillar: Pillar::Ha,
    database: Database::Influxdb,
    clauses: &["HA-IDB-1"],
    goal: "find out whether the metadata have a leader again and can be changed after theirs was killed, while quorum writes go on",
    method: &[
        CLIENTS,
        BATCHES,
        "kill the node that leads the meta nodes with SIGKILL, go on",
        "ask every survivor for its leader, make a database, and look whether every survivor knows it",
        "start the node again",
        COPIES,
    ],
    does_not_show: &["a meta node that runs in a process of its own: here every node is meta node and data node", NO_SNAPSHOT, NO_REPAIR],
    needs_high_availability: true,
    deadline: DEADLINE,
    sabotages: &[Sabotage {
        id: META_QUORUM_GONE,
        what: "the meta service of another node is switched off before, so that one of three is left without its leader",
        expects: "no-meta-leader",
    }],
    run: |trial| run(trial, Case::MetaLeaderKilled, Course::continues()),
};

/// Two of three nodes are gone.
pub const TWO_DATA_NODES_LOST: Scenario = Scenario {
    id: "ha/influxdb/two-data-nodes-lost",
    title: "Without a majority InfluxDB acknowledges no quorum write",
    pillar: Pillar::Ha,
    database: Database::Influxdb,
    clauses: &["HA-IDB-1"],
    goal: "find out whether quorum writes cease when two of three nodes are gone, are back when those are, and lose nothing",
    method: &[
        CLIENTS,
        BATCHES,
        "take two of three nodes away as a loss of power does: silence first, then SIGKILL",
        "write to the last node with consistency any and one: both are promised",
        "bring the two back",
        COPIES,
    ],
    does_not_show: &[DISK, NO_SNAPSHOT, NO_REPAIR],
    needs_high_availability: true,
    deadline: DEADLINE,
    sabotages: &[Sabotage {
        id: WRITTEN_WITH_ONE,
        what: "the clients write with consistency one where quorum is asserted",
        expects: "acknowledged-without-quorum",
    }],
    run: |trial| run(trial, Case::TwoLost, TWO_AWAY),
};

/// All nodes die.
pub const ALL_NODES_KILLED: Scenario = Scenario {
    id: "ha/influxdb/all-nodes-killed",
    title: "InfluxDB's cluster keeps what it acknowledged when all its nodes crash",
    pillar: Pillar::Ha,
    database: Database::Influxdb,
    clauses: &["HA-IDB-1"],
    goal: "find out whether every acknowledged quorum write is there after all nodes were killed at the same moment and started again",
    method: &[
        CLIENTS,
        "kill all three nodes at once with SIGKILL: none acknowledges later than three seconds after they were seen dead",
        "start them again after eight seconds",
        COPIES,
    ],
    does_not_show: &[
        "a loss of power: the engine flushes its log to the disk before it acknowledges, but what the kernel had not written yet survives a SIGKILL \
         anyway, so this does not put that flush to the test",
        NO_REPAIR,
    ],
    needs_high_availability: true,
    deadline: DEADLINE,
    sabotages: &[Sabotage {
        id: LOG_IN_MEMORY,
        what: "the write-ahead logs of all nodes lie in memory that does not outlive a crash",
        expects: "acknowledged-writes-lost",
    }],
    run: |trial| run(trial, Case::AllKilled, ALL_AWAY),
};
