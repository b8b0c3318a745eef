//! The scenario.

use std::time::Duration;

use super::{driver, server::Crash};
use crate::{Database, Pillar, Sabotage, Scenario};

/// The append-only file is off where `always` is asserted.
pub const LOG_OFF: &str = "log-off";
/// The snapshot that is asserted was never taken.
pub const SNAPSHOT_SKIPPED: &str = "snapshot-skipped";

/// Another level than the asserted one.
pub const FLUSHED_EVERY_SECOND: &str = "flushed-every-second";

/// Four servers, four ways of keeping data, all killed.
pub const DURABILITY_LEVELS: Scenario = Scenario {
    id: "ha/redis/durability-levels",
    title: "Redis: what a crash takes away under each way of keeping data",
    pillar: Pillar::Ha,
    database: Database::Redis,
    clauses: &["HA-RDS-3"],
    goal: "After the crash of a server without replicas everything that its way of keeping data promises is there again, and what it does not promise is measured.",
    method: &[
        "four servers start alone, with appendfsync always, everysec, no, and without an append-only file",
        "two clients on each append values to a list; the server without append-only file takes one snapshot on the way",
        "every server is ended with SIGKILL under that load; that its port refuses connections confirms it",
        "every server starts again on its own files, and its list is compared with what was acknowledged",
        "always: nothing may be gone; everysec: at most what was sent within two seconds, which is how long Redis puts a write off while a flush runs; \
         no: nothing, because a process crash leaves the kernel's cache; snapshots only: nothing that was acknowledged before the snapshot began, and \
         something that came after must be gone, or the crash was none",
    ],
    does_not_show: &[
        "a loss of power: SIGKILL leaves the kernel's cache whole, so the three levels of appendfsync lose the same here; see ha/redis/durability-levels-power-loss",
        "a disk that breaks or lies about its flushes",
        "sets with replicas, where a failover replaces the crashed server",
    ],
    needs_high_availability: false,
    deadline: Duration::from_secs(180),
    sabotages: &[
        Sabotage {
            id: LOG_OFF,
            what: "the server that is asserted to run with `always` has no append-only file",
            expects: "acknowledged-writes-lost",
        },
        Sabotage { id: SNAPSHOT_SKIPPED, what: "the snapshot is asserted and was never taken", expects: "snapshot-writes-lost" },
    ],
    run: |trial| Box::pin(driver::durability_levels(trial, Crash::Process)),
};

/// The same, and what was not flushed is gone.
pub const DURABILITY_LEVELS_POWER_LOSS: Scenario = Scenario {
    id: "ha/redis/durability-levels-power-loss",
    title: "Redis: what a loss of power takes away under each way of keeping data",
    goal: "After a loss of power everything that the server's way of keeping data promises is there again; what was not flushed is gone, and that tells the three levels of appendfsync apart.",
    method: &[
        "four servers start alone, with appendfsync always, everysec, no, and without an append-only file, each on a disk with a cache that a loss of power \
         empties: a library under the server notes what each write replaces, a flush forgets the notes of its file, and after the loss what is noted is taken back",
        "two clients on each append values to a list; the server without append-only file takes one snapshot on the way",
        "two words are written to the data volume right before the loss, one flushed and one not: afterwards the one has to be there and the other gone",
        "every server loses its power under that load, starts again on its own files, and its list is compared with what was acknowledged",
        "always: nothing may be gone; everysec: at most what was sent within two seconds; no: something must be gone, with no bound; snapshots only: nothing \
         that was acknowledged before the snapshot began",
    ],
    does_not_show: &[
        "lost names: a file that was made, renamed or removed stays so, flushed or not; and what is written through buffers of the C library (the snapshot) counts as flushed",
        "a write of which a part reached the disk, and writes that reach it in another order",
        "sets with replicas, where a failover replaces the crashed server",
    ],
    sabotages: &[
        Sabotage {
            id: FLUSHED_EVERY_SECOND,
            what: "the server that is asserted to run with `always` flushes once a second",
            expects: "acknowledged-writes-lost",
        },
        Sabotage { id: SNAPSHOT_SKIPPED, what: "the snapshot is asserted and was never taken", expects: "snapshot-writes-lost" },
    ],
    run: |trial| Box::pin(driver::durability_levels(trial, Crash::Power)),
    ..DURABILITY_LEVELS
};
