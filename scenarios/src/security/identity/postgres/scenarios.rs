//! The scenarios as values.

use std::time::Duration;

use super::{gate::PostgresGate, roles::PostgresRoles};
use crate::{Database, Pillar, Sabotage, Scenario, security::identity};

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "security/postgres/roles",
        title: "PostgreSQL: every role may do what the table of roles says, and nothing else",
        pillar: Pillar::Security,
        database: Database::Postgres,
        clauses: &["SEC-AUTH-PG"],
        goal: "Reader, writer, auditor, backup, monitoring and administrator can do exactly what roles/postgres/access.toml allows.",
        method: &[
            "a database with the domain's schema and the roles of roles/postgres/roles.sql are made on the live cluster",
            "the real client logs in as each role over TLS and tries each action on each table, view, column group and part of the server",
            "each attempt is rolled back; refused counts only with SQLSTATE 42501",
        ],
        does_not_show: &[
            "the standbys, whose catalogue is the primary's",
            "what a role could reach through a function that runs with its owner's rights: the schema has none",
            "statements that cannot run in a transaction (ALTER SYSTEM, CREATE DATABASE)",
        ],
        needs_high_availability: false,
        deadline: Duration::from_secs(120),
        sabotages: &[
            Sabotage { id: "extra-grant", what: "the writer may delete from the audit trail", expects: "wrongly-allowed" },
            Sabotage { id: "superuser", what: "the reader is superuser", expects: "wrongly-allowed" },
            Sabotage { id: "column-too-many", what: "the reader may read logins and names of users", expects: "wrongly-allowed" },
            Sabotage { id: "granted-to-public", what: "everybody may read the configuration", expects: "wrongly-allowed" },
            Sabotage {
                id: "reads-all-data",
                what: "the backup role gets pg_read_all_data, and with it the password verifiers",
                expects: "wrongly-allowed",
            },
            Sabotage {
                id: "member-of-the-owner",
                what: "monitoring is a member of the role that owns the tables",
                expects: "wrongly-allowed",
            },
            Sabotage { id: "grant-missing", what: "the writer may not add to the audit trail", expects: "wrongly-denied" },
        ],
        run: |trial| Box::pin(async move { identity::matrix(trial, &PostgresRoles::of(trial).await?).await }),
    },
    Scenario {
        id: "security/postgres/mechanism",
        title: "PostgreSQL: SCRAM-SHA-256 and no other way in",
        pillar: Pillar::Security,
        database: Database::Postgres,
        clauses: &["SEC-AUTH-PG"],
        goal: "Every server and the pooler ask for SCRAM-SHA-256, keep only such verifiers, and let nobody in by another way, locally neither.",
        method: &[
            "a client that speaks the first messages itself notes what each listener asks for, and answers with the right password in clear",
            "the real client logs in with the right, a wrong and an empty password, as an unknown role, and without TLS",
            "inside each server's node: over its socket and its loopback, without a password",
            "the verifiers (pg_authid), the rules in force (pg_hba_file_rules) and the setting for new passwords are read",
            "25 wrong passwords in a row are timed, then the right one is tried",
        ],
        does_not_show: &[
            "channel binding: the client does not insist on it",
            "etcd and Patroni's own interface (certificate and password, SEC-TLS-LINKS)",
            "the socket for the operating system's user of the server: it is the superuser by intent (peer)",
        ],
        needs_high_availability: false,
        deadline: Duration::from_secs(180),
        sabotages: &[
            Sabotage { id: "md5-verifier", what: "a role's password is kept as an MD5 hash", expects: "weak-verifier" },
            Sabotage { id: "trust-over-the-network", what: "one server trusts every address", expects: "no-password-asked" },
            Sabotage { id: "cleartext-asked", what: "one server asks for the password in clear", expects: "weak-proof-asked" },
            Sabotage { id: "md5-rule", what: "one server has a rule with md5", expects: "weak-rule" },
            Sabotage { id: "trust-on-the-socket", what: "one server trusts its local socket", expects: "local-way-open" },
            Sabotage { id: "trust-on-the-loopback", what: "one server trusts its loopback", expects: "local-way-open" },
            Sabotage { id: "plaintext-allowed", what: "one server takes connections without TLS", expects: "plaintext-login" },
            Sabotage { id: "new-passwords-md5", what: "one server would keep new passwords as MD5 hashes", expects: "weak-setting" },
        ],
        run: |trial| Box::pin(async move { identity::mechanism(trial, &PostgresGate::of(trial).await?).await }),
    },
];
