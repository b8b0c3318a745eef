//! The scenarios as values.

use std::time::Duration;

use super::{gate::InfluxGate, roles::InfluxRoles};
use crate::{Database, Pillar, Sabotage, Scenario, security::identity};

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "security/influxdb/roles",
        title: "InfluxDB: every role may do what the table of roles says, and nothing else",
        pillar: Pillar::Security,
        database: Database::Influxdb,
        clauses: &["SEC-AUTH-IDB"],
        goal: "Reader, writer, auditor, backup, monitoring and administrator can do on every node exactly what roles/influxdb/access.toml allows.",
        method: &[
            "databases and the accounts and grants of roles/influxdb/roles.influxql are made on the live cluster and on the single node",
            "the real client logs in as each role at each node and tries each action on each database and on the server",
            "refused counts only with an answer that speaks of authorisation, which a failed login does not",
        ],
        does_not_show: &[
            "deleting points, which the engine cannot tell apart from writing them: whoever may write may delete",
            "backup and restore, which listen inside the node alone and know no accounts",
        ],
        needs_high_availability: false,
        deadline: Duration::from_secs(180),
        sabotages: &[
            Sabotage { id: "extra-grant", what: "the reader may read audit events", expects: "wrongly-allowed" },
            Sabotage { id: "administrator", what: "monitoring is administrator", expects: "wrongly-allowed" },
            Sabotage { id: "auditor-writes", what: "the auditor may write audit events", expects: "wrongly-allowed" },
            Sabotage { id: "grant-missing", what: "the writer may not write audit events", expects: "wrongly-denied" },
        ],
        run: |trial| Box::pin(async move { identity::matrix(trial, &InfluxRoles::of(trial).await?).await }),
    },
    Scenario {
        id: "security/influxdb/mechanism",
        title: "InfluxDB: passwords and sound tokens, and no other way in",
        pillar: Pillar::Security,
        database: Database::Influxdb,
        clauses: &["SEC-AUTH-IDB"],
        goal: "Every node lets in who has a password, the single node also who has a token that was signed for him and is not over, and nobody else.",
        method: &[
            "at every node: right and wrong password, an unknown account, no login for a statement and for a write",
            "at the single node tokens: valid, over, without an end, with another holder under an old signature, without a signature (alg=none), signed with another secret, for an unknown account",
            "at the cluster's nodes a token that would be valid: this release knows none",
            "the list of accounts is read and compared with the expected one",
            "25 wrong passwords in a row are timed, then the right one is tried",
        ],
        does_not_show: &["who hands tokens out", "the port for backups, which listens inside the node alone"],
        needs_high_availability: false,
        deadline: Duration::from_secs(180),
        sabotages: &[
            Sabotage { id: "auth-disabled-single", what: "the single node asks nobody who he is", expects: "login-not-needed" },
            Sabotage {
                id: "auth-disabled-in-the-cluster",
                what: "one node of the cluster asks nobody who he is",
                expects: "login-not-needed",
            },
            Sabotage {
                id: "secret-known",
                what: "the single node checks tokens with a secret that others know",
                expects: "token-of-others-accepted",
            },
            Sabotage {
                id: "expired-token-taken",
                what: "the single node does not look at tokens, nor whether they are over",
                expects: "expired-token-accepted",
            },
            Sabotage {
                id: "endless-token-taken",
                what: "the single node does not look at tokens, nor whether they have an end",
                expects: "endless-token-accepted",
            },
            Sabotage {
                id: "forged-token-taken",
                what: "the single node does not look at tokens, nor at whose signature they bear",
                expects: "forged-token-accepted",
            },
            Sabotage {
                id: "unsigned-token-taken",
                what: "the single node does not look at tokens, nor whether they are signed",
                expects: "unsigned-token-accepted",
            },
            Sabotage { id: "tokens-off", what: "the single node has no secret for tokens", expects: "valid-token-refused" },
            Sabotage { id: "account-too-many", what: "there is an administrator that nobody ordered", expects: "accounts-differ" },
        ],
        run: |trial| Box::pin(async move { identity::mechanism(trial, &InfluxGate::of(trial).await?).await }),
    },
];
