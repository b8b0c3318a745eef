//! The scenarios as values.

use std::time::Duration;

use super::{gate::MongodbGate, roles::MongodbRoles};
use crate::{Database, Pillar, Sabotage, Scenario, security::identity};

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "security/mongodb/roles",
        title: "MongoDB: every role may do what the table of roles says, and nothing else",
        pillar: Pillar::Security,
        database: Database::Mongodb,
        clauses: &["SEC-AUTH-MDB"],
        goal: "Reader, writer, auditor, backup, monitoring and administrator can do exactly what roles/mongodb/access.toml allows.",
        method: &[
            "a database with the domain's collections and the roles of roles/mongodb/roles.json are made on the live replica set",
            "the real client logs in as each role and tries each action on each collection, on other databases, the oplog and the server",
            "refused counts only with error 13 (Unauthorized)",
        ],
        does_not_show: &["the set with the arbiter, which has accounts of its own", "commands that would stop or reconfigure the set"],
        needs_high_availability: false,
        deadline: Duration::from_secs(120),
        sabotages: &[
            Sabotage { id: "extra-privilege", what: "the writer may delete documents of one collection", expects: "wrongly-allowed" },
            Sabotage { id: "any-database", what: "the reader gets readAnyDatabase", expects: "wrongly-allowed" },
            Sabotage { id: "cluster-monitor", what: "monitoring gets clusterMonitor, and with it the oplog", expects: "wrongly-allowed" },
            Sabotage {
                id: "built-in-backup",
                what: "backup gets the built-in role, and with it the password verifiers",
                expects: "wrongly-allowed",
            },
            Sabotage { id: "root", what: "the auditor gets root", expects: "wrongly-allowed" },
            Sabotage { id: "privilege-missing", what: "the writer may not insert into one collection", expects: "wrongly-denied" },
        ],
        run: |trial| Box::pin(async move { identity::matrix(trial, &MongodbRoles::of(trial).await?).await }),
    },
    Scenario {
        id: "security/mongodb/mechanism",
        title: "MongoDB: SCRAM-SHA-256 and known certificates, and no other way in",
        pillar: Pillar::Security,
        database: Database::Mongodb,
        clauses: &["SEC-AUTH-MDB"],
        goal: "Every member lets in who proves a password by SCRAM-SHA-256 or shows the certificate of a known subject, and nobody else.",
        method: &[
            "at every data node: right, wrong and empty password, an unknown account, no login, the right password by SCRAM-SHA-1",
            "certificates of the run's authority with a known and an unknown subject; the known subject from a foreign authority",
            "an account for a subject of the nodes' own unit is ordered: the server must refuse to make it",
            "every member, arbiter included, is asked with a member's certificate which mechanisms it takes and whether its localhost exception is open",
            "the list of accounts and the mechanisms of their stored verifiers are read",
            "25 wrong passwords in a row are timed, then the right one is tried",
        ],
        does_not_show: &[
            "a login through the localhost exception itself, which exists only while there is no account",
            "that certificates of the nodes' unit stay with nodes: whoever has one is a member (SEC-CERT)",
        ],
        needs_high_availability: false,
        deadline: Duration::from_secs(180),
        sabotages: &[
            Sabotage { id: "scram-sha-1", what: "one member takes SCRAM-SHA-1, too", expects: "mechanisms-differ" },
            Sabotage {
                id: "localhost-exception",
                what: "the localhost exception of one member is open",
                expects: "localhost-exception-open",
            },
            Sabotage { id: "transition-to-auth", what: "one member takes clients without a login", expects: "login-not-needed" },
            Sabotage {
                id: "foreign-subject",
                what: "there is an account for a subject that nobody knows",
                expects: "unknown-subject-accepted",
            },
            Sabotage { id: "account-too-many", what: "there is an account that nobody ordered", expects: "accounts-differ" },
        ],
        run: |trial| Box::pin(async move { identity::mechanism(trial, &MongodbGate::of(trial).await?).await }),
    },
];
