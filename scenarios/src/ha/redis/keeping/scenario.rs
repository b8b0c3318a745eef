//! The scenario.

use std::time::Duration;

use super::driver;
use crate::{Database, Pillar, Sabotage, Scenario};

/// The append-only file is off where `always` is asserted.
pub const LOG_OFF: &str = "log-off";
/// The snapshot that is asserted was never taken.
pub const SNAPSHOT_SKIPPED: &str = "snapshot-skipped";

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
        "a power loss: SIGKILL leaves the kernel's cache whole, so the three levels of appendfsync are told apart only by what they promise, not by \
         what they lose; losing what was not flushed takes a block device that can forget, which this harness does not have",
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
    run: |trial| Box::pin(driver::durability_levels(trial)),
};
