//! The scenarios of the Cluster.

use std::time::Duration;

use super::{COVERAGE_NOT_REQUIRED, COVERAGE_REQUIRED, Case, KEYS_DROPPED, REDIRECTIONS_IGNORED, SLOTS_UNASSIGNED, run};
use crate::{Database, Pillar, Sabotage, Scenario};

const CLAUSES: &[&str] = &["HA-RDS-2"];
const DEADLINE: Duration = Duration::from_secs(240);
const BOTH_KILLED: &str =
    "a master and its only replica are ended with SIGKILL for fourteen seconds; that their ports refuse connections confirms it";
const ORPHANS: &str =
    "the masters that are left are asked for their state, for a key of theirs and for a key that nobody has: that must be refused";
const STARTED: &str =
    "both are started again on their files; the Cluster has to cover all slots again, and the list is compared with what was acknowledged";

/// A master of the Cluster is killed.
pub const CLUSTER_MASTER_KILLED: Scenario = Scenario {
    id: "ha/redis/cluster-master-killed",
    title: "Redis Cluster: a shard's replica takes over when its master is killed",
    pillar: Pillar::Ha,
    database: Database::Redis,
    clauses: CLAUSES,
    goal: "The slots of a killed master are served by its replica in time; keys of other shards are away only while the Cluster knows of slots without an owner.",
    method: &[
        "four clients append values to a list in the shard that is struck, two to lists in the two others, through the driver's Cluster client; none retries",
        "the master of that shard is ended with SIGKILL; that its port refuses connections confirms it",
        "detection is another master that holds it for failed",
        "the other shards' longest gap is measured: with cluster-require-full-coverage they stop from that moment until the promotion",
        "the killed node is started again and has to return as a replica",
        "the lists are compared with what was acknowledged",
    ],
    does_not_show: &[
        "a shard with more than one replica",
        "that nothing can be lost: replication is asynchronous, the loss is measured and bounded",
    ],
    needs_high_availability: true,
    deadline: DEADLINE,
    sabotages: &[Sabotage { id: SLOTS_UNASSIGNED, what: "a range of slots belongs to nobody", expects: "recovery-too-late" }],
    run: |trial| Box::pin(run(trial, Case::MasterKilled)),
};

/// Slots move under load.
pub const CLUSTER_RESHARDING: Scenario = Scenario {
    id: "ha/redis/cluster-resharding",
    title: "Redis Cluster: slots move under load and back, and no key is lost",
    pillar: Pillar::Ha,
    database: Database::Redis,
    clauses: CLAUSES,
    goal: "Four hundred slots move from one master to another and back while clients read and write keys in them: no command is refused, no read goes back, no key is lost or doubled.",
    method: &[
        "keys are written that then lie still in slots that will move",
        "four clients write new keys, every second one in a slot that moves; two write and two read registers in such slots; the driver's Cluster client follows redirections (MOVED, ASK) and all writes bear repetition",
        "redis-cli --cluster reshard moves the slots; that every node's own table names the new owner confirms it",
        "the new owner has keys in these slots; then they are moved back under the same load",
        "every key is read: those that lay still through the driver, the new ones on each node, where one that two nodes hold would show twice",
    ],
    does_not_show: &[
        "commands on several keys at once, which get TRYAGAIN while their slot moves",
        "a node that joins or leaves the Cluster",
        "keys so large that moving one takes long",
    ],
    needs_high_availability: true,
    deadline: DEADLINE,
    sabotages: &[
        Sabotage { id: REDIRECTIONS_IGNORED, what: "the clients do not follow redirections", expects: "refused-while-resharding" },
        Sabotage { id: KEYS_DROPPED, what: "the keys of one slot are dropped by its new owner", expects: "keys-lost" },
    ],
    run: |trial| Box::pin(run(trial, Case::Resharding)),
};

/// A shard is lost, and all stop.
pub const CLUSTER_SLOT_OUTAGE: Scenario = Scenario {
    id: "ha/redis/cluster-slot-outage",
    title: "Redis Cluster: when slots have no owner, all of it stops, and comes back",
    pillar: Pillar::Ha,
    database: Database::Redis,
    clauses: CLAUSES,
    goal: "With cluster-require-full-coverage the loss of a master and its replica stops every shard, so that no application works on a part of its data; when they are back all is served again.",
    method: &[
        "four clients append values to a list in a shard that is not struck, through the driver's Cluster client; none retries",
        BOTH_KILLED,
        "eight seconds into that (cluster-node-timeout 2 s, agreement, and a margin) no write may be acknowledged any more",
        ORPHANS,
        STARTED,
    ],
    does_not_show: &["reads that an application allows on a Cluster that is down", "the loss of the files of both nodes"],
    needs_high_availability: true,
    deadline: DEADLINE,
    sabotages: &[Sabotage {
        id: COVERAGE_NOT_REQUIRED,
        what: "cluster-require-full-coverage is no: the other shards go on",
        expects: "acknowledged-without-quorum",
    }],
    run: |trial| Box::pin(run(trial, Case::SlotOutage { full_coverage: true })),
};

/// A shard is lost, and the others go on.
pub const CLUSTER_SLOT_OUTAGE_PARTIAL: Scenario = Scenario {
    id: "ha/redis/cluster-slot-outage-partial",
    title: "Redis Cluster: without required coverage the other shards go on when slots have no owner",
    pillar: Pillar::Ha,
    database: Database::Redis,
    clauses: CLAUSES,
    goal: "With cluster-require-full-coverage set to no, the loss of a master and its replica refuses their slots only.",
    method: &[
        "cluster-require-full-coverage is set to no; four clients append values to a list in a shard that is not struck, through the driver's Cluster client; none retries",
        BOTH_KILLED,
        "writes to the other shard go on without a gap",
        ORPHANS,
        STARTED,
    ],
    does_not_show: &["that an application copes with a part of its keys", "the loss of the files of both nodes"],
    needs_high_availability: true,
    deadline: DEADLINE,
    sabotages: &[Sabotage {
        id: COVERAGE_REQUIRED,
        what: "cluster-require-full-coverage is yes: all shards stop",
        expects: "service-interrupted",
    }],
    run: |trial| Box::pin(run(trial, Case::SlotOutage { full_coverage: false })),
};
