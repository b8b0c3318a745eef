//! The leader goes, in three ways.

use std::time::Duration;

use super::{case::Case, target::Target};
use crate::{
    Database, Pillar, Sabotage, Scenario,
    ha::{Course, outage},
};

const DEADLINE: Duration = Duration::from_secs(300);
/// A fault that ends only after a new leader has long been at work.
const LONG: Duration = Duration::from_secs(20);

/// What the loads beside the inserts are, for every case.
const CAUSAL: &str =
    "three sessions with bookmarks follow causes and effects over all servers (causal), two more read a growing number (monotonic reads)";
/// How the epoch of a leadership is had.
const WATCH: &str = "a prober on each core writes to that core itself; the release exposes no term, so the epoch is a number in the graph that moves on, under a lock and through the replicated log, when another core than the last one writes";
/// What only a release of another licence could show.
const RELEASE: &str = "clustering of releases newer than 3.3";

/// `ha/neo4j/leader-killed`.
pub const KILLED: Scenario = Scenario {
    id: "ha/neo4j/leader-killed",
    title: "Neo4j: the leader of the cluster is killed",
    pillar: Pillar::Ha,
    database: Database::Neo4j,
    clauses: &["HA-NEO-1", "HA-NEO-3"],
    goal: "The remaining cores elect a new leader that takes writes in time, no acknowledged write is lost, sessions stay causal, and the killed core and the read replica catch up.",
    method: &[
        "four clients insert through the routing table, each insert a transaction of its own",
        CAUSAL,
        WATCH,
        "the leader is killed with SIGKILL; that its Bolt port refuses connections confirms it",
        "the four clocks are taken; the killed core is started again on its data",
        "every member says its role and holds every acknowledged value itself; the set is read at the leader and compared with what was acknowledged",
    ],
    does_not_show: &["a leader whose machine vanishes without a reset", RELEASE],
    needs_high_availability: true,
    deadline: DEADLINE,
    sabotages: &[
        Sabotage {
            id: "follower-already-down",
            what: "one follower is stopped before, so that the leader's death leaves no majority",
            expects: "recovery-too-late",
        },
        Sabotage {
            id: "bookmark-dropped",
            what: "the clients drop the bookmark, so that their next transaction may run on a server that lags behind",
            expects: "cause-not-seen",
        },
    ],
    run: |trial| {
        Box::pin(async move { outage(trial, &Target::of(trial, Case::LeaderKilled).await?, Course::returns().leader_moves()).await })
    },
};

/// `ha/neo4j/leader-paused`.
pub const PAUSED: Scenario = Scenario {
    id: "ha/neo4j/leader-paused",
    title: "Neo4j: the leader of the cluster is frozen",
    pillar: Pillar::Ha,
    database: Database::Neo4j,
    clauses: &["HA-NEO-1"],
    goal: "A leader that hangs and resets no connection is replaced in time, and when it wakes up it does not acknowledge what the others know nothing of.",
    method: &[
        "four clients insert through the routing table; each gives a server up after 1.5 s",
        CAUSAL,
        WATCH,
        "all processes of the leader are frozen for 20 s; that its port accepts and does not react to a TLS hello confirms it",
        "the four clocks are taken; the old leader is woken up under load",
        "every member says its role and holds every acknowledged value itself; the set is read at the leader and compared with what was acknowledged",
    ],
    does_not_show: &[
        "a pause of the virtual machine alone, such as a long garbage collection, during which the host's agent goes on",
        RELEASE,
    ],
    needs_high_availability: true,
    deadline: DEADLINE,
    sabotages: &[Sabotage {
        id: "table-pinned",
        what: "the clients keep to the routing table that they got first, and so to the frozen leader",
        expects: "recovery-too-late",
    }],
    run: |trial| {
        Box::pin(async move {
            outage(trial, &Target::of(trial, Case::LeaderPaused).await?, Course::returns().lasting(LONG).leader_moves()).await
        })
    },
};

/// `ha/neo4j/leader-isolated`.
pub const ISOLATED: Scenario = Scenario {
    id: "ha/neo4j/leader-isolated",
    title: "Neo4j: the leader of the cluster is cut off from all other members",
    pillar: Pillar::Ha,
    database: Database::Neo4j,
    clauses: &["HA-NEO-1"],
    goal: "The majority elects a new leader in time, the old one refuses writes of the clients that still reach it, and no acknowledged write is lost.",
    method: &[
        "four clients insert through the routing table; they reach all servers all the time",
        CAUSAL,
        WATCH,
        "packets between the leader and all members are dropped in the leader's pod for 20 s; datagrams that arrive nowhere confirm it",
        "meanwhile a client on the old leader's side writes to it, and must not be told that it was done; what it was not told may be done after the healing",
        "the partition is healed; every member says its role and holds every acknowledged value itself",
    ],
    does_not_show: &["a partition that only some ports or one direction meet", RELEASE],
    needs_high_availability: true,
    deadline: DEADLINE,
    sabotages: &[
        Sabotage {
            id: "follower-cut-off",
            what: "a follower is cut off and the leader is not, so that the one who must refuse writes takes them",
            expects: "old-leader-accepts-writes",
        },
        Sabotage { id: "reads-counted", what: "the watch takes a core that answers a read for a writable one", expects: "two-primaries" },
    ],
    run: |trial| {
        Box::pin(async move {
            outage(trial, &Target::of(trial, Case::LeaderIsolated).await?, Course::returns().lasting(LONG).leader_moves()).await
        })
    },
};
