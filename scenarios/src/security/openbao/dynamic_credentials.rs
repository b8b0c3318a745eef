//! PostgreSQL users that live as long as their lease.

use std::time::{Duration, Instant};

use dora_fixtures::{assets, queries};
use dora_harness::{
    database::postgres::{AccessError, DATABASE, Login, PostgresCluster, SERVER_PORT, connect},
    patience::within,
    security::{Secret, generate_secret, remember},
    service::openbao::{AUDIT_LOG, Openbao},
    topology::Node,
};
use dora_reports::evidence::{Finding, NamedLimit};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use tokio::time::timeout;

use super::parts::{LoginOutcome, is_one_of, log_in, openbao, postgres, text_of};
use crate::{Database, Pillar, Sabotage, Scenario, ScenarioError, Trial};

const ROOT_NOT_ROTATED: &str = "root-not-rotated";
const REVOCATION_EMPTY: &str = "revocation-does-nothing";
const SESSIONS_STAY: &str = "revocation-forgets-sessions";
const LONG_LEASE: &str = "lease-too-long";
const TOO_MUCH: &str = "user-may-write";
const AUDIT_OFF: &str = "audit-off";

/// The scenario.
pub const SCENARIO: Scenario = Scenario {
    id: "security/openbao/dynamic-credentials",
    title: "PostgreSQL users come from OpenBao and end with their lease",
    pillar: Pillar::Security,
    database: Database::Openbao,
    clauses: &["SEC-KMS"],
    goal: "A user that OpenBao makes can do what its role allows, and nothing any more once its lease ended or was revoked; nobody but \
           OpenBao knows the password under which it makes them.",
    method: &[
        "OpenBao is given an account that may make users, and changes that account's password",
        "the password that the account had is tried again: the server must refuse it",
        "a user is issued; the real client logs in, reads what it may read, and is refused a write for want of the privilege",
        "a user with a lease of a few seconds is issued and tried until the server refuses it; the time is measured",
        "the role itself must be gone from PostgreSQL's catalogue within that limit: the end of its password (VALID UNTIL) refuses the login, too",
        "the first user's lease is revoked while its session is open: the login must be refused, the role be gone, and the session be ended \
         by the server (SQLSTATE 57P01, or a closed connection)",
        "the audit log of the server that answered names each of these requests, and holds no password",
    ],
    does_not_show: &[
        "users of Neo4j, MongoDB, InfluxDB and Redis: OpenBao has no plug-in for them here, their passwords are kept (rotated-passwords)",
        "that applications renew their leases",
    ],
    needs_high_availability: false,
    deadline: Duration::from_secs(150),
    sabotages: &[
        Sabotage { id: ROOT_NOT_ROTATED, what: "the account's password is not changed", expects: "root-not-rotated" },
        Sabotage { id: REVOCATION_EMPTY, what: "the statements of a revocation do nothing", expects: "revoked-user-accepted" },
        Sabotage { id: SESSIONS_STAY, what: "a revocation leaves open sessions alone", expects: "revoked-session-goes-on" },
        Sabotage { id: LONG_LEASE, what: "the short lease lives for an hour", expects: "expired-user-accepted" },
        Sabotage { id: TOO_MUCH, what: "the role that users get may also write", expects: "user-may-do-more" },
        Sabotage { id: AUDIT_OFF, what: "every server writes its audit log where nobody collects it", expects: "access-not-audited" },
    ],
    run: |trial| Box::pin(run(trial)),
};

/// Lease of the user that is left to expire.
const SHORT: Duration = Duration::from_secs(6);
/// A lease may outlive its time by this: the server looks for ended leases when it has a moment.
const LATE: Duration = Duration::from_secs(6);
const MOUNT: &str = "database";
const STATEMENT_LIMIT: Duration = Duration::from_secs(10);
/// What is left of a limit is at least this, for one look.
const LOOK: Duration = Duration::from_secs(1);
const READ: &str = "schema/postgres/openbao/read_record.sql";
const WRITE: &str = "schema/postgres/openbao/write_record.sql";

async fn run(trial: &Trial) -> Result<(), ScenarioError> {
    trial.promise_limits(
        "a user works from its issue on, and is refused once its lease ended or was revoked",
        vec![
            NamedLimit::at_most("wrongly_accepted", trial.promise.wrongly_accepted_max()? as f64, "logins"),
            NamedLimit::at_most("wrongly_refused", trial.promise.wrongly_refused_max()? as f64, "logins"),
            NamedLimit::at_most("expired_after", (SHORT + LATE).as_secs_f64(), "s"),
        ],
    );
    let manager = Manager { trial, bao: openbao(trial).await?, cluster: postgres(trial).await? };
    manager.remove().await?;
    if trial.is_sabotaged_by(AUDIT_OFF) {
        manager.point_audit_to("/dora/data/elsewhere.log").await?;
    }
    let outcome = manager.show().await;
    if trial.is_sabotaged_by(AUDIT_OFF) {
        manager.point_audit_to(AUDIT_LOG).await?;
    }
    let removed = manager.remove().await;
    outcome.and(removed)
}

/// A user as OpenBao issued it.
struct Issued {
    lease: String,
    user: String,
    password: Secret,
}

struct Manager<'a> {
    trial: &'a Trial,
    bao: std::sync::Arc<Openbao>,
    cluster: PostgresCluster,
}

impl Manager<'_> {
    async fn show(&self) -> Result<(), ScenarioError> {
        let trial = self.trial;
        let primary = self.cluster.find_primary().await.map_err(|error| ScenarioError::client("find the primary", error))?;
        let initial = self.set_up(&primary).await?;
        let mut wrongly_accepted = 0;
        let mut wrongly_refused = 0;
        let root = self.login(&primary, "dora_bao_manager", &initial);
        if log_in(&root).await? == LoginOutcome::Accepted {
            wrongly_accepted += 1;
            trial.find(Finding::violation("root-not-rotated", "the password under which OpenBao was introduced to PostgreSQL still works"));
        }
        trial.note("probe", "the account's first password was tried");

        let issued = self.issue("reader").await?;
        trial.note("client", format!("{} was issued", issued.user));
        let login = self.login(&primary, &issued.user, &issued.password);
        let mut session = match connect(&login, STATEMENT_LIMIT).await {
            Ok(session) => session,
            Err(error) => {
                trial.find(Finding::violation("issued-user-refused", format!("an issued user cannot log in: {error}")));
                trial.measure("wrongly_refused", Some(1.0), "logins");
                return Ok(());
            }
        };
        if let Err(error) = ask(&mut session, READ).await {
            wrongly_refused += 1;
            trial.find(Finding::violation("issued-user-refused", format!("an issued user cannot read what it may read: {error}")));
        }
        match ask(&mut session, WRITE).await {
            Err(AccessError::Client(error)) if is_one_of(&error, &["42501"]) => {}
            Err(error) => return Err(ScenarioError::client("try a write as an issued user", error)),
            Ok(()) => {
                wrongly_accepted += 1;
                trial.find(Finding::violation("user-may-do-more", "an issued user may write where its role only reads"));
            }
        }

        wrongly_accepted += self.let_expire(&primary).await?;

        self.bao.write("sys/leases/revoke", &json!({ "lease_id": issued.lease, "sync": true })).await?;
        trial.note("client", format!("{} was revoked", issued.user));
        if log_in(&login).await? == LoginOutcome::Accepted {
            wrongly_accepted += 1;
            trial.find(Finding::violation("revoked-user-accepted", "a user whose lease was revoked can still log in"));
        }
        match ask(&mut session, READ).await {
            Ok(()) => {
                trial.find(Finding::violation("revoked-session-goes-on", "a session that was open when its lease was revoked still reads"));
            }
            Err(error) if says_ended(&error) => {}
            Err(error) => {
                let message = format!("whether the open session ended with its lease cannot be told from its answer: {error}");
                trial.find(Finding::unconfirmed("session-end-not-confirmed", message));
            }
        }
        // What it says does not matter: the session is over either way.
        let _ = timeout(STATEMENT_LIMIT, session.close()).await;
        self.expect_gone(&primary, &issued.user, LATE, "revoked-user-left").await?;

        self.judge_audit(&issued).await?;
        trial.measure("wrongly_accepted", Some(f64::from(wrongly_accepted)), "logins");
        trial.measure("wrongly_refused", Some(f64::from(wrongly_refused)), "logins");
        Ok(())
    }

    /// Issues a user with a short lease and waits until it is refused. How many logins were wrongly accepted.
    async fn let_expire(&self, primary: &Node) -> Result<u32, ScenarioError> {
        let trial = self.trial;
        let short = self.issue("short").await?;
        let issued_at = Instant::now();
        let login = self.login(primary, &short.user, &short.password);
        if log_in(&login).await? == LoginOutcome::Refused {
            trial.find(Finding::violation("issued-user-refused", "a user with a short lease cannot log in at once"));
        }
        let refused = within("the end of a short lease", SHORT + LATE, Duration::from_millis(250), || async {
            match log_in(&login).await {
                Ok(LoginOutcome::Refused) => Ok(()),
                Ok(LoginOutcome::Accepted) => Err("it can still log in".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        });
        let expired = refused.await;
        let after = expired.is_ok().then(|| issued_at.elapsed().as_secs_f64());
        trial.note("probe", format!("a user with a lease of {} s was refused after {after:.1?} s", SHORT.as_secs()));
        trial.measure("expired_after", after, "s");
        if let Err(error) = expired {
            trial.find(Finding::violation("expired-user-accepted", format!("a user whose lease has ended can still log in: {error}")));
            return Ok(1);
        }
        let left = (SHORT + LATE).saturating_sub(issued_at.elapsed()).max(LOOK);
        self.expect_gone(primary, &short.user, left, "expired-user-left").await?;
        Ok(0)
    }

    /// Waits until PostgreSQL has no role of this name any more. Where it stays beyond the limit, that is the finding.
    async fn expect_gone(&self, primary: &Node, user: &str, limit: Duration, finding: &str) -> Result<(), ScenarioError> {
        let gone = within("the end of a role", limit, Duration::from_millis(250), || async {
            match self.has_role(primary, user).await {
                Ok(false) => Ok(()),
                Ok(true) => Err("it is still in pg_roles".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        });
        // Asked once more: a server that does not answer says nothing of the role.
        if gone.await.is_err() && self.has_role(primary, user).await? {
            self.trial.find(Finding::violation(finding, format!("the lease of {user} is over, and PostgreSQL still has the role")));
        } else {
            self.trial.note("probe", format!("{user} is gone from pg_roles"));
        }
        Ok(())
    }

    async fn has_role(&self, primary: &Node, user: &str) -> Result<bool, ScenarioError> {
        let question = assets::text("schema/postgres/openbao/has_role.sql")?;
        let asked = async {
            let mut connection = connect(&self.cluster.superuser_login(primary), STATEMENT_LIMIT).await?;
            let answer = sqlx::query_scalar(question).bind(user).fetch_one(&mut connection);
            Ok::<bool, AccessError>(timeout(STATEMENT_LIMIT, answer).await.map_err(|_elapsed| AccessError::Deadline(STATEMENT_LIMIT))??)
        };
        asked.await.map_err(|error| ScenarioError::client("ask PostgreSQL for a role", error))
    }

    /// Makes the account and introduces OpenBao to it. The password that the account had at first.
    async fn set_up(&self, primary: &Node) -> Result<Secret, ScenarioError> {
        let initial = generate_secret();
        let script = assets::render("schema/postgres/openbao/manager.sql.j2", json!({ "database": DATABASE, "password": initial }))?;
        self.as_superuser(primary, &script).await?;
        if self.trial.is_sabotaged_by(TOO_MUCH) {
            self.as_superuser(primary, assets::text("schema/postgres/openbao/sabotage/reader_writes.sql")?).await?;
        }
        self.bao.write(&format!("sys/mounts/{MOUNT}"), &json!({ "type": "database" })).await?;
        let hosts: Vec<String> = self.cluster.servers().iter().map(|server| server.socket(SERVER_PORT).to_string()).collect();
        let url = format!(
            "postgresql://{{{{username}}}}:{{{{password}}}}@{}/{DATABASE}?target_session_attrs=read-write&sslmode=verify-full&sslrootcert=/dora/tls/ca.crt",
            hosts.join(",")
        );
        let connection = json!({
            "plugin_name": "postgresql-database-plugin",
            "allowed_roles": "reader,short",
            "connection_url": url,
            "username": "dora_bao_manager",
            "password": initial,
            "password_authentication": "scram-sha-256",
        });
        self.bao.write(&format!("{MOUNT}/config/postgres"), &connection).await?;
        if !self.trial.is_sabotaged_by(ROOT_NOT_ROTATED) {
            self.bao.write(&format!("{MOUNT}/rotate-root/postgres"), &json!({})).await?;
        }
        let revoke = match self.trial.sabotage.map(|sabotage| sabotage.id) {
            Some(REVOCATION_EMPTY) => "schema/postgres/openbao/sabotage/revoke_nothing.sql",
            Some(SESSIONS_STAY) => "schema/postgres/openbao/sabotage/revoke_login_only.sql",
            _ => "schema/postgres/openbao/revoke_user.sql",
        };
        let short = if self.trial.is_sabotaged_by(LONG_LEASE) { 3600 } else { SHORT.as_secs() };
        for (role, seconds) in [("reader", 3600), ("short", short)] {
            let body = json!({
                "db_name": "postgres",
                "creation_statements": statements("schema/postgres/openbao/create_user.sql")?,
                "revocation_statements": statements(revoke)?,
                "default_ttl": format!("{seconds}s"),
                "max_ttl": format!("{seconds}s"),
            });
            self.bao.write(&format!("{MOUNT}/roles/{role}"), &body).await?;
        }
        Ok(initial)
    }

    async fn issue(&self, role: &str) -> Result<Issued, ScenarioError> {
        let answer = self.bao.read(&format!("{MOUNT}/creds/{role}")).await?;
        let password = remember("a password that OpenBao issued", text_of(&answer, "/data/password")?.to_owned());
        Ok(Issued { lease: text_of(&answer, "/lease_id")?.to_owned(), user: text_of(&answer, "/data/username")?.to_owned(), password })
    }

    fn login(&self, server: &Node, user: &str, password: &Secret) -> Login {
        Login { user: user.to_owned(), password: password.clone(), ..self.cluster.superuser_login(server) }
    }

    /// The audit log is read in the server's files, not through its API.
    async fn judge_audit(&self, issued: &Issued) -> Result<(), ScenarioError> {
        let (node, _) = self.bao.active().await?;
        let files = node.get_files(AUDIT_LOG).await?;
        let log = String::from_utf8_lossy(files.first().map(|(_, content)| content.as_slice()).unwrap_or_default()).into_owned();
        let entries: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        for path in [
            format!("{MOUNT}/config/postgres"),
            format!("{MOUNT}/creds/reader"),
            format!("{MOUNT}/creds/short"),
            "sys/leases/revoke".into(),
        ] {
            let answered = entries
                .iter()
                .any(|entry| entry["type"] == "response" && entry.pointer("/request/path").and_then(Value::as_str) == Some(path.as_str()));
            if !answered {
                self.trial.find(Finding::violation(
                    "access-not-audited",
                    format!("{}'s audit log has no answer to a request of {path}", node.name()),
                ));
            }
        }
        if log.contains(issued.password.reveal()) || log.contains(self.bao.root_token().reveal()) {
            self.trial.find(Finding::violation("secret-in-audit-log", "the audit log holds a password or a token in clear"));
        }
        self.trial.measure("audited_requests", Some(entries.iter().filter(|entry| entry["type"] == "request").count() as f64), "requests");
        Ok(())
    }

    /// Lets every server write its audit log elsewhere; it opens the file again on SIGHUP.
    async fn point_audit_to(&self, target: &str) -> Result<(), ScenarioError> {
        use dora_harness::database::Cluster as _;
        for node in self.bao.nodes() {
            let command: &[&str] = if target == AUDIT_LOG { &["rm", "-f", AUDIT_LOG] } else { &["ln", "-sf", target, AUDIT_LOG] };
            node.exec_ok(command, &[], STATEMENT_LIMIT).await?;
            node.signal("HUP").await?;
        }
        // The signal is handled beside the requests: one that is answered under the new file is the sign.
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(())
    }

    /// Removes what an earlier trial or this one made.
    async fn remove(&self) -> Result<(), ScenarioError> {
        let primary = self.cluster.find_primary().await.map_err(|error| ScenarioError::client("find the primary", error))?;
        let mounts = self.bao.read("sys/mounts").await?;
        if mounts.pointer("/data/database~1").is_some() {
            // Users whose revocation was sabotaged are dropped below.
            self.bao.write(&format!("sys/leases/revoke-force/{MOUNT}"), &json!({})).await?;
            self.bao.delete(&format!("sys/mounts/{MOUNT}")).await?;
        }
        self.as_superuser(&primary, assets::text("schema/postgres/openbao/remove_users.sql")?).await
    }

    async fn as_superuser(&self, primary: &Node, script: &str) -> Result<(), ScenarioError> {
        let failed = |error: String| ScenarioError::client("prepare PostgreSQL for OpenBao", error);
        let mut connection =
            connect(&self.cluster.superuser_login(primary), STATEMENT_LIMIT).await.map_err(|error| failed(error.to_string()))?;
        let script = sqlx::raw_sql(sqlx::AssertSqlSafe(script.to_owned()));
        let done = timeout(STATEMENT_LIMIT, script.execute(&mut connection)).await;
        let done = done.map_err(|_elapsed| failed(AccessError::Deadline(STATEMENT_LIMIT).to_string()))?;
        done.map(drop).map_err(|error| failed(error.to_string()))
    }
}

fn statements(asset: &str) -> Result<Vec<&'static str>, ScenarioError> {
    Ok(queries::statements(assets::text(asset)?))
}

async fn ask(session: &mut PgConnection, asset: &str) -> Result<(), AccessError> {
    let script = assets::text(asset).map_err(|error| sqlx::Error::Protocol(error.to_string()))?;
    let answer = timeout(STATEMENT_LIMIT, sqlx::raw_sql(sqlx::AssertSqlSafe(script)).execute(session)).await;
    answer.map_err(|_elapsed| AccessError::Deadline(STATEMENT_LIMIT))?.map(drop).map_err(Into::into)
}

/// Whether a session's error says that the server ended it: by its word (`admin_shutdown`), or by closing the connection.
fn says_ended(error: &AccessError) -> bool {
    match error {
        AccessError::Client(sqlx::Error::Io(_)) => true,
        AccessError::Client(error) => is_one_of(error, &["57P01"]),
        AccessError::Deadline(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_closed_connection_is_a_sessions_end() {
        let closed = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        assert!(says_ended(&AccessError::Client(sqlx::Error::Io(closed))));
        assert!(!says_ended(&AccessError::Client(sqlx::Error::Protocol("an unknown message".into()))));
        assert!(!says_ended(&AccessError::Deadline(STATEMENT_LIMIT)));
    }
}
