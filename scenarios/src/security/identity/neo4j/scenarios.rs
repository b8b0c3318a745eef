//! The scenarios as values.

use std::time::Duration;

use super::{directory::directory, gate::Neo4jGate, roles::Neo4jRoles};
use crate::{Database, Pillar, Sabotage, Scenario, security::identity};

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "security/neo4j/roles",
        title: "Neo4j: every role may do what the table of roles says, and nothing else",
        pillar: Pillar::Security,
        database: Database::Neo4j,
        clauses: &["SEC-AUTH-NEO"],
        goal: "Reader, writer, auditor, backup, monitoring and administrator can do at every core exactly what roles/neo4j/access.toml allows.",
        method: &[
            "the accounts and roles of roles/neo4j/roles.cypher are made at every core",
            "a client logs in as each role at each core and tries each action",
            "refused counts only with Neo.ClientError.Security.Forbidden",
            "a follower leaves every write to the leader before it asks for rights: so each core is asked which roles the accounts have there",
        ],
        does_not_show: &[
            "the single server, whose edition has no roles, and the read replica, which has accounts of its own",
            "rights on single labels, which the engine does not have",
        ],
        needs_high_availability: false,
        deadline: Duration::from_secs(180),
        sabotages: &[
            Sabotage { id: "reader-writes", what: "the reader is publisher, too", expects: "wrongly-allowed" },
            Sabotage { id: "auditor-administers", what: "the auditor is administrator", expects: "wrongly-allowed" },
            Sabotage {
                id: "monitoring-reads-at-one-member",
                what: "monitoring may read the graph, at the last core alone",
                expects: "wrongly-allowed",
            },
            Sabotage {
                id: "reader-writes-at-one-follower",
                what: "the reader is publisher, too, at one follower alone",
                expects: "roles-differ-between-members",
            },
            Sabotage { id: "writer-changes-schema", what: "the writer is architect, too", expects: "wrongly-allowed" },
            Sabotage { id: "role-missing", what: "the writer has lost its role", expects: "wrongly-denied" },
        ],
        run: |trial| Box::pin(async move { identity::matrix(trial, &Neo4jRoles::of(trial).await?).await }),
    },
    Scenario {
        id: "security/neo4j/mechanism",
        title: "Neo4j: only known accounts with their passwords get in",
        pillar: Pillar::Security,
        database: Database::Neo4j,
        clauses: &["SEC-AUTH-NEO"],
        goal: "Every member lets in who has a native account and its password, and nobody else.",
        method: &[
            "at every core and replica: right, wrong and empty password, an unknown account, the software's default password, no login",
            "the list of accounts is read and compared with the expected one",
            "25 wrong passwords of an account made for it are timed, then its right one is tried",
        ],
        does_not_show: &["accounts of a directory (LDAP)", "Bolt, which asks the same list of accounts (security/neo4j logs in there)"],
        needs_high_availability: false,
        deadline: Duration::from_secs(240),
        sabotages: &[
            Sabotage { id: "auth-disabled", what: "one server asks nobody who he is", expects: "login-not-needed" },
            Sabotage {
                id: "any-password",
                what: "the last read replica takes whatever password somebody names",
                expects: "wrong-password-accepted",
            },
            Sabotage { id: "account-too-many", what: "one core has an account that nobody ordered", expects: "accounts-differ" },
            Sabotage {
                id: "guessed-password",
                what: "one core has an account `admin` whose password others know",
                expects: "unknown-account-accepted",
            },
        ],
        run: |trial| Box::pin(async move { identity::mechanism(trial, &Neo4jGate::of(trial).await?).await }),
    },
    Scenario {
        id: "security/neo4j/directory",
        title: "Neo4j: people of a directory get in by its word alone, with the rights of their groups",
        pillar: Pillar::Security,
        database: Database::Neo4j,
        clauses: &["SEC-AUTH-NEO"],
        goal: "A server that takes its accounts from a directory over TLS lets in whom the directory knows, as what their groups say, and nobody without it.",
        method: &[
            "a directory (OpenLDAP, TLS 1.3) and a server of its own are started beside the cluster, for this trial",
            "right, wrong, somebody else's and empty password, an unknown person, no login, and the right password of a native account in the server's own file",
            "a reader reads and may not write, an administrator writes, a person of no group may not read",
            "a person joins a group and leaves both: the next request must know",
            "the directory is killed: nobody gets in; it is started again: who is known gets in",
            "the directory's listener is offered each TLS version, and asked without a name",
        ],
        does_not_show: &["the cluster itself with a directory: it has native accounts", "a second directory that takes over"],
        needs_high_availability: true,
        deadline: Duration::from_secs(300),
        sabotages: &[
            Sabotage { id: "anonymous-bind", what: "the directory takes binds without a password", expects: "anonymous-bind" },
            Sabotage { id: "groups-swapped", what: "the readers' group gives the role of administrators", expects: "wrong-role" },
            Sabotage {
                id: "native-accounts-too",
                what: "the server takes native accounts beside the directory's",
                expects: "native-account-accepted",
            },
            Sabotage { id: "groups-remembered", what: "the server remembers groups for ten minutes", expects: "group-change-ignored" },
        ],
        run: |trial| Box::pin(directory(trial)),
    },
];
