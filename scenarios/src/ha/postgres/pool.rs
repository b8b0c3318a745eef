//! Many clients on few server connections.

use super::{
    super::Course,
    case::Case,
    frame::{BETWEEN_PROBES, FRAME, LOAD},
    sabotage,
    target::Plan,
};
use crate::Scenario;

/// The pool holds its size, and follows.
pub const POOL: Scenario = Scenario {
    id: "ha/postgres/pool",
    title: "PgBouncer: many clients share few server connections, also after a failover",
    clauses: &["HA-PG-2"],
    goal: "More clients than the server has room for are served over a bounded number of server connections, and all of them are served again after the primary has changed.",
    method: &[
        "150 clients hold a connection to PgBouncer and use it for a third of a second at a time; the server takes 120 connections",
        LOAD,
        "the primary's server process is killed; the pool has to let go of it and lead everybody to the new primary",
        "the new primary's own list of sessions says how many connections the pooler holds there: at least one, and no more than its pool and reserve",
        "every client has to be served in the last quarter of the run",
    ],
    does_not_show: &["how throughput with a pool compares with throughput without one", "several poolers", BETWEEN_PROBES],
    sabotages: &[sabotage::POOL_PINNED, sabotage::SESSION_POOLING],
    run: |trial| Box::pin(Plan::of(Case::PostmasterKilled, Course::returns().leader_moves()).with_crowd().carry_out(trial)),
    ..FRAME
};
