//! Passwords of databases that OpenBao cannot make users for: kept in its key-value engine, and changed.

use std::{sync::Arc, time::Duration};

use dora_harness::{
    database::{
        mongodb::{APPLICATION, PORT as MONGODB_PORT, ReplicaSet},
        redis::{Account, PORT as REDIS_PORT, Replicated, ask},
    },
    patience::within,
    security::{Secret, generate_secret},
    service::openbao::{KV_MOUNT, Openbao, OpenbaoError},
    topology::Node,
};
use dora_reports::evidence::{Finding, NamedLimit, ProbeCell, ProbeMatrix, ProbeRow};
use mongodb::bson::doc;
use serde_json::{Value, json};

use super::parts::{openbao, text_of};
use crate::{Database, Pillar, Sabotage, Scenario, ScenarioError, Trial};

const ONE_SKIPPED: &str = "one-redis-server-skipped";
const OLD_KEPT: &str = "old-redis-password-kept";
const STORE_FORGOTTEN: &str = "store-not-updated";
const MONGODB_SKIPPED: &str = "mongodb-not-rotated";

/// The scenario.
pub const SCENARIO: Scenario = Scenario {
    id: "security/openbao/rotated-passwords",
    title: "Redis's and MongoDB's passwords are read from OpenBao and rotated",
    pillar: Pillar::Security,
    database: Database::Openbao,
    clauses: &["SEC-KMS"],
    goal: "After a rotation every server takes the password that OpenBao gives and refuses the one before, and OpenBao no longer gives that.",
    method: &[
        "the application's passwords are stored in the key-value engine; a client reads them there and logs in to every server",
        "Redis is given a second password on every server, then the stored one is replaced, then the first one is taken away",
        "MongoDB's is replaced in the store and on the primary",
        "on every server the stored password must be accepted, and the former refused as a wrong password",
        "the former version is destroyed in the store: to who asks for it by its number, the store must answer that it is destroyed",
    ],
    does_not_show: &[
        "Neo4j's and InfluxDB's passwords",
        "that the rotation starts by itself",
        "applications that hold connections open: a login is checked when it is made",
    ],
    needs_high_availability: false,
    deadline: Duration::from_secs(120),
    sabotages: &[
        Sabotage { id: ONE_SKIPPED, what: "the last Redis server keeps the former password only", expects: "stored-password-refused" },
        Sabotage { id: OLD_KEPT, what: "the former Redis password is not taken away", expects: "former-password-accepted" },
        Sabotage { id: STORE_FORGOTTEN, what: "the former version stays readable in the store", expects: "former-version-readable" },
        Sabotage { id: MONGODB_SKIPPED, what: "MongoDB is not told", expects: "former-password-accepted" },
    ],
    run: |trial| Box::pin(run(trial)),
};

const LIMIT: Duration = Duration::from_secs(10);
const ACCEPTED: &str = "accepted";
const REFUSED: &str = "refused as a wrong password";

async fn run(trial: &Trial) -> Result<(), ScenarioError> {
    trial.promise_limits("no login is judged wrongly", vec![NamedLimit::at_most("wrong_answers", 0.0, "logins")]);
    let bao = openbao(trial).await?;
    let missing = |name: &str| ScenarioError::Missing(format!("there is no {name} in this run"));
    let redis = trial.platform().redis.replicated.get().await.ok_or_else(|| missing("Redis"))?;
    let mongodb = trial.platform().mongodb.replica_set.get().await.ok_or_else(|| missing("MongoDB"))?;
    let rotation = Rotation { trial, bao, redis, mongodb };
    let fresh = Passwords { redis: generate_secret(), mongodb: generate_secret() };
    let former = Passwords {
        redis: rotation.redis.access().passwords().of(Account::App).clone(),
        mongodb: rotation.mongodb.passwords().application.clone(),
    };
    let outcome = rotation.show(&former, &fresh).await;
    let restored = rotation.restore(&former, &fresh).await;
    outcome.and(restored)
}

struct Passwords {
    redis: Secret,
    mongodb: Secret,
}

struct Rotation<'a> {
    trial: &'a Trial,
    bao: Arc<Openbao>,
    redis: Arc<Replicated>,
    mongodb: Arc<ReplicaSet>,
}

impl Rotation<'_> {
    async fn show(&self, former: &Passwords, fresh: &Passwords) -> Result<(), ScenarioError> {
        let trial = self.trial;
        let kept = [
            ("redis/app", self.store("redis/app", &former.redis).await?),
            ("mongodb/app", self.store("mongodb/app", &former.mongodb).await?),
        ];
        let before = self.probe(&self.stored().await?, None).await;
        if !before.ok() {
            trial.find(Finding::unconfirmed("not-usable-at-first", "the stored passwords did not work before the rotation"));
        }

        let servers = self.redis.servers();
        let skipped = if trial.is_sabotaged_by(ONE_SKIPPED) { servers.len() - 1 } else { servers.len() };
        for server in &servers[..skipped] {
            self.tell_redis(server, &format!(">{}", fresh.redis.reveal())).await?;
        }
        self.store("redis/app", &fresh.redis).await?;
        if !trial.is_sabotaged_by(OLD_KEPT) {
            for server in &servers[..skipped] {
                self.tell_redis(server, &format!("<{}", former.redis.reveal())).await?;
            }
        }
        self.store("mongodb/app", &fresh.mongodb).await?;
        if !trial.is_sabotaged_by(MONGODB_SKIPPED) {
            self.tell_mongodb(&fresh.mongodb).await?;
        }
        if !trial.is_sabotaged_by(STORE_FORGOTTEN) {
            for (path, version) in kept {
                self.bao.write(&format!("{KV_MOUNT}/destroy/{path}"), &json!({ "versions": [version] })).await?;
            }
        }
        trial.note("rotation", "the passwords were changed");

        let stored = self.stored().await?;
        // A secondary learns of a changed user when it has applied the change.
        let settled = within("every login's due answer", LIMIT, Duration::from_millis(300), || async {
            let matrix = self.probe(&stored, Some(former)).await;
            if matrix.ok() { Ok(matrix) } else { Err("some answers differ") }
        });
        let matrix = match settled.await {
            Ok(matrix) => matrix,
            Err(_deadline) => self.probe(&stored, Some(former)).await,
        };
        self.judge(&matrix);
        trial.matrix(matrix);
        for (path, version) in kept {
            match self.bao.read(&format!("{KV_MOUNT}/data/{path}?version={version}")).await {
                Ok(_) => {
                    let message = format!("the former version of {path}, number {version}, can still be read");
                    trial.find(Finding::violation("former-version-readable", message));
                }
                Err(error) if says_destroyed(&error) => {}
                Err(error) => {
                    let message = format!("whether version {version} of {path} is destroyed cannot be told from the answer: {error}");
                    trial.find(Finding::unconfirmed("former-version-not-asked", message));
                }
            }
        }
        Ok(())
    }

    fn judge(&self, matrix: &ProbeMatrix) {
        let mut wrong = 0;
        for row in &matrix.rows {
            for (column, cell) in matrix.columns.iter().zip(row.cells.iter().flatten()).filter(|(_, cell)| !cell.ok) {
                wrong += 1;
                let message = format!("{}: the {column} was answered with: {}", row.name, cell.observed);
                self.trial.find(match (cell.expected.as_str(), cell.observed.as_str()) {
                    (REFUSED, ACCEPTED) => Finding::violation("former-password-accepted", message),
                    (ACCEPTED, REFUSED) => Finding::violation("stored-password-refused", message),
                    _ => Finding::unconfirmed("login-not-answered", message),
                });
            }
        }
        self.trial.measure("wrong_answers", Some(f64::from(wrong)), "logins");
    }

    /// What every server answers to the stored passwords, and to the former ones where they are given.
    async fn probe(&self, stored: &Passwords, former: Option<&Passwords>) -> ProbeMatrix {
        let mut rows = Vec::new();
        for server in self.redis.servers() {
            let mut cells = vec![Some(ProbeCell::new(ACCEPTED, self.log_in_to_redis(server, &stored.redis).await))];
            if let Some(former) = former {
                cells.push(Some(ProbeCell::new(REFUSED, self.log_in_to_redis(server, &former.redis).await)));
            }
            rows.push(ProbeRow { name: format!("Redis, {}", server.name()), cells });
        }
        for node in self.mongodb.data_nodes() {
            let mut cells = vec![Some(ProbeCell::new(ACCEPTED, self.log_in_to_mongodb(node, &stored.mongodb).await))];
            if let Some(former) = former {
                cells.push(Some(ProbeCell::new(REFUSED, self.log_in_to_mongodb(node, &former.mongodb).await)));
            }
            rows.push(ProbeRow { name: format!("MongoDB, {}", node.name()), cells });
        }
        let mut columns = vec!["password that OpenBao gives".to_owned()];
        columns.extend(former.map(|_| "password from before".to_owned()));
        ProbeMatrix { title: "Logins after the passwords were changed".into(), row_heading: "Server".into(), columns, rows }
    }

    async fn log_in_to_redis(&self, server: &Node, password: &Secret) -> String {
        let access = self.redis.access().with_password(Account::App, password.clone());
        match access.connect(server.socket(REDIS_PORT), Account::App).await {
            Ok(_connection) => ACCEPTED.to_owned(),
            Err(error) if error.to_string().contains("WRONGPASS") || error.kind() == redis::ErrorKind::AuthenticationFailed => {
                REFUSED.to_owned()
            }
            Err(error) => error.to_string(),
        }
    }

    async fn log_in_to_mongodb(&self, node: &Node, password: &Secret) -> String {
        let access = self.mongodb.access().with_password(APPLICATION, password);
        match access.ask(node.socket(MONGODB_PORT), doc! { "ping": 1 }, LIMIT).await {
            Ok(()) => ACCEPTED.to_owned(),
            Err(error) if error.contains("Authentication failed") => REFUSED.to_owned(),
            Err(error) => error,
        }
    }

    /// Changes the application's account on one server and keeps the change in its file. Who orders it is the administrator.
    async fn tell_redis(&self, server: &Node, rule: &str) -> Result<(), ScenarioError> {
        let failed = |error| ScenarioError::client(format!("change a password on {}", server.name()), error);
        let mut connection = self.redis.access().connect(server.socket(REDIS_PORT), Account::Admin).await.map_err(failed)?;
        ask::<()>(&mut connection, &["ACL", "SETUSER", Account::App.name(), rule]).await.map_err(failed)?;
        ask::<()>(&mut connection, &["ACL", "SAVE"]).await.map_err(failed)
    }

    async fn tell_mongodb(&self, password: &Secret) -> Result<(), ScenarioError> {
        let order = doc! { "updateUser": APPLICATION, "pwd": password.reveal(), "writeConcern": { "w": "majority", "wtimeout": 10_000 } };
        let done = self.mongodb.command("change a password", order).await;
        done.map(drop).map_err(|error| ScenarioError::client("change a password of MongoDB", error))
    }

    /// Stores it as a new version. The version's number.
    async fn store(&self, path: &str, password: &Secret) -> Result<u64, ScenarioError> {
        let body = json!({ "data": { "username": "app", "password": password } });
        let answer = self.bao.write(&format!("{KV_MOUNT}/data/{path}"), &body).await?;
        let version = answer.pointer("/data/version").and_then(Value::as_u64);
        version.ok_or_else(|| ScenarioError::client("read OpenBao's answer", "there is no /data/version in it"))
    }

    /// What a client would read.
    async fn stored(&self) -> Result<Passwords, ScenarioError> {
        let mut found = Vec::new();
        for path in ["redis/app", "mongodb/app"] {
            let answer = self.bao.read(&format!("{KV_MOUNT}/data/{path}")).await?;
            found.push(Secret::from(text_of(&answer, "/data/data/password")?.to_owned()));
        }
        let mongodb = found.remove(1);
        Ok(Passwords { redis: found.remove(0), mongodb })
    }

    /// The harness's own clients know the former passwords. What fails at one server or database keeps none of the others from theirs.
    ///
    /// # Errors
    /// The first one.
    async fn restore(&self, former: &Passwords, fresh: &Passwords) -> Result<(), ScenarioError> {
        let mut outcomes: Vec<Result<(), ScenarioError>> = Vec::new();
        for server in self.redis.servers() {
            outcomes.push(self.tell_redis(server, &format!(">{}", former.redis.reveal())).await);
            // A server that never had it says so, and that is as good.
            let _ = self.tell_redis(server, &format!("<{}", fresh.redis.reveal())).await;
        }
        outcomes.push(self.tell_mongodb(&former.mongodb).await);
        for path in ["redis/app", "mongodb/app"] {
            outcomes.push(self.bao.delete(&format!("{KV_MOUNT}/metadata/{path}")).await.map_err(Into::into));
        }
        outcomes.into_iter().collect()
    }
}

/// Whether the store refused because the version that was asked for is destroyed. One that is only deleted can be brought back.
fn says_destroyed(error: &OpenbaoError) -> bool {
    let OpenbaoError::Refused { status, body, .. } = error else { return false };
    let answer: Value = serde_json::from_str(body).unwrap_or_default();
    status.as_u16() == 404 && answer.pointer("/data/metadata/destroyed").and_then(Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;

    #[test]
    fn only_a_destroyed_version_is_destroyed() {
        let refused = |status, body: &str| OpenbaoError::Refused { what: "read a version".into(), status, body: body.into() };
        let answer =
            |destroyed: bool| json!({ "data": { "data": null, "metadata": { "destroyed": destroyed, "version": 3 } } }).to_string();
        assert!(says_destroyed(&refused(StatusCode::NOT_FOUND, &answer(true))));
        assert!(!says_destroyed(&refused(StatusCode::NOT_FOUND, &answer(false))), "deleted only");
        assert!(!says_destroyed(&refused(StatusCode::NOT_FOUND, r#"{"errors":[]}"#)), "no such path");
        assert!(!says_destroyed(&refused(StatusCode::SERVICE_UNAVAILABLE, r#"{"errors":["Vault is sealed"]}"#)));
        assert!(!says_destroyed(&OpenbaoError::NoLeader { seen: "bao1 is sealed".into() }));
    }
}
