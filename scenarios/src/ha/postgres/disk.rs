//! Disks: full, without power, lying.

use std::time::Duration;

use dora_harness::topology::Equipment;

use super::{
    super::Course,
    case::Case,
    crash::NOBODY_LEFT,
    equipped,
    frame::{BETWEEN_PROBES, COMPARED, FRAME, LOAD, WATCH},
    sabotage,
    target::Plan,
};
use crate::Scenario;

/// Room for the data and for the log that is kept for standbys.
const VOLUME_BYTES: u64 = 640 << 20;
const SMALL: Equipment = Equipment { data_bytes_max: Some(VOLUME_BYTES), clock: false, disk_faults: false, power: false };
/// The cluster is started twice.
const DEADLINE: Duration = Duration::from_mins(7);

/// No room is left.
pub const DISK_FULL: Scenario = Scenario {
    id: "ha/postgres/disk-full",
    title: "PostgreSQL: the primary's data volume is full",
    goal: "Nothing is acknowledged that is not kept: writes are refused while the disk is full, a standby takes over when the primary's log cannot go on, and the old primary is a replica again when it has room.",
    method: &[
        "the cluster is started anew with data volumes of 640 MiB in memory, and again without when all is over",
        LOAD,
        WATCH,
        "the primary's volume is filled but for 4 KiB; its user's attempt to write more confirms it",
        "the log is switched to a new file twice each second, as on a busy server, until the server gives up",
        "the space is given back; the node must be a replica that holds everything",
        COMPARED,
    ],
    does_not_show: &[
        "an idle server with a full disk: it refuses what needs a new page and leads on, for as long as its log has files in store",
        "a full disk on a standby, or on the volume of the backups",
        BETWEEN_PROBES,
    ],
    deadline: DEADLINE,
    sabotages: &[sabotage::UNLOGGED, sabotage::POOL_PINNED],
    run: |trial| Box::pin(equipped::carry_out(trial, Plan::of(Case::DiskFull, Course::returns().leader_moves()), &SMALL)),
    ..FRAME
};

const POWER: Equipment = Equipment { data_bytes_max: None, clock: false, disk_faults: false, power: true };

const CACHED: &str = "the cluster is started anew on disks with a cache that a loss of power empties, and again without when all is over: a library under the database notes what each write replaces, a flush forgets the notes of its file, and after the loss what is noted is taken back";
const WITNESSED: &str = "two words are written to the data volume right before the loss, one flushed and one not: afterwards the one has to be there and the other gone, or nothing was shown";
const NAMES_KEPT: &str =
    "lost names: a file that was made, renamed or removed stays so, flushed or not, as on a file system that writes its journal at once";
const NOT_TORN: &str = "a write of which a part reached the disk, and writes that reach it in another order";
const NOT_ETCD: &str =
    "power loss of etcd: its members are killed, but their program calls the kernel without the C library, so what they wrote is kept";

/// The lights go out.
pub const POWER_LOSS_ALL_NODES: Scenario = Scenario {
    id: "ha/postgres/power-loss-all-nodes",
    title: "PostgreSQL: every server loses its power at once",
    goal: "What was acknowledged had been flushed, so it is there when all come back, although everything that was not flushed is gone.",
    method: &[
        CACHED,
        LOAD,
        WATCH,
        WITNESSED,
        "all servers and etcd members are killed at the same moment and stay down for ten seconds, and the servers lose what they had not flushed",
        "all are started again; the clock runs from there to the first acknowledged write",
        COMPARED,
    ],
    does_not_show: &[NAMES_KEPT, NOT_TORN, NOT_ETCD, BETWEEN_PROBES],
    deadline: DEADLINE,
    sabotages: &[sabotage::FSYNC_OFF, sabotage::UNLOGGED],
    run: |trial| Box::pin(equipped::carry_out(trial, Plan::of(Case::PowerLossAllNodes, NOBODY_LEFT), &POWER)),
    ..FRAME
};

/// One disk cannot be trusted.
pub const LOST_FSYNC: Scenario = Scenario {
    id: "ha/postgres/lost-fsync",
    title: "PostgreSQL: the primary's disk lies about its flushes and loses its power",
    goal: "What one disk loses that it had confirmed is on another server: a standby takes over, nothing acknowledged is lost, and the old primary fetches what its disk forgot.",
    method: &[
        CACHED,
        LOAD,
        WATCH,
        WITNESSED,
        "for five seconds the primary's disk confirms flushes and does not carry them out (so both words have to be gone), then the node loses its power",
        COMPARED,
    ],
    does_not_show: &[
        "a primary that comes back before anybody took over: it would lead on with what its disk kept, and the standbys would be ahead of it",
        NAMES_KEPT,
        NOT_TORN,
        BETWEEN_PROBES,
    ],
    deadline: DEADLINE,
    sabotages: &[sabotage::ALL_DISKS_LIE, sabotage::PATRONI_FROZEN],
    run: |trial| Box::pin(equipped::carry_out(trial, Plan::of(Case::LostFsync, Course::returns().leader_moves()), &POWER)),
    ..FRAME
};
