//! `PostgreSQL`: a full backup with pgBackRest, restored into another cluster.

mod content;
mod target;

use std::time::Duration;

pub(crate) use content::load;

use self::target::{PostgresBackup, TRUNCATED};
use super::driver;
use crate::{Database, Pillar, Sabotage, Scenario};

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "backup/postgres",
    title: "PostgreSQL: full backup, everything destroyed, restored into a new cluster",
    pillar: Pillar::Backup,
    database: Database::Postgres,
    clauses: &["BK-FULL-PG"],
    goal: "A full backup alone is enough to rebuild the whole content in a separate cluster that has other credentials and is as strict.",
    method: &[
        "the domain data are loaded and every table (and the materialized view) is hashed row by row on the primary",
        "pgBackRest takes a full backup on the primary into an encrypted repository, which leaves the cluster",
        "all nodes and volumes are destroyed",
        "a new cluster with new passwords bootstraps its first leader from the repository; replicas copy from that leader",
        "every table is hashed again; old password, no password and plaintext must be refused, the new password accepted",
    ],
    does_not_show: &[
        "incremental backups and recovery to a chosen instant",
        "a repository in another place than the machine of the run",
        "a backup that is taken while the application writes",
        "another certificate authority: the new cluster's certificates come from the run's own",
    ],
    needs_high_availability: false,
    deadline: Duration::from_mins(5),
    sabotages: &[Sabotage { id: TRUNCATED, what: "the largest file of the backup is cut in half", expects: "restore-failed" }],
    run: |trial| Box::pin(async move { driver::full_backup(trial, &PostgresBackup::of(trial).await?).await }),
}];
