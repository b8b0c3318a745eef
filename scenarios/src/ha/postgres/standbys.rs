//! Standbys are lost.

use super::{
    super::Course,
    case::Case,
    frame::{BETWEEN_PROBES, COMPARED, FRAME, LOAD, WATCH},
    sabotage,
    target::Plan,
};
use crate::Scenario;

/// One that nobody waits for.
pub const STANDBY_KILLED: Scenario = Scenario {
    id: "ha/postgres/standby-killed",
    title: "PostgreSQL: the asynchronous standby is killed",
    goal: "Writes go on as if nothing had been, and the standby catches up when it is back.",
    method: &[LOAD, WATCH, "the asynchronous standby's container is killed; its port confirms the death", COMPARED],
    does_not_show: &["reads on the standby, which have a scenario of their own", BETWEEN_PROBES],
    sabotages: &[sabotage::DEAD_STANDBY_AWAITED],
    run: |trial| Box::pin(Plan::of(Case::StandbyKilled, Course::continues()).carry_out(trial)),
    ..FRAME
};

/// The one that the primary waits for.
pub const SYNC_STANDBY_KILLED: Scenario = Scenario {
    id: "ha/postgres/sync-standby-killed",
    title: "PostgreSQL: the synchronous standby is killed",
    goal: "Writes wait until Patroni has made the other standby synchronous, and go on; nothing acknowledged is lost.",
    method: &[
        LOAD,
        WATCH,
        "the synchronous standby's container is killed; its port confirms the death",
        "the longest time without an acknowledged write is measured",
        COMPARED,
    ],
    does_not_show: &["the loss of both standbys, as when the primary is cut off from them", BETWEEN_PROBES],
    sabotages: &[sabotage::LEADER_FROZEN],
    run: |trial| Box::pin(Plan::of(Case::SyncStandbyKilled, Course::continues()).carry_out(trial)),
    ..FRAME
};
