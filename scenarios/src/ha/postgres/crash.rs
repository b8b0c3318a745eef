//! Processes and nodes die, or sleep.

use std::time::Duration;

use super::{
    super::Course,
    case::Case,
    frame::{BETWEEN_PROBES, CHECKED, COMPARED, FRAME, KERNEL_LIVES, LOAD, REWOUND, WATCH},
    network::EXPIRY,
    sabotage, settings,
    target::Plan,
};
use crate::Scenario;

/// No server is left: what was under way ends within five seconds, and the rest of the time shows that nothing more is acknowledged.
pub const NOBODY_LEFT: Course = Course::ceases(Duration::from_secs(5), Duration::from_secs(10));
/// Step: what comes before the death.
const CUT_FIRST: &str = "the links between the primary and its standbys drop every packet for three seconds, which the receivers' kernel counters confirm; then the primary is killed, and the links are mended when its port refuses";

/// All processes of the primary's node die.
pub const PRIMARY_KILLED: Scenario = Scenario {
    id: "ha/postgres/primary-killed",
    title: "PostgreSQL: the primary is killed under load",
    goal: "Patroni promotes a synchronous standby in time, no acknowledged write is lost, no two servers are ever writable at once, and the old primary comes back as a replica.",
    method: &[
        LOAD,
        CHECKED,
        WATCH,
        "the primary's container is killed with SIGKILL; its port confirms the death",
        "detection is the first survivor whose Patroni names another leader",
        "the killed node is started again and must follow the new primary",
        COMPARED,
    ],
    does_not_show: &[
        "the loss of the node's whole network address, after which clients meet silence instead of resets",
        KERNEL_LIVES,
        BETWEEN_PROBES,
    ],
    sabotages: &[sabotage::PATRONI_FROZEN, sabotage::PATRONI_PAUSED, sabotage::NO_TRANSACTIONS, sabotage::LISTS_WITHOUT_TRANSACTIONS],
    run: |trial| Box::pin(Plan::of(Case::PrimaryKilled, Course::returns().leader_moves()).with_checked_loads().carry_out(trial)),
    ..FRAME
};

/// The primary's machine is gone.
pub const PRIMARY_LOST: Scenario = Scenario {
    id: "ha/postgres/primary-lost",
    title: "PostgreSQL: the primary's machine is gone, and its peers meet silence",
    goal: "As when the primary is killed, although nobody is told by a reset: Patroni promotes a standby in time and the pooler lets go of the old connections.",
    method: &[
        LOAD,
        WATCH,
        "the primary's pod drops every packet and its container is killed: what peers and clients meet is silence",
        "the machine comes back and must follow the new primary",
        COMPARED,
    ],
    does_not_show: &[KERNEL_LIVES, BETWEEN_PROBES],
    sabotages: &[sabotage::PATRONI_FROZEN],
    run: |trial| Box::pin(Plan::of(Case::PrimaryLost, Course::returns().leader_moves()).carry_out(trial)),
    ..FRAME
};

/// All processes of the primary's node sleep for longer than its leadership lasts.
pub const PRIMARY_PAUSED: Scenario = Scenario {
    id: "ha/postgres/primary-paused",
    title: "PostgreSQL: the primary sleeps for 40 s and wakes up as if nothing had been",
    goal: "A standby takes over while the primary sleeps; when it wakes up it acknowledges nothing, steps down and follows.",
    method: &[
        LOAD,
        WATCH,
        "all processes of the primary's node are frozen for 40 s, twice the time that a leadership lasts without being renewed",
        "its port accepts connections and does not react to a TLS hello: the probe of the pause",
        "after the pause the prober on the old primary goes on to write: an acknowledgement would be a second primary",
        COMPARED,
    ],
    does_not_show: &[
        "that the woken primary refuses writes at once: it may take some for a moment that it never acknowledges, and a session that has lowered synchronous_commit would lose them",
        BETWEEN_PROBES,
    ],
    sabotages: &[sabotage::SPLIT_BRAIN, sabotage::PATRONI_FROZEN],
    run: |trial| {
        Box::pin(Plan::of(Case::PrimaryPaused, Course::returns().lasting(Duration::from_secs(40)).leader_moves()).carry_out(trial))
    },
    ..FRAME
};

/// The server process dies, its manager lives.
pub const POSTMASTER_KILLED: Scenario = Scenario {
    id: "ha/postgres/postmaster-killed",
    title: "PostgreSQL: the primary's server process is killed, its Patroni lives",
    goal: "Patroni notices at once and hands over to a standby without waiting for the leadership to expire.",
    method: &[
        LOAD,
        WATCH,
        "the postmaster alone is killed with SIGKILL; the engine's list of processes confirms it",
        "Patroni lives and starts the server again as a replica of the new primary",
        COMPARED,
    ],
    does_not_show: &["a server process that hangs instead of dying", KERNEL_LIVES, BETWEEN_PROBES],
    sabotages: &[sabotage::NOBODY_RESTARTS],
    run: |trial| Box::pin(Plan::of(Case::PostmasterKilled, Course::returns().leader_moves()).carry_out(trial)),
    ..FRAME
};

/// The manager dies, the server lives.
pub const PATRONI_KILLED: Scenario = Scenario {
    id: "ha/postgres/patroni-killed",
    title: "PostgreSQL: the primary's Patroni is killed and its server runs on",
    goal: "Nobody stops the old primary any more, and still no two servers ever acknowledge: it waits for standbys that follow another one.",
    method: &[
        LOAD,
        WATCH,
        "Patroni alone is killed with SIGKILL on the primary; the server runs on without a manager and without a watchdog device",
        "another server is promoted when the leadership expires; the prober on the old one goes on to write",
        "the node is restarted and must follow",
        COMPARED,
    ],
    does_not_show: &[
        "a hardware watchdog, which the containers do not have",
        "a session that has lowered synchronous_commit: the old primary would acknowledge it",
        BETWEEN_PROBES,
    ],
    sabotages: &[sabotage::NO_SYNCHRONOUS_MODE],
    run: |trial| Box::pin(Plan::of(Case::PatroniKilled, Course::continues().settling(EXPIRY).leader_moves()).carry_out(trial)),
    ..FRAME
};

/// Everything dies at once.
pub const ALL_NODES_KILLED: Scenario = Scenario {
    id: "ha/postgres/all-nodes-killed",
    title: "PostgreSQL: every server and every etcd member dies at once",
    goal: "The cluster comes back by itself, with everything that was acknowledged.",
    method: &[
        LOAD,
        WATCH,
        "the containers of all servers and of all etcd members are killed at the same moment and stay down for ten seconds; no insert may be acknowledged later than five seconds after they were seen dead",
        "all are started again; the clock runs from there to the first acknowledged write",
        COMPARED,
    ],
    does_not_show: &[KERNEL_LIVES, BETWEEN_PROBES],
    sabotages: &[sabotage::UNLOGGED],
    run: |trial| Box::pin(Plan::of(Case::AllNodesKilled, NOBODY_LEFT).carry_out(trial)),
    ..FRAME
};

/// What synchronous replication is for.
pub const CUT_OFF_PRIMARY_KILLED: Scenario = Scenario {
    id: "ha/postgres/cut-off-primary-killed",
    title: "PostgreSQL: the primary dies three seconds after its standbys last heard of it",
    goal: "In synchronous mode nothing that was acknowledged is lost, even when the standbys lag behind: what they do not have was not acknowledged.",
    method: &[
        LOAD,
        WATCH,
        CUT_FIRST,
        REWOUND,
        COMPARED,
        "the asynchronous twin of this scenario measures what the same costs without waiting for a standby",
    ],
    does_not_show: &["a lag that has another cause than the network", KERNEL_LIVES, BETWEEN_PROBES],
    sabotages: &[sabotage::SYNCHRONOUS_MODE_OFF],
    run: |trial| Box::pin(Plan::of(Case::CutOffPrimaryKilled, Course::returns().leader_moves()).carry_out(trial)),
    ..FRAME
};

/// The comparison.
pub const CUT_OFF_PRIMARY_KILLED_ASYNCHRONOUS: Scenario = Scenario {
    id: "ha/postgres/cut-off-primary-killed-asynchronous",
    title: "PostgreSQL in asynchronous mode: the same, and the loss is measured",
    goal: "Without waiting for a standby, acknowledged writes are lost: no more than those of the seconds in which the standbys heard nothing.",
    method: &[
        "synchronous_mode is switched off for this scenario and on again after it",
        LOAD,
        WATCH,
        CUT_FIRST,
        REWOUND,
        "what was acknowledged and is not there is counted; the limit is what the clients can insert in that time, with a margin",
    ],
    does_not_show: &["that the mode is fit for anything that must not be lost", BETWEEN_PROBES],
    sabotages: &[sabotage::CUT_OFF_LONGER],
    run: |trial| {
        Box::pin(
            Plan::of(Case::CutOffPrimaryKilled, Course::returns().leader_moves()).with_settings(settings::ASYNCHRONOUS).carry_out(trial),
        )
    },
    ..FRAME
};
