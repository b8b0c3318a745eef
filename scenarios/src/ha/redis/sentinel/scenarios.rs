//! The scenarios of the replicated set.

use std::time::Duration;

use super::{Case, run, sabotage as planted};
use crate::{Database, Pillar, Sabotage, Scenario};

const CLAUSES: &[&str] = &["HA-RDS-1"];
const DEADLINE: Duration = Duration::from_secs(240);
const ASKING: &str = "four clients ask the Sentinels for the master, again every second, and each appends a value of its own to a list every 100 ms; none retries";
const READ: &str = "the list is read from the master and compared with what was acknowledged";
const STAYING: &str = "beside them one client stays with each server, whatever the Sentinels say, and appends to a list every 100 ms; clients reach all servers all the time";
const ASYNCHRONOUS: &str = "that nothing can be lost: replication is asynchronous, the loss is measured and bounded";
const QUORUM: Sabotage = Sabotage {
    id: planted::QUORUM_UNREACHABLE,
    what: "every Sentinel wants more Sentinels to agree that the master is down than there are",
    expects: "recovery-too-late",
};
const PINNED: Sabotage = Sabotage {
    id: planted::CLIENT_PINNED,
    what: "the clients were told the master's address once and never ask the Sentinels",
    expects: "recovery-too-late",
};

/// The master is killed.
pub const MASTER_KILLED: Scenario = Scenario {
    id: "ha/redis/master-killed",
    title: "Redis: Sentinel promotes a replica when the master is killed",
    pillar: Pillar::Ha,
    database: Database::Redis,
    clauses: CLAUSES,
    goal: "Clients that ask the Sentinels write again soon after the master's death, and replication's loss of acknowledged writes stays within its bound.",
    method: &[
        ASKING,
        "one client increments a counter every 50 ms: at the failover it may fall back by one second's increments at most",
        "three clients take a lock with a fencing token, write to a resource in the Cluster that refuses older tokens, and give it up; every fourth \
         holder is too slow for its lock; a token counts when every connected replica has it, so the next master cannot grant it again",
        "the master is ended with SIGKILL; that its port refuses connections confirms it",
        "detection is the first Sentinel that holds the master for objectively down, or names another",
        "after sustained operation on the new master the killed node is started again and has to return as a replica",
        READ,
    ],
    does_not_show: &[
        "the loss of a whole machine or of the network, where peers get no reset",
        "an election while a second node is down",
        ASYNCHRONOUS,
        "that a lock excludes by itself: it may be lost with the master; that is what its tokens are for",
    ],
    needs_high_availability: true,
    deadline: DEADLINE,
    sabotages: &[
        QUORUM,
        Sabotage {
            id: planted::NO_CANDIDATE,
            what: "every replica has the priority 0: none may be promoted",
            expects: "recovery-too-late",
        },
        Sabotage {
            id: planted::SURVIVORS_STALL,
            what: "when service is back, the new master and its replica are frozen for longer than a stall may last",
            expects: "not-sustained",
        },
        PINNED,
        Sabotage { id: planted::LIST_EMPTIED, what: "the list is removed from the new master", expects: "acknowledged-writes-lost" },
        Sabotage { id: planted::COUNTER_RESET, what: "the counter is removed from the new master", expects: "counter-fell-back" },
        Sabotage { id: planted::RESOURCE_CARELESS, what: "the guarded resource does not look at tokens", expects: "stale-token-accepted" },
    ],
    run: |trial| Box::pin(run(trial, Case::MasterKilled)),
};

/// The master is frozen.
pub const MASTER_PAUSED: Scenario = Scenario {
    id: "ha/redis/master-paused",
    title: "Redis: a master that hangs is replaced, and follows when it wakes up",
    pillar: Pillar::Ha,
    database: Database::Redis,
    clauses: CLAUSES,
    goal: "A master that hangs for longer than a failover takes is replaced in time; when it wakes up it becomes a replica, and what it still acknowledges to clients that stayed with it is little.",
    method: &[
        ASKING,
        STAYING,
        "all processes of the master are frozen for twelve seconds; that its port accepts connections and does not react to a TLS hello confirms it",
        "after waking up it must become a replica of the new master",
        "what clients that stayed with it were acknowledged and is gone is counted, and how much of that after the promotion",
        READ,
    ],
    does_not_show: &["a pause shorter than the failover", ASYNCHRONOUS],
    needs_high_availability: true,
    deadline: DEADLINE,
    sabotages: &[
        QUORUM,
        Sabotage {
            id: planted::GUARD_OFF,
            what: "min-replicas-to-write is 0: the old master takes writes after it woke up, until the Sentinels make it a replica",
            expects: "old-master-loss",
        },
    ],
    run: |trial| Box::pin(run(trial, Case::MasterPaused)),
};

/// The master is isolated, and nothing bounds what it acknowledges.
pub const MASTER_ISOLATED_UNGUARDED: Scenario = Scenario {
    id: "ha/redis/master-isolated-unguarded",
    title: "Redis: what an isolated master acknowledges and loses without min-replicas-to-write",
    pillar: Pillar::Ha,
    database: Database::Redis,
    clauses: CLAUSES,
    goal: "Without min-replicas-to-write an isolated master acknowledges for as long as clients reach it, and all of that is lost; clients that ask the Sentinels lose no more than the time until they are told of the new one.",
    method: &[
        ASKING,
        STAYING,
        "min-replicas-to-write is set to 0, and the master is cut from all other nodes for twelve seconds, clients still reaching it; datagrams between all pairs, counted by their kernels, confirm it",
        "what the isolated master acknowledged after the cut, and after another master was promoted, and what of it is gone, is measured: it is the hazard that the guarded case has to bound",
        READ,
    ],
    does_not_show: &[
        "a bound for clients that stay with the isolated master: there is none but the length of the isolation",
        "how soon service is back for clients that the isolated master keeps answering: they never miss it",
    ],
    needs_high_availability: true,
    deadline: DEADLINE,
    sabotages: &[Sabotage { expects: "acknowledged-writes-lost", ..PINNED }],
    run: |trial| Box::pin(run(trial, Case::MasterIsolated { guarded: false })),
};

/// The master is isolated, and stops acknowledging.
pub const MASTER_ISOLATED: Scenario = Scenario {
    id: "ha/redis/master-isolated",
    title: "Redis: min-replicas-to-write bounds what an isolated master acknowledges and loses",
    pillar: Pillar::Ha,
    database: Database::Redis,
    clauses: CLAUSES,
    goal: "With min-replicas-to-write 1 an isolated master stops acknowledging when it has not heard of its replicas for min-replicas-max-lag, so the loss is bounded for every client.",
    method: &[
        ASKING,
        STAYING,
        "the master is cut from all other nodes for twelve seconds, clients still reaching it; datagrams between all pairs, counted by their kernels, confirm it",
        "six seconds after the cut (max-lag 3 s, the last word of a replica up to 1 s before, looked at once a second, and a margin) it may acknowledge nothing more, whoever asks",
        "after the healing it must become a replica of the new master",
        "what it acknowledged after the cut and is gone is counted, and bounded by six seconds' writes",
        READ,
    ],
    does_not_show: &[
        "that the isolated master acknowledges nothing after another was promoted: there is such a window, and it is measured",
        "an isolation from some nodes only",
    ],
    needs_high_availability: true,
    deadline: DEADLINE,
    sabotages: &[
        Sabotage { id: planted::GUARD_OFF, what: "min-replicas-to-write is 0", expects: "old-master-acknowledges" },
        Sabotage { expects: "service-interrupted", ..PINNED },
    ],
    run: |trial| Box::pin(run(trial, Case::MasterIsolated { guarded: true })),
};

/// The master and one Sentinel are killed.
pub const SENTINEL_LOST: Scenario = Scenario {
    id: "ha/redis/sentinel-lost",
    title: "Redis: a failover with one of three Sentinels lost",
    pillar: Pillar::Ha,
    database: Database::Redis,
    clauses: CLAUSES,
    goal: "With one of three Sentinels gone together with the master, the other two still agree and promote a replica in time.",
    method: &[
        ASKING,
        "the master and one Sentinel are ended with SIGKILL at the same moment; that their ports refuse connections confirms it",
        "after sustained operation both are started again; the Sentinel has to know the new master, the old master has to follow it",
        READ,
    ],
    does_not_show: &["a Sentinel that is cut off instead of dead", ASYNCHRONOUS],
    needs_high_availability: true,
    deadline: DEADLINE,
    sabotages: &[QUORUM],
    run: |trial| Box::pin(run(trial, Case::SentinelLost)),
};

/// Two Sentinels are killed.
pub const SENTINEL_MAJORITY_LOST: Scenario = Scenario {
    id: "ha/redis/sentinel-majority-lost",
    title: "Redis: with most Sentinels lost writes go on and nobody is promoted",
    pillar: Pillar::Ha,
    database: Database::Redis,
    clauses: CLAUSES,
    goal: "Sentinels are no part of the way of a write: with two of three gone the master goes on, and the one that is left promotes nobody.",
    method: &[
        ASKING,
        "two of three Sentinels are ended with SIGKILL; that their ports refuse connections confirms it",
        "for eight seconds and more writes go on without a gap; the Sentinel that is left says that it has no quorum; every server is asked for its role: the master is the one of before",
        "the two are started again, and all three know each other and the master again",
        READ,
    ],
    does_not_show: &[
        "the death of the master during that time: nobody would be promoted, service would stay away until a Sentinel is back",
    ],
    needs_high_availability: true,
    deadline: DEADLINE,
    sabotages: &[Sabotage {
        id: planted::FORCED_FAILOVER,
        what: "the Sentinel that is left is ordered to change the master without asking the others",
        expects: "failover-without-majority",
    }],
    run: |trial| Box::pin(run(trial, Case::SentinelsLost)),
};

/// A replica is killed.
pub const REPLICA_LOST: Scenario = Scenario {
    id: "ha/redis/replica-lost",
    title: "Redis: writes go on when a replica is lost",
    pillar: Pillar::Ha,
    database: Database::Redis,
    clauses: CLAUSES,
    goal: "The loss of one of two replicas is no event for writers, although the master refuses writes without any replica; the lost one catches up when it is back.",
    method: &[
        ASKING,
        "a replica is ended with SIGKILL; that its port refuses connections confirms it",
        "for eight seconds and more writes go on without a gap",
        "the replica is started again and has to be current again",
        READ,
    ],
    does_not_show: &["the loss of both replicas, after which min-replicas-to-write stops the master", "reads on replicas"],
    needs_high_availability: true,
    deadline: DEADLINE,
    sabotages: &[Sabotage { id: planted::GUARD_STRICT, what: "min-replicas-to-write wants both replicas", expects: "service-interrupted" }],
    run: |trial| Box::pin(run(trial, Case::ReplicaLost)),
};

/// The master is changed on purpose.
pub const SWITCHOVER: Scenario = Scenario {
    id: "ha/redis/switchover",
    title: "Redis: a planned change of the master",
    pillar: Pillar::Ha,
    database: Database::Redis,
    clauses: CLAUSES,
    goal: "An operator changes the master with SENTINEL FAILOVER; clients follow in a moment, and what the old master still acknowledges is little.",
    method: &[
        ASKING,
        STAYING,
        "a Sentinel is ordered to change the master; that another server says `role:master` of itself confirms it",
        "the old master has to become a replica; what it acknowledged after the order and is gone is counted",
        READ,
    ],
    does_not_show: &[
        "a change without any loss: SENTINEL FAILOVER does not wait for the replica as CLUSTER FAILOVER does",
        "a change under heavy load",
    ],
    needs_high_availability: true,
    deadline: DEADLINE,
    sabotages: &[Sabotage { expects: "service-interrupted", ..PINNED }],
    run: |trial| Box::pin(run(trial, Case::Switchover)),
};
