//! The ways into every node.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_harness::{
    database::{
        Cluster as _,
        influxdb::{Access, Form, Influx, InfluxError, PORT, influxql, influxql_with},
    },
    patience::within,
    security::{Secret, client_config, generate_secret},
    topology::Node,
};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::token::{Claims, forged, signed, without_signature};
use crate::{
    ScenarioError, Trial,
    security::identity::{Attempted, Check, Gate, Login},
};

const REQUEST_LIMIT: Duration = Duration::from_secs(6);
/// A node that was restarted serves again by then.
const RESTART_LIMIT: Duration = Duration::from_secs(60);
const STOP_GRACE: Duration = Duration::from_secs(5);
/// How long a token of the probes is good, or has been over.
const TOKEN_S: i64 = 600;
const CONFIGURATION: &str = "/dora/config/influxdb.toml";
/// What every way in is tried with.
const QUESTION: &str = "monitoring/databases";
/// The account that a defect adds.
const ADDED: &str = "left_behind";
/// The accounts of a deployment; the star marks administrators.
const ACCOUNTS: &str = "admin* application";

pub struct InfluxGate {
    deployments: Vec<Arc<Influx>>,
    /// The secret with which the single node's issuer signs.
    secret: Option<String>,
    other_secret: Secret,
    wrong: Secret,
}

impl InfluxGate {
    pub async fn of(trial: &Trial) -> Result<Self, ScenarioError> {
        let deployments = trial.platform().influxdb.deployments().await;
        if deployments.is_empty() {
            return Err(ScenarioError::Missing("no InfluxDB was started".into()));
        }
        let secret = match deployments.iter().find(|influx| influx.form() == Form::Single) {
            Some(single) => Some(secret_of(&single.nodes()[0]).await?),
            None => None,
        };
        Ok(Self { deployments, secret, other_secret: generate_secret(), wrong: generate_secret() })
    }

    async fn at_node(&self, influx: &Influx, node: &Node) -> Vec<Check> {
        let check = |way: &str, expected, observed, finding| Check {
            way: way.to_owned(),
            place: node.name().to_owned(),
            expected,
            observed,
            finding,
        };
        let owner = influx.administrator();
        let with = |user: &str, password: &Secret| influx.access(user, password);
        let mut checks = vec![
            check("right password", Login::Accepted, ask(influx, node, owner.clone()).await, "right-password-refused"),
            check("wrong password", Login::Refused, ask(influx, node, with(&owner.user, &self.wrong)).await, "wrong-password-accepted"),
            check(
                "empty password",
                Login::Refused,
                ask(influx, node, with(&owner.user, &Secret::from(String::new()))).await,
                "wrong-password-accepted",
            ),
            check("unknown account", Login::Refused, ask(influx, node, with("nobody", &self.wrong)).await, "unknown-account-accepted"),
            check("no login", Login::Refused, ask(influx, node, with("", &self.wrong)).await, "login-not-needed"),
            check("no login, a write", Login::Refused, write(influx, node, with("", &self.wrong)).await, "login-not-needed"),
            check("accounts that are there", Login::Says(ACCOUNTS.into()), accounts(influx, node).await, "accounts-differ"),
        ];
        for (way, token, expected, finding) in self.tokens(influx.form(), &owner.user) {
            checks.push(check(way, expected, show(&owner, node, &token).await, finding));
        }
        checks
    }

    fn tokens(&self, form: Form, user: &str) -> Vec<(&'static str, String, Login, &'static str)> {
        let now_s = OffsetDateTime::now_utc().unix_timestamp();
        let (good, over) = (Some(now_s + TOKEN_S), Some(now_s - TOKEN_S));
        let claims = |user, expires_s| Claims { user, expires_s };
        let Some(secret) = self.secret.as_deref().filter(|_| form == Form::Single) else {
            let token = signed(claims(user, good), self.other_secret.reveal());
            return vec![("token (this release knows none)", token, Login::Refused, "token-of-others-accepted")];
        };
        let of_application = signed(claims("application", good), secret);
        vec![
            ("valid token", signed(claims(user, good), secret), Login::Accepted, "valid-token-refused"),
            ("token that is over", signed(claims(user, over), secret), Login::Refused, "expired-token-accepted"),
            ("token without an end", signed(claims(user, None), secret), Login::Refused, "endless-token-accepted"),
            ("token with another holder", forged(&of_application, claims(user, good)), Login::Refused, "forged-token-accepted"),
            ("token without a signature (alg=none)", without_signature(claims(user, good)), Login::Refused, "unsigned-token-accepted"),
            ("token signed by others", signed(claims(user, good), self.other_secret.reveal()), Login::Refused, "token-of-others-accepted"),
            ("token for an unknown account", signed(claims("nobody", good), secret), Login::Refused, "unknown-account-accepted"),
        ]
    }

    /// The deployment and node that a defect is planted on; of the cluster the last node, so that a probe of the first alone would miss it.
    fn struck(&self, form: Form) -> Result<(&Influx, Node), ScenarioError> {
        let missing = || ScenarioError::Missing(format!("there is no {} in this profile", form.name()));
        let influx = self.deployments.iter().find(|influx| influx.form() == form).ok_or_else(missing)?;
        let node = influx.nodes().pop().ok_or_else(missing)?;
        Ok((influx, node))
    }

    /// The form and the line of the configuration that a defect changes, and into what.
    fn setting(&self, id: &str) -> Option<(Form, String, String)> {
        let auth = |form| Some((form, "auth-enabled = true".to_owned(), "auth-enabled = false".to_owned()));
        let secret = |value: &str| {
            let line = |value: &str| format!("shared-secret = \"{value}\"");
            self.secret.as_deref().map(|own| (Form::Single, line(own), line(value)))
        };
        match id {
            // Who asks nobody looks at no token, either.
            "auth-disabled-single" | "expired-token-taken" | "endless-token-taken" | "forged-token-taken" | "unsigned-token-taken" => {
                auth(Form::Single)
            }
            "auth-disabled-in-the-cluster" => auth(Form::Cluster),
            "secret-known" => secret(self.other_secret.reveal()),
            "tokens-off" => secret(""),
            _ => None,
        }
    }

    async fn reconfigure(&self, form: Form, from: &str, to: &str) -> Result<(), ScenarioError> {
        let (influx, node) = self.struck(form)?;
        node.edit_file(CONFIGURATION, from, to).await?;
        node.stop(STOP_GRACE).await?;
        node.start().await?;
        within("the restarted node", RESTART_LIMIT, Duration::from_millis(200), || async {
            let health = influx.node_health(&node).await;
            if health.healthy { Ok(()) } else { Err(health.observed) }
        })
        .await?;
        Ok(())
    }

    async fn statement(&self, path: &str, context: Value) -> Result<(), ScenarioError> {
        let failed = |error: InfluxError| ScenarioError::client("change an account", error);
        let statement = influxql_with(path, context).map_err(failed)?;
        let influx = &self.deployments[0];
        // Through every node: one that has executed it knows of it.
        for node in influx.nodes() {
            match influx.owner(&node).map_err(failed)?.query(&statement, None).await {
                Err(InfluxError::Refused { text, .. }) if text.contains("already exists") || text.contains("not found") => {}
                other => drop(other.map_err(failed)?),
            }
        }
        Ok(())
    }
}

/// As the node's own configuration has it: nobody else knows it.
async fn secret_of(node: &Node) -> Result<String, ScenarioError> {
    let files = node.get_files(CONFIGURATION).await?;
    let text = files.first().map(|(_, content)| String::from_utf8_lossy(content).into_owned()).unwrap_or_default();
    let secret = text.lines().find_map(|line| line.trim().strip_prefix("shared-secret = \"")?.strip_suffix('"'));
    secret.map(ToOwned::to_owned).ok_or_else(|| ScenarioError::client("read the secret for tokens", "the configuration has none"))
}

fn sort(answer: Result<(), InfluxError>) -> Login {
    match answer {
        Ok(()) => Login::Accepted,
        Err(InfluxError::Refused { status: 401, .. }) => Login::Refused,
        Err(error) => Login::Unclear(error.to_string()),
    }
}

async fn ask(influx: &Influx, node: &Node, access: Access) -> Login {
    let asked = async { influx.client(node, access, REQUEST_LIMIT)?.query(influxql(QUESTION)?, None).await.map(drop) };
    sort(asked.await)
}

async fn write(influx: &Influx, node: &Node, access: Access) -> Login {
    use dora_harness::database::influxdb::Consistency;
    let asked =
        async { influx.client(node, access, REQUEST_LIMIT)?.write("no_such_database", "probe value=1i".into(), Consistency::One).await };
    match asked.await {
        // Whoever is told about the database was let in.
        Err(InfluxError::Refused { text, .. }) if text.contains("database not found") => Login::Accepted,
        other => sort(other),
    }
}

async fn accounts(influx: &Influx, node: &Node) -> Login {
    let asked = async { influx.owner(node)?.query(influxql("monitoring/users")?, None).await };
    match asked.await {
        Ok(answer) => {
            let rows = answer.series.iter().flat_map(|series| &series.values);
            let name = |row: &Vec<Value>| {
                let is_administrator = row.get(1).and_then(Value::as_bool).unwrap_or_default();
                Some(format!("{}{}", row.first()?.as_str()?, if is_administrator { "*" } else { "" }))
            };
            let mut names: Vec<String> = rows.filter_map(name).collect();
            names.sort_unstable();
            Login::Says(names.join(" "))
        }
        Err(error) => Login::Unclear(error.to_string()),
    }
}

/// Shows a token in place of a password.
async fn show(access: &Access, node: &Node, token: &str) -> Login {
    let asked = async {
        let tls = client_config(&access.authority).map_err(|error| error.to_string())?;
        let client = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().timeout(REQUEST_LIMIT).build();
        let request = client.map_err(|error| error.to_string())?.get(format!("https://{}/query", node.socket(PORT)));
        let question = influxql(QUESTION).map_err(|error| error.to_string())?;
        let answer = request.query(&[("q", question)]).bearer_auth(token).send().await;
        Ok::<_, String>(answer.map_err(|error| error.without_url().to_string())?.status().as_u16())
    };
    match asked.await {
        Ok(200) => Login::Accepted,
        Ok(401) => Login::Refused,
        Ok(status) => Login::Unclear(format!("status {status}")),
        Err(error) => Login::Unclear(error),
    }
}

#[async_trait]
impl Gate for InfluxGate {
    async fn checks(&self) -> Result<Vec<Check>, ScenarioError> {
        let mut checks = Vec::new();
        for influx in &self.deployments {
            for node in influx.nodes() {
                checks.extend(self.at_node(influx, &node).await);
            }
        }
        Ok(checks)
    }

    async fn guess(&self, password: Attempted) -> Login {
        let influx = &self.deployments[self.deployments.len() - 1];
        let owner = influx.administrator();
        let access = match password {
            Attempted::Right => owner,
            Attempted::Wrong => influx.access(&owner.user, &self.wrong),
        };
        ask(influx, &influx.nodes()[0], access).await
    }

    async fn sabotage(&self, id: &str) -> Result<(), ScenarioError> {
        match self.setting(id) {
            Some((form, intended, planted)) => self.reconfigure(form, &intended, &planted).await,
            None => self.statement("administration/create_administrator", json!({ "user": ADDED, "password": self.wrong })).await,
        }
    }

    async fn undo_sabotage(&self, id: &str) -> Result<(), ScenarioError> {
        match self.setting(id) {
            Some((form, intended, planted)) => self.reconfigure(form, &planted, &intended).await,
            None => self.statement("administration/drop_user", json!({ "user": ADDED })).await,
        }
    }
}
