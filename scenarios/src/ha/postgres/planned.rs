//! What an administrator does on purpose.

use super::{
    super::Course,
    case::Case,
    frame::{BETWEEN_PROBES, COMPARED, FRAME, LOAD, WATCH},
    sabotage,
    target::Plan,
};
use crate::Scenario;

/// There and back.
pub const SWITCHOVER: Scenario = Scenario {
    id: "ha/postgres/switchover",
    title: "PostgreSQL: the leadership is handed over on purpose, and back",
    goal: "A planned switchover interrupts writes for seconds only and loses nothing; the failback does the same.",
    method: &[
        LOAD,
        WATCH,
        "Patroni's REST API is ordered to make the synchronous standby the leader; the servers' own word over SQL confirms it",
        "the longest time without an acknowledged write is measured",
        "after sustained operation the leadership is handed back",
        COMPARED,
    ],
    does_not_show: &["a switchover that is scheduled for later", BETWEEN_PROBES],
    sabotages: &[sabotage::POOL_PINNED_INTERRUPTS],
    run: |trial| Box::pin(Plan::of(Case::Switchover, Course::continues().leader_moves()).carry_out(trial)),
    ..FRAME
};
