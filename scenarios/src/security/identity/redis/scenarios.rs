//! The scenarios as values.

use std::time::Duration;

use super::{gate::RedisGate, roles::RedisRoles};
use crate::{Database, Pillar, Sabotage, Scenario, security::identity};

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "security/redis/roles",
        title: "Redis: every role may do what the table of roles says, and nothing else",
        pillar: Pillar::Security,
        database: Database::Redis,
        clauses: &["SEC-AUTH-RDS"],
        goal: "Reader, writer, auditor, backup, monitoring and administrator can do on every server exactly what roles/redis/access.toml allows.",
        method: &[
            "the roles of roles/redis/roles.acl are made on every server, with passwords of this run",
            "the real client logs in as each role, at each server, and tries each action on each key space, channel and part of the server",
            "refused counts only with NOPERM; commands that would do harm carry an argument that fails after the rights were checked",
        ],
        does_not_show: &[
            "the Cluster's nodes, which read the same kind of list",
            "rights on keys that a script computes: scripts must name their keys",
            "commands that turn a connection into something else (SUBSCRIBE, MONITOR, PSYNC)",
        ],
        needs_high_availability: false,
        deadline: Duration::from_secs(120),
        sabotages: &[
            Sabotage { id: "dangerous-category", what: "the reader gets +@dangerous on every server", expects: "wrongly-allowed" },
            Sabotage { id: "all-keys", what: "the writer gets allkeys on every server", expects: "wrongly-allowed" },
            Sabotage {
                id: "one-command-on-a-replica",
                what: "monitoring may read the configuration, on the last server alone",
                expects: "wrongly-allowed",
            },
            Sabotage { id: "auditor-writes", what: "the auditor's key pattern gives writing, too", expects: "wrongly-allowed" },
            Sabotage { id: "right-missing", what: "the writer may not delete", expects: "wrongly-denied" },
        ],
        run: |trial| Box::pin(async move { identity::matrix(trial, &RedisRoles::of(trial).await?).await }),
    },
    Scenario {
        id: "security/redis/mechanism",
        title: "Redis: only named accounts with their passwords get in, anywhere",
        pillar: Pillar::Security,
        database: Database::Redis,
        clauses: &["SEC-AUTH-RDS"],
        goal: "No server, Sentinel or Cluster node does anything for a connection that has not logged in with a named account of its own set.",
        method: &[
            "at every listener: no login, the account `default` in three forms, an unknown account, a wrong and an empty password, the right one",
            "passwords of the replicated set at the Cluster and the other way round",
            "the list of accounts is read and compared with the expected one; none may be without a password",
            "the server is asked whether accounts of the machinery (replica, Sentinel, backup), whose passwords nodes alone know, could read a key (ACL DRYRUN)",
            "25 wrong passwords in a row are timed, then the right one is tried",
        ],
        does_not_show: &["what the accounts may do beyond that (security/redis/roles)", "that somebody reads the log of refused logins"],
        needs_high_availability: false,
        deadline: Duration::from_secs(120),
        sabotages: &[
            Sabotage {
                id: "default-on",
                what: "the account `default` is switched on, with a password that others know, on one server",
                expects: "default-account-open",
            },
            Sabotage { id: "default-on-at-a-sentinel", what: "the same on one Sentinel", expects: "default-account-open" },
            Sabotage {
                id: "nopass",
                what: "the application's account takes any password on one server",
                expects: "wrong-password-accepted",
            },
            Sabotage { id: "account-too-many", what: "one server has an account that nobody ordered", expects: "accounts-differ" },
            Sabotage {
                id: "replica-account-reads",
                what: "the replicas' account may read keys on one server",
                expects: "machinery-may-read",
            },
        ],
        run: |trial| Box::pin(async move { identity::mechanism(trial, &RedisGate::of(trial).await?).await }),
    },
];
