//! Processes die.

use std::time::Duration;

use super::{case::Case, sabotage, target::carry_out};
use crate::{Database, Pillar, Scenario};

use super::super::Course;

/// All processes of the primary's node die.
pub const PRIMARY_KILLED: Scenario = Scenario {
    id: "ha/postgres/primary-killed",
    title: "PostgreSQL: the primary is killed under load",
    pillar: Pillar::Ha,
    database: Database::Postgres,
    clauses: &["HA-PG-3"],
    goal: "Patroni promotes a synchronous standby in time, no acknowledged write is lost, no two servers are ever writable at once, and the old primary comes back as a replica.",
    method: &[
        "four clients insert numbered rows through PgBouncer, one connection each, no retries",
        "a prober on each server, past the pooler, commits a small write all the time and says in which timeline",
        "the primary's container is killed with SIGKILL; its port confirms the death",
        "detection is the first survivor whose Patroni names another leader",
        "the killed node is started again and must follow the new primary",
        "all rows are read from the new primary and compared with what was acknowledged; the returned node must hold the same rows",
    ],
    does_not_show: &[
        "a paused, partitioned or disk-full primary, or a planned switchover",
        "the loss of the node's whole network address, after which clients meet silence instead of resets",
        "the loss of etcd",
        "a second writable server for less than the fifth of a second between two probes",
    ],
    needs_high_availability: true,
    deadline: Duration::from_mins(4),
    sabotages: &[sabotage::PATRONI_FROZEN],
    run: |trial| Box::pin(carry_out(trial, Case::PrimaryKilled, Course::returns())),
};
