//! The ways into servers and pooler.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_fixtures::assets;
use dora_harness::{
    database::postgres::{AccessError, Asked, Handshake, Login as Account, POOLER_PORT, PostgresCluster, Purpose, SERVER_PORT, connect},
    patience::within,
    security::{Secret, generate_secret},
    topology::Node,
};
use tokio::time::timeout;

use super::superuser::{CONNECT_LIMIT, run_lines, session};
use crate::{
    ScenarioError, Trial,
    security::identity::{Attempted, Check, Gate, Login},
};

const RULES: &str = "/dora/data/pgdata/pg_hba.conf";
const SCRAM: &str = "SCRAM-SHA-256";
/// One question of the superuser.
const QUESTION_LIMIT: Duration = Duration::from_secs(10);
/// A server that was told to read its rules again has done so by then.
const RELOAD_LIMIT: Duration = Duration::from_secs(15);
/// A client inside a node.
const LOCAL_LIMIT: Duration = Duration::from_secs(10);

pub struct PostgresGate {
    cluster: Arc<PostgresCluster>,
    wrong: Secret,
}

impl PostgresGate {
    pub async fn of(trial: &Trial) -> Result<Self, ScenarioError> {
        let missing = || ScenarioError::Missing("there is no PostgreSQL cluster".to_owned());
        Ok(Self { cluster: trial.platform().postgres.cluster().await.ok_or_else(missing)?, wrong: generate_secret() })
    }

    /// Where a defect is planted: the last server, so that a probe of the first alone would miss it.
    fn struck(&self) -> Result<&Node, ScenarioError> {
        self.cluster.servers().last().ok_or_else(|| ScenarioError::Missing("there is no PostgreSQL server".to_owned()))
    }

    fn app(&self, address: SocketAddr) -> Account {
        self.cluster.application_login(address)
    }

    /// What every listener is tried with.
    async fn over_the_network(&self, place: &str, address: SocketAddr) -> Vec<Check> {
        let app = self.app(address);
        let with = |user: &str, password: &Secret| Account { user: user.to_owned(), password: password.clone(), ..app.clone() };
        let logins = [
            ("right password", app.clone(), Login::Accepted, "right-password-refused"),
            ("wrong password", with(&app.user, &self.wrong), Login::Refused, "wrong-password-accepted"),
            ("empty password", with(&app.user, &Secret::from(String::new())), Login::Refused, "wrong-password-accepted"),
            ("unknown role", with("nobody_of_this_name", &self.wrong), Login::Refused, "unknown-role-accepted"),
            ("right password without TLS", Account { authority: None, ..app.clone() }, Login::Refused, "plaintext-login"),
        ];
        let mut checks = Vec::new();
        for (way, account, expected, finding) in logins {
            checks.push(check(way, place, expected, log_in(&account).await, finding));
        }
        let unknown = with("nobody_of_this_name", &self.wrong);
        for (way, account) in [("proof asked of `app`", &app), ("proof asked of an unknown role", &unknown)] {
            checks.extend(proof_asked(way, place, account, Purpose::Queries).await);
        }
        checks.push(in_clear(place, &app).await);
        checks
    }

    /// What is only there at a server itself.
    async fn at_server(&self, server: &Node) -> Vec<Check> {
        let place = server.name();
        let superuser = self.cluster.superuser_login(server);
        let replicator = Account { user: "replicator".into(), ..superuser.clone() };
        let mut checks = proof_asked("proof asked of `postgres`", place, &superuser, Purpose::Queries).await;
        // Other nodes alone may ask for the log: from here no rule fits.
        let observed = match Handshake::open(&replicator, Purpose::Replication, CONNECT_LIMIT).await {
            Ok((_, Asked::Refused { code, .. })) if code == "28000" => Login::Refused,
            Ok((_, Asked::Refused { code, message })) => Login::Unclear(format!("{code}: {message}")),
            Ok(_) => Login::Accepted,
            Err(error) => Login::Unclear(error.to_string()),
        };
        checks.push(check("replication from outside of the cluster", place, Login::Refused, observed, "replication-open"));
        for (way, host, user) in [
            ("socket, `app`, no password", "/var/run/postgresql", "app"),
            ("loopback, `app`, no password", "127.0.0.1", "app"),
            ("loopback, `postgres`, no password", "127.0.0.1", "postgres"),
        ] {
            checks.push(check(way, place, Login::Refused, locally(server, host, user).await, "local-way-open"));
        }
        for (way, question, expected, finding) in [
            ("verifiers that are not SCRAM-SHA-256", "weak_verifiers", "none", "weak-verifier"),
            ("rules that are neither SCRAM-SHA-256, refusal nor peer for the superuser", "weak_rules", "none", "weak-rule"),
            ("how new passwords are kept", "password_encryption", "scram-sha-256", "weak-setting"),
        ] {
            checks.push(check(way, place, Login::Says(expected.into()), self.read(server, question).await, finding));
        }
        checks
    }

    async fn read(&self, server: &Node, question: &str) -> Login {
        let asked = async {
            let question = assets::text(&format!("roles/postgres/questions/{question}.sql")).map_err(|error| error.to_string())?;
            let login = self.cluster.superuser_login(server);
            let mut connection = connect(&login, CONNECT_LIMIT).await.map_err(|error| error.to_string())?;
            sqlx::query_scalar::<_, String>(question).fetch_one(&mut connection).await.map_err(|error| error.to_string())
        };
        match timeout(QUESTION_LIMIT, asked).await {
            Ok(Ok(words)) => Login::Says(words),
            Ok(Err(error)) => Login::Unclear(error),
            Err(_elapsed) => Login::Unclear(AccessError::Deadline(QUESTION_LIMIT).to_string()),
        }
    }

    /// Replaces a line of the rules and has the server read them again.
    async fn change_rule(&self, from: &str, to: &str) -> Result<(), ScenarioError> {
        let server = self.struck()?;
        server.edit_file(RULES, &format!("{from}\n"), &format!("{to}\n")).await?;
        let mut connection = session(&self.cluster.superuser_login(server), "connect as superuser").await?;
        run_lines(&mut connection, "roles/postgres/reload.sql").await?;
        // Rules are read at once from the file by pg_hba_file_rules, and by the server when its signal arrives: so the server is asked when it read them.
        let question = assets::text("roles/postgres/questions/reloaded.sql")?;
        within("the server's new rules", RELOAD_LIMIT, Duration::from_millis(100), || async {
            let mut connection = connect(&self.cluster.superuser_login(server), CONNECT_LIMIT).await?;
            let is_new: bool = sqlx::query_scalar(question).fetch_one(&mut connection).await?;
            if is_new { Ok(()) } else { Err(AccessError::Client(sqlx::Error::Protocol("they are not read yet".into()))) }
        })
        .await?;
        Ok(())
    }
}

fn check(way: &str, place: &str, expected: Login, observed: Login, finding: &'static str) -> Check {
    Check { way: way.to_owned(), place: place.to_owned(), expected, observed, finding }
}

/// Refused for who asks or how: SQLSTATE class 28 (invalid authorization); the pooler has 08P01 for all that it refuses at the login.
async fn log_in(account: &Account) -> Login {
    let Err(error) = connect(account, CONNECT_LIMIT).await else { return Login::Accepted };
    let AccessError::Client(sqlx::Error::Database(refusal)) = &error else { return Login::Unclear(error.to_string()) };
    let words = refusal.message();
    let by_pooler =
        ["password authentication failed", "SASL authentication failed", "SSL required"].iter().any(|known| words.contains(known));
    match refusal.code().as_deref() {
        Some("28P01" | "28000") => Login::Refused,
        Some("08P01") if by_pooler => Login::Refused,
        _ => Login::Unclear(error.to_string()),
    }
}

/// Two checks of one question: that a proof is asked for at all, and that it is the right one.
async fn proof_asked(way: &str, place: &str, account: &Account, purpose: Purpose) -> Vec<Check> {
    let (proof, open) = match Handshake::open(account, purpose, CONNECT_LIMIT).await {
        // With channel binding (PLUS) or without: the proof is the same.
        Ok((_, Asked::Sasl(names))) => {
            let weak: Vec<String> = names.into_iter().filter(|name| name != SCRAM && name != "SCRAM-SHA-256-PLUS").collect();
            (Login::Says(if weak.is_empty() { SCRAM.to_owned() } else { weak.join(" ") }), Login::Refused)
        }
        Ok((_, Asked::Nothing)) => (Login::Says("nothing".into()), Login::Accepted),
        Ok((_, Asked::Md5)) => (Login::Says("MD5".into()), Login::Refused),
        Ok((_, Asked::Cleartext)) => (Login::Says("the password in clear".into()), Login::Refused),
        Ok((_, Asked::Other(number))) => (Login::Says(format!("request {number}")), Login::Refused),
        Ok((_, Asked::Refused { code, message })) => (Login::Unclear(format!("{code}: {message}")), Login::Refused),
        Err(error) => (Login::Unclear(error.to_string()), Login::Unclear(error.to_string())),
    };
    let account = way.trim_start_matches("proof asked of ");
    vec![
        check(way, place, Login::Says(SCRAM.into()), proof, "weak-proof-asked"),
        check(&format!("no proof from {account}"), place, Login::Refused, open, "no-password-asked"),
    ]
}

/// The right password as it is, where SCRAM was asked for.
async fn in_clear(place: &str, account: &Account) -> Check {
    let tried = async {
        let (mut handshake, _) = Handshake::open(account, Purpose::Queries, CONNECT_LIMIT).await?;
        handshake.answer_in_clear(account.password.reveal()).await
    };
    let observed = match tried.await {
        Ok(Asked::Refused { .. }) => Login::Refused,
        Ok(Asked::Nothing) => Login::Accepted,
        Ok(other) => Login::Unclear(format!("{other:?}")),
        Err(error) => Login::Unclear(error.to_string()),
    };
    check("right password, sent in clear", place, Login::Refused, observed, "cleartext-accepted")
}

/// A client inside the node that has no password to give (`-w`).
async fn locally(server: &Node, host: &str, user: &str) -> Login {
    let question = match assets::text("schema/postgres/monitoring/alive.sql") {
        Ok(question) => question,
        Err(error) => return Login::Unclear(error.to_string()),
    };
    let command = [
        "psql",
        "--no-psqlrc",
        "--no-password",
        "--tuples-only",
        "--host",
        host,
        "--username",
        user,
        "--dbname",
        "dora",
        "--command",
        question,
    ];
    match server.exec(&command, &[], LOCAL_LIMIT).await {
        Ok(output) if output.code == 0 => Login::Accepted,
        Ok(output) if output.stderr.contains("no password supplied") => Login::Refused,
        Ok(output) => Login::Unclear(output.stderr.trim().to_owned()),
        Err(error) => Login::Unclear(error.to_string()),
    }
}

#[async_trait]
impl Gate for PostgresGate {
    async fn checks(&self) -> Result<Vec<Check>, ScenarioError> {
        let mut checks = Vec::new();
        for server in self.cluster.servers() {
            checks.extend(self.over_the_network(server.name(), server.socket(SERVER_PORT)).await);
            checks.extend(self.at_server(server).await);
        }
        let pooler = self.cluster.pooler();
        checks.extend(self.over_the_network(pooler.name(), pooler.socket(POOLER_PORT)).await);
        Ok(checks)
    }

    async fn guess(&self, password: Attempted) -> Login {
        let account = self.app(self.cluster.servers()[0].socket(SERVER_PORT));
        match password {
            Attempted::Right => log_in(&account).await,
            Attempted::Wrong => log_in(&Account { password: self.wrong.clone(), ..account }).await,
        }
    }

    async fn sabotage(&self, id: &str) -> Result<(), ScenarioError> {
        if let Some((from, to)) = rule(id) {
            return self.change_rule(from, to).await;
        }
        self.run_at_struck(id, "plant").await
    }

    async fn undo_sabotage(&self, id: &str) -> Result<(), ScenarioError> {
        if let Some((from, to)) = rule(id) {
            return self.change_rule(to, from).await;
        }
        self.run_at_struck(id, "remove").await
    }
}

impl PostgresGate {
    /// Accounts are made where writes are taken; settings belong to one server.
    async fn run_at_struck(&self, id: &str, step: &str) -> Result<(), ScenarioError> {
        let server = match id {
            "md5-verifier" => self.cluster.find_primary().await.map_err(|reason| ScenarioError::client("find the primary", reason))?,
            _ => self.struck()?.clone(),
        };
        let mut connection = session(&self.cluster.superuser_login(&server), "connect as superuser").await?;
        run_lines(&mut connection, &format!("roles/postgres/sabotage/{id}.{step}.sql")).await
    }
}

/// The line of the rules that a defect changes, and into what.
fn rule(id: &str) -> Option<(&'static str, &'static str)> {
    const NETWORK: &str = "hostssl all all 0.0.0.0/0 scram-sha-256";
    match id {
        "trust-over-the-network" => Some((NETWORK, "hostssl all all 0.0.0.0/0 trust")),
        "cleartext-asked" => Some((NETWORK, "hostssl all all 0.0.0.0/0 password")),
        "md5-rule" => Some((NETWORK, "hostssl all all 0.0.0.0/0 md5")),
        "trust-on-the-socket" => Some(("local all all scram-sha-256", "local all all trust")),
        "trust-on-the-loopback" => Some(("hostssl all all 127.0.0.1/32 scram-sha-256", "hostssl all all 127.0.0.1/32 trust")),
        "plaintext-allowed" => Some(("hostnossl all all 0.0.0.0/0 reject", "hostnossl all all 0.0.0.0/0 scram-sha-256")),
        _ => None,
    }
}
