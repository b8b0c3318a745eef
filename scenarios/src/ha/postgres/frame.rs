//! What the outages of this database have in common.

use std::time::Duration;

use crate::{Database, Pillar, Scenario};

/// A scenario under Patroni, to be filled.
pub const FRAME: Scenario = Scenario {
    id: "",
    title: "",
    pillar: Pillar::Ha,
    database: Database::Postgres,
    clauses: &["HA-PG-3"],
    goal: "",
    method: &[],
    does_not_show: &[],
    needs_high_availability: true,
    deadline: Duration::from_mins(4),
    sabotages: &[],
    run: |_trial| Box::pin(async { Ok(()) }),
};

/// Step: who works.
pub const LOAD: &str = "four clients insert numbered rows through PgBouncer, one connection each, no retries";
/// Step: what is decided by checkers.
pub const CHECKED: &str = "further clients read, write and compare-and-set registers (which have to be linearizable), append to lists in transactions (SERIALIZABLE, and REPEATABLE READ, which is snapshot isolation) and move money between accounts, all through PgBouncer; checkers decide their histories";
/// Step: who watches.
pub const WATCH: &str =
    "a prober on each server, past the pooler, commits a small write all the time and says in which timeline: never two at once";
/// Step: how losses are found.
pub const COMPARED: &str =
    "all rows are read from the primary and compared with what was acknowledged; whoever was hit must hold the same rows afterwards";
/// Step: how an old primary that wrote alone comes back.
pub const REWOUND: &str = "while no other server hears it, the old primary is asked over SQL how far its log reaches; where that is beyond the end of its timeline in the new primary's timeline history, its Patroni must tell of a pg_rewind that succeeded";
/// What probes five times a second leave open.
pub const BETWEEN_PROBES: &str = "a second writable server for less than the fifth of a second between two probes";
/// What killing a container leaves whole.
pub const KERNEL_LIVES: &str = "the loss of what the kernel had not yet written to the disk: the machine under the containers lives on";
