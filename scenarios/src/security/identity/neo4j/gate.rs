//! The ways into every core and replica.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_fixtures::assets::{self, AssetError};
use dora_harness::{
    database::{
        Cluster as _,
        neo4j::{CONFIGURATION, CausalCluster, USER},
    },
    patience::within,
    platform::all_healthy,
    security::{Secret, generate_secret},
    topology::Node,
};
use serde_json::json;

use super::endpoint::{Endpoint, Outcome, question};
use crate::{
    ScenarioError, Trial,
    security::identity::{Attempted, Check, Gate, Login},
};

/// An account that exists for guessing: the engine locks an account whose password is guessed, and this one nobody else uses.
const GUESSED: &str = "guessed";
const UNKNOWN: &str = "admin";
const STOP_GRACE: Duration = Duration::from_secs(10);
const ORDER_LIMIT: Duration = Duration::from_secs(30);
const RETURN_LIMIT: Duration = Duration::from_secs(120);
const ABSENT: &str = "Neo.ClientError.General.InvalidArguments";

pub struct Neo4jGate {
    cluster: Arc<CausalCluster>,
    authority: String,
    wrong: Secret,
    guessed: Secret,
}

impl Neo4jGate {
    pub async fn of(trial: &Trial) -> Result<Self, ScenarioError> {
        let missing = || ScenarioError::Missing("there is no Neo4j cluster in this profile".into());
        let cluster = trial.platform().neo4j.cluster.get().await.ok_or_else(missing)?;
        let authority = trial.ground().authority().certificate().to_owned();
        Ok(Self { cluster, authority, wrong: generate_secret(), guessed: generate_secret() })
    }

    /// The last core.
    fn struck(&self) -> Result<&Node, ScenarioError> {
        self.cluster.cores().last().ok_or_else(|| ScenarioError::Missing("the cluster has no core".into()))
    }

    /// Who is started without authentication by a defect: then nobody is asked for a password, and none that is named is looked at.
    fn without_auth(&self, id: &str) -> Result<Option<&Node>, ScenarioError> {
        match id {
            "auth-disabled" => self.struck().map(Some),
            "any-password" => {
                let replica = self.cluster.replicas().last();
                replica.map(Some).ok_or_else(|| ScenarioError::Missing("the cluster has no read replica".into()))
            }
            _ => Ok(None),
        }
    }

    async fn ask(&self, node: &Node, account: Option<(&str, &Secret)>, statement: &str) -> Outcome {
        match Endpoint::new(node, &self.authority, account) {
            Ok(endpoint) => endpoint.run(statement).await,
            Err(reason) => Outcome::Broken(reason),
        }
    }

    async fn order(&self, node: &Node, statement: &str) -> Result<(), ScenarioError> {
        // A member that was just restarted serves HTTPS a little later than Bolt.
        let answered = within("an answer to an order", ORDER_LIMIT, Duration::from_millis(500), || async {
            match self.ask(node, Some((USER, self.cluster.password())), statement).await {
                Outcome::Broken(words) => Err(words),
                answer => Ok(answer),
            }
        });
        match answered.await? {
            Outcome::Done(_) => Ok(()),
            Outcome::Refused { code, .. } if code == ABSENT && statement.contains("deleteUser") => Ok(()),
            Outcome::Refused { code, message } => Err(ScenarioError::client("change an account", format!("{code}: {message}"))),
            Outcome::Broken(words) => Err(ScenarioError::client("change an account", words)),
        }
    }

    async fn log_in(&self, node: &Node, account: Option<(&str, &Secret)>) -> Login {
        let statement = match question("login") {
            Ok(statement) => statement,
            Err(error) => return Login::Unclear(error.to_string()),
        };
        match self.ask(node, account, statement).await {
            Outcome::Done(_) => Login::Accepted,
            Outcome::Refused { code, .. } if code.starts_with("Neo.ClientError.Security.") => Login::Refused,
            Outcome::Refused { code, message } => Login::Unclear(format!("{code}: {message}")),
            Outcome::Broken(words) => Login::Unclear(words),
        }
    }

    async fn accounts(&self, node: &Node) -> Login {
        let statement = match question("accounts") {
            Ok(statement) => statement,
            Err(error) => return Login::Unclear(error.to_string()),
        };
        match self.ask(node, Some((USER, self.cluster.password())), statement).await {
            Outcome::Done(names) => Login::Says(names.join(" ")),
            Outcome::Refused { code, message } => Login::Unclear(format!("{code}: {message}")),
            Outcome::Broken(words) => Login::Unclear(words),
        }
    }

    async fn at_member(&self, node: &Node) -> Vec<Check> {
        let (right, default, empty) = (self.cluster.password(), Secret::from(USER.to_owned()), Secret::from(String::new()));
        let check = |way: &str, expected, observed, finding| Check {
            way: way.to_owned(),
            place: node.name().to_owned(),
            expected,
            observed,
            finding,
        };
        // Three wrong passwords in a row would lock the account that everybody uses: the right one stands between them.
        vec![
            check("right password", Login::Accepted, self.log_in(node, Some((USER, right))).await, "right-password-refused"),
            check("wrong password", Login::Refused, self.log_in(node, Some((USER, &self.wrong))).await, "wrong-password-accepted"),
            check("empty password", Login::Refused, self.log_in(node, Some((USER, &empty))).await, "wrong-password-accepted"),
            check(
                "right password after wrong ones",
                Login::Accepted,
                self.log_in(node, Some((USER, right))).await,
                "right-password-refused",
            ),
            check(
                "the software's default password",
                Login::Refused,
                self.log_in(node, Some((USER, &default))).await,
                "wrong-password-accepted",
            ),
            check("unknown account", Login::Refused, self.log_in(node, Some((UNKNOWN, &self.wrong))).await, "unknown-account-accepted"),
            check("no login", Login::Refused, self.log_in(node, None).await, "login-not-needed"),
            check("accounts that are there", Login::Says(USER.into()), self.accounts(node).await, "accounts-differ"),
        ]
    }

    async fn switch_auth(&self, node: &Node, from: &str, to: &str) -> Result<(), ScenarioError> {
        node.edit_file(CONFIGURATION, &format!("dbms.security.auth_enabled={from}"), &format!("dbms.security.auth_enabled={to}")).await?;
        node.stop(STOP_GRACE).await?;
        node.start().await?;
        within("a healthy Neo4j", RETURN_LIMIT, Duration::from_millis(500), || async { all_healthy(&self.cluster.health().await) }).await?;
        Ok(())
    }
}

/// The statement that makes an account.
fn create(name: &str, password: &Secret) -> Result<String, AssetError> {
    assets::render("roles/neo4j/accounts/create.cypher.j2", json!({ "name": name, "password": password }))
}

/// The statement that removes an account.
fn delete(name: &str) -> Result<String, AssetError> {
    assets::render("roles/neo4j/accounts/delete.cypher.j2", json!({ "name": name }))
}

/// The account that a defect adds.
fn added(id: &str) -> &'static str {
    if id == "guessed-password" { UNKNOWN } else { "left_behind" }
}

#[async_trait]
impl Gate for Neo4jGate {
    async fn checks(&self) -> Result<Vec<Check>, ScenarioError> {
        let mut checks = Vec::new();
        for node in self.cluster.members() {
            checks.extend(self.at_member(node).await);
        }
        Ok(checks)
    }

    async fn guess(&self, password: Attempted) -> Login {
        let node = &self.cluster.cores()[0];
        let secret = match password {
            Attempted::Wrong => &self.wrong,
            Attempted::Right => &self.guessed,
        };
        self.log_in(node, Some((GUESSED, secret))).await
    }

    async fn prepare_guessing(&self) -> Result<(), ScenarioError> {
        self.order(&self.cluster.cores()[0], &create(GUESSED, &self.guessed)?).await
    }

    async fn end_guessing(&self) -> Result<(), ScenarioError> {
        self.order(&self.cluster.cores()[0], &delete(GUESSED)?).await
    }

    async fn sabotage(&self, id: &str) -> Result<(), ScenarioError> {
        if let Some(node) = self.without_auth(id)? {
            return self.switch_auth(node, "true", "false").await;
        }
        self.order(self.struck()?, &create(added(id), &self.wrong)?).await
    }

    async fn undo_sabotage(&self, id: &str) -> Result<(), ScenarioError> {
        if let Some(node) = self.without_auth(id)? {
            return self.switch_auth(node, "false", "true").await;
        }
        self.order(self.struck()?, &delete(added(id))?).await
    }
}
