//! The defects that are planted, as data; see [`super::defects`] for how.

use crate::Sabotage;

/// Nobody takes over.
pub const PATRONI_FROZEN: Sabotage = Sabotage {
    id: "patroni-frozen",
    what: "Patroni is frozen for a minute on every standby, so that none is promoted in time",
    expects: "recovery-too-late",
};

/// The same, where the fault takes its effect later.
pub const PATRONI_FROZEN_INTERRUPTS: Sabotage = Sabotage { expects: "service-interrupted", ..PATRONI_FROZEN };

/// An administrator has forgotten to end the maintenance.
pub const PATRONI_PAUSED: Sabotage = Sabotage {
    id: "patroni-paused",
    what: "Patroni is in maintenance mode (`patronictl pause`), in which it promotes nobody",
    expects: "recovery-too-late",
};

/// Commits are acknowledged before anybody else has them.
pub const SYNCHRONOUS_MODE_OFF: Sabotage =
    Sabotage { id: "synchronous-mode-off", what: "synchronous_mode is false", expects: "acknowledged-writes-lost" };

/// An old primary goes on to acknowledge: nothing fences it but its Patroni, and that is frozen.
pub const SPLIT_BRAIN: Sabotage = Sabotage {
    id: "split-brain",
    what: "synchronous_mode is false and the primary's Patroni is frozen for a minute, so that nothing makes the old primary step down",
    expects: "two-primaries",
};

/// As [`SPLIT_BRAIN`], where the fault itself takes Patroni away.
pub const NO_SYNCHRONOUS_MODE: Sabotage = Sabotage {
    id: "no-synchronous-mode",
    what: "synchronous_mode is false, so that a primary without Patroni goes on to acknowledge",
    expects: "two-primaries",
};

/// The pooler does not follow.
pub const POOL_PINNED: Sabotage = Sabotage {
    id: "pool-pinned",
    what: "the pooler points at the server that is primary now, whatever becomes of it",
    expects: "recovery-too-late",
};

/// The same, where service has to go on.
pub const POOL_PINNED_INTERRUPTS: Sabotage = Sabotage { expects: "service-interrupted", ..POOL_PINNED };

/// Writes wait for standbys that are not there.
pub const ALL_STANDBYS_AWAITED: Sabotage = Sabotage {
    id: "all-standbys-awaited",
    what: "synchronous_mode_strict: no commit is acknowledged while no standby has it",
    expects: "service-interrupted",
};

/// Patroni would take a dead standby from the list of those that are awaited; it is not there to do so.
pub const DEAD_STANDBY_AWAITED: Sabotage = Sabotage {
    id: "dead-standby-awaited",
    what: "a commit waits for both standbys, and the primary's Patroni is frozen for a minute, so that it waits for the dead one, too",
    expects: "service-interrupted",
};

/// Nobody chooses another synchronous standby.
pub const LEADER_FROZEN: Sabotage = Sabotage {
    id: "leaders-patroni-frozen",
    what: "the primary's Patroni is frozen for a minute, so that it goes on to wait for a standby that is gone",
    expects: "service-interrupted",
};

/// Nobody starts the server again, and nobody hands over.
pub const NOBODY_RESTARTS: Sabotage = Sabotage {
    what: "the primary's Patroni is frozen for a minute: it neither starts its dead server again nor hands over before the leadership expires",
    expects: "recovery-too-late",
    ..LEADER_FROZEN
};

/// The primary does not notice that it may no longer lead.
pub const LEADER_UNAWARE: Sabotage = Sabotage {
    id: "leader-unaware",
    what: "the primary's Patroni is frozen for a minute, so that it does not step down when it cannot renew its leadership, and the pooler leads to it all the same",
    expects: "acknowledged-without-quorum",
};

/// The loss of one more is the loss of the majority.
pub const ETCD_MEMBER_DOWN: Sabotage = Sabotage {
    id: "etcd-member-down",
    what: "one etcd member is down already, so that the loss of another one takes the majority",
    expects: "service-interrupted",
};

/// What the primary asks does not answer.
pub const STANDBYS_DEAF: Sabotage = Sabotage {
    id: "standbys-patroni-frozen",
    what: "Patroni is frozen for a minute on the standbys, so that they do not confirm to the primary that it still leads",
    expects: "service-interrupted",
};

/// The rows never reach the log.
pub const UNLOGGED: Sabotage =
    Sabotage { id: "unlogged-table", what: "the inserts go to an unlogged table", expects: "acknowledged-writes-lost" };

/// Nothing reaches the disk in time.
pub const FSYNC_OFF: Sabotage = Sabotage { id: "fsync-off", what: "the servers run with fsync = off", expects: "acknowledged-writes-lost" };

/// No honest copy is left.
pub const ALL_DISKS_LIE: Sabotage = Sabotage {
    id: "all-disks-lie",
    what: "the disks of all servers confirm flushes that they do not carry out, and all lose their power",
    expects: "acknowledged-writes-lost",
};

/// What an old primary wrote alone is not taken back.
pub const NEVER_REWOUND: Sabotage = Sabotage {
    id: "never-rewound",
    what: "use_pg_rewind is false, so that an old primary whose log went another way is removed and copied anew",
    expects: "not-rewound",
};

/// The loss is larger than what is allowed for.
pub const CUT_OFF_LONGER: Sabotage = Sabotage {
    id: "cut-off-longer",
    what: "the standbys hear nothing of the primary for nine seconds before it dies, not for three",
    expects: "acknowledged-writes-lost",
};

/// What belongs together is not.
pub const NO_TRANSACTIONS: Sabotage = Sabotage {
    id: "no-transactions",
    what: "the clients of the checked loads send neither BEGIN nor COMMIT: each statement commits by itself",
    expects: "total-changed",
};

/// The same defect, as another checker has to see it.
pub const LISTS_WITHOUT_TRANSACTIONS: Sabotage =
    Sabotage { id: "lists-without-transactions", expects: "isolation-violated", ..NO_TRANSACTIONS };

/// A server connection for every client.
pub const SESSION_POOLING: Sabotage = Sabotage {
    id: "session-pooling",
    what: "the pooler gives every client a server connection of its own, up to a hundred",
    expects: "too-many-server-connections",
};

/// A standby that is none.
pub const STANDBY_WRITABLE: Sabotage = Sabotage {
    id: "standby-writable",
    what: "a standby is promoted beside the primary, past its Patroni, which is frozen",
    expects: "standby-accepted-write",
};

/// A standby that is not fed.
pub const STANDBY_NOT_FED: Sabotage =
    Sabotage { id: "standby-not-fed", what: "the link between the primary and one standby is cut all the time", expects: "standby-behind" };
