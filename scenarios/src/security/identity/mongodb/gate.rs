//! The ways into every member of both sets.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_harness::{
    database::{
        Cluster as _,
        mongodb::{ADMIN, APPLICATION, Access, OPERATOR, PORT, Reach, ReplicaSet, limited},
    },
    security::{Authority, AuthorityError, Secret, generate_secret},
    topology::{Ground, Node},
};
use mongodb::{
    bson::{Bson, Document, doc},
    error::{Error, ErrorKind},
    options::{AuthMechanism, ClientOptions, Credential},
};

use crate::{
    ScenarioError, Trial,
    security::{
        identity::{Attempted, Check, Gate, Login},
        mongodb::{client_error, reconfigure},
    },
};

/// What a request may take; a member that refuses the handshake is asked again until then.
const REQUEST_LIMIT: Duration = Duration::from_secs(3);
/// `AuthenticationFailed`, `Unauthorized`, `MechanismUnavailable`, `UserNotFound` (of a certificate's subject).
const REFUSALS: [i32; 4] = [18, 13, 334, ABSENT];
/// How the end of a handshake reads at the client. The certificate of the run's authority, which the same server takes, is the control.
const HANDSHAKE_ENDS: [&str; 4] = ["received fatal alert", "unexpected end of file", "Connection reset", "close_notify"];
/// `BadValue`: the server does not make an account for a subject of its members' unit.
const BAD_VALUE: i32 = 2;
/// `UserNotFound`.
const ABSENT: i32 = 11;

const KNOWN: &str = "known";
const UNKNOWN: &str = "stranger";
const MECHANISMS: &str = "MONGODB-X509 SCRAM-SHA-256";

pub struct MongodbGate {
    sets: Vec<Arc<ReplicaSet>>,
    ground: Ground,
    wrong: Secret,
}

/// The subject of a client's certificate, as the server writes it.
fn subject(name: &str) -> String {
    format!("CN={name},OU=clients,O=dora")
}

impl MongodbGate {
    pub async fn of(trial: &Trial) -> Result<Self, ScenarioError> {
        let part = &trial.platform().mongodb;
        let sets: Vec<_> = [part.replica_set.get().await, part.arbitrated.get().await].into_iter().flatten().collect();
        if sets.is_empty() {
            return Err(ScenarioError::Missing("no replica set is there".into()));
        }
        Ok(Self { sets, ground: trial.ground().clone(), wrong: generate_secret() })
    }

    /// Where a defect is planted: the last data node of the first set, so that a probe of one member alone would miss it.
    fn struck(&self) -> Result<(&ReplicaSet, &Node), ScenarioError> {
        let set = &self.sets[0];
        let node = set.data_nodes().last().ok_or_else(|| ScenarioError::Missing("the set has no data node".into()))?;
        Ok((set, node))
    }

    async fn at_data_node(&self, set: &ReplicaSet, node: &Node) -> Result<Vec<Check>, ScenarioError> {
        let (nobody, right) = (set.access(), &set.passwords().application);
        let status = || doc! { "connectionStatus": 1 };
        let with = |user: &str, password: &Secret| nobody.with_password(user, password);
        let empty = Secret::from(String::new());
        let as_is = |_: &mut ClientOptions| {};
        let old = |options: &mut ClientOptions| {
            let credential = Credential::builder().mechanism(AuthMechanism::ScramSha1).source("admin".to_owned());
            options.credential = Some(credential.username(APPLICATION.to_owned()).password(right.reveal().to_owned()).build());
        };
        let (known, unknown) =
            (Self::certificate(set, self.ground.authority(), KNOWN)?, Self::certificate(set, self.ground.authority(), UNKNOWN)?);
        let foreign = Self::certificate(set, self.ground.foreign_authority(), KNOWN)?;
        let check = |way: &str, expected, observed, finding| check(way, node, expected, observed, finding);
        Ok(vec![
            check(
                "right password",
                Login::Accepted,
                enter(&with(APPLICATION, right), node, status(), as_is).await,
                "right-password-refused",
            ),
            check(
                "wrong password",
                Login::Refused,
                enter(&with(APPLICATION, &self.wrong), node, status(), as_is).await,
                "wrong-password-accepted",
            ),
            check(
                "empty password",
                Login::Refused,
                enter(&with(APPLICATION, &empty), node, status(), as_is).await,
                "wrong-password-accepted",
            ),
            check(
                "unknown account",
                Login::Refused,
                enter(&with("nobody", right), node, status(), as_is).await,
                "unknown-account-accepted",
            ),
            check("no login", Login::Refused, enter(nobody, node, doc! { "listDatabases": 1 }, as_is).await, "login-not-needed"),
            check("right password by SCRAM-SHA-1", Login::Refused, enter(nobody, node, status(), old).await, "scram-sha-1-accepted"),
            check("certificate of a known subject", Login::Accepted, enter(&known, node, status(), as_is).await, "known-subject-refused"),
            check(
                "certificate of an unknown subject",
                Login::Refused,
                enter(&unknown, node, status(), as_is).await,
                "unknown-subject-accepted",
            ),
            check(
                "known subject of a foreign authority",
                Login::Refused,
                enter(&foreign, node, status(), as_is).await,
                "foreign-certificate-accepted",
            ),
        ])
    }

    fn certificate(set: &ReplicaSet, authority: &Authority, name: &str) -> Result<Access, ScenarioError> {
        let failed = |reason: String| ScenarioError::client("issue a certificate for a client", reason);
        let identity = authority.issue_client(name).map_err(|error: AuthorityError| failed(error.to_string()))?;
        set.access().with_identity(&identity).map_err(|error| failed(error.to_string()))
    }

    /// What a member says of itself to another member: the arbiter has no accounts that could ask.
    async fn settings(&self, set: &ReplicaSet, node: &Node) -> Result<Vec<Check>, ScenarioError> {
        let failed = |reason: String| ScenarioError::client("speak as a member", reason);
        let identity = self.ground.authority().issue_node("harness", Ipv4Addr::LOCALHOST).map_err(|error| failed(error.to_string()))?;
        let access = set.access().with_identity(&identity).map_err(|error| failed(error.to_string()))?;
        let question = doc! { "getParameter": 1, "authenticationMechanisms": 1, "enableLocalhostAuthBypass": 1 };
        let answer = ask(&access, node, question, |_| {}).await;
        let (mechanisms, exception) = match answer {
            Ok(answer) => {
                let mut names: Vec<&str> =
                    answer.get_array("authenticationMechanisms").into_iter().flatten().filter_map(Bson::as_str).collect();
                names.sort_unstable();
                let is_open = answer.get_bool("enableLocalhostAuthBypass");
                let exception = is_open.map_or_else(|error| Login::Unclear(error.to_string()), |open| Login::Says(open.to_string()));
                (Login::Says(names.join(" ")), exception)
            }
            Err(error) => (Login::Unclear(error.clone()), Login::Unclear(error)),
        };
        Ok(vec![
            check("mechanisms that it takes", node, Login::Says(MECHANISMS.into()), mechanisms, "mechanisms-differ"),
            check("its localhost exception is open", node, Login::Says("false".into()), exception, "localhost-exception-open"),
        ])
    }

    /// Accounts are the set's: they are read once, and tried to be made once.
    async fn accounts(&self, set: &ReplicaSet) -> Vec<Check> {
        let place = format!("set {}", set.set_name());
        let of = |way: &str, expected, observed, finding| Check { way: way.to_owned(), place: place.clone(), expected, observed, finding };
        let question = doc! { "usersInfo": { "forAllDBs": true } };
        let (names, verifiers) = match set.command("list the accounts", question).await {
            Ok(answer) => read_accounts(&answer),
            Err(error) => (Login::Unclear(error.to_string()), Login::Unclear(error.to_string())),
        };
        let expected = format!("{ADMIN}@admin {APPLICATION}@admin {OPERATOR}@admin");
        vec![
            of("accounts that are there", Login::Says(expected), names, "accounts-differ"),
            of("mechanisms of stored passwords", Login::Says("SCRAM-SHA-256".into()), verifiers, "weak-verifier"),
            of("account for a subject of the nodes' unit", Login::Refused, member_account(set).await, "member-subject-accepted"),
        ]
    }

    async fn with_known(&self, set: &ReplicaSet) -> Result<Vec<Check>, ScenarioError> {
        // One that a killed trial left would be an account too many, and could not be made again.
        remove(set, "$external", &subject(KNOWN)).await?;
        let mut checks = self.accounts(set).await;
        let tried = async {
            create(set, &subject(KNOWN)).await?;
            for node in set.data_nodes() {
                checks.extend(self.at_data_node(set, node).await?);
            }
            Ok::<_, ScenarioError>(())
        };
        let outcome = tried.await;
        let removed = remove(set, "$external", &subject(KNOWN)).await;
        outcome.and(removed)?;
        for node in &set.nodes() {
            checks.extend(self.settings(set, node).await?);
        }
        Ok(checks)
    }
}

fn check(way: &str, node: &Node, expected: Login, observed: Login, finding: &'static str) -> Check {
    Check { way: way.to_owned(), place: node.name().to_owned(), expected, observed, finding }
}

async fn ask(access: &Access, node: &Node, command: Document, tune: impl FnOnce(&mut ClientOptions)) -> Result<Document, String> {
    let connection = access.open_with(&Reach::Member(node.socket(PORT)), REQUEST_LIMIT, tune).map_err(|error| error.to_string())?;
    let admin = connection.database("admin");
    limited("ask a member", REQUEST_LIMIT * 2, admin.run_command(command)).await.map_err(|error| error.to_string())
}

async fn enter(access: &Access, node: &Node, command: Document, tune: impl FnOnce(&mut ClientOptions)) -> Login {
    let connection = match access.open_with(&Reach::Member(node.socket(PORT)), REQUEST_LIMIT, tune) {
        Ok(connection) => connection,
        Err(error) => return Login::Unclear(error.to_string()),
    };
    let asked = tokio::time::timeout(REQUEST_LIMIT * 2, connection.database("admin").run_command(command)).await;
    match asked {
        Ok(Ok(_)) => Login::Accepted,
        Ok(Err(error)) if is_refusal(&error) => Login::Refused,
        Ok(Err(error)) => Login::Unclear(error.to_string()),
        Err(_elapsed) => Login::Unclear("no answer".into()),
    }
}

fn is_refusal(error: &Error) -> bool {
    match &*error.kind {
        ErrorKind::Authentication { .. } => true,
        ErrorKind::Command(command) => REFUSALS.contains(&command.code),
        // A certificate of a foreign authority: the server ends the handshake, and the driver tries until it gives up.
        ErrorKind::ServerSelection { message, .. } => HANDSHAKE_ENDS.iter().any(|end| message.contains(end)),
        ErrorKind::Io(error) => HANDSHAKE_ENDS.iter().any(|end| error.to_string().contains(end)),
        _ => false,
    }
}

/// Names of all accounts, and the mechanisms of those with passwords.
fn read_accounts(answer: &Document) -> (Login, Login) {
    let (mut names, mut mechanisms) = (Vec::new(), Vec::new());
    for user in answer.get_array("users").into_iter().flatten().filter_map(Bson::as_document) {
        let database = user.get_str("db").unwrap_or_default();
        names.push(format!("{}@{database}", user.get_str("user").unwrap_or_default()));
        if database != "$external" {
            mechanisms.extend(user.get_array("mechanisms").into_iter().flatten().filter_map(Bson::as_str));
        }
    }
    names.sort_unstable();
    mechanisms.sort_unstable();
    mechanisms.dedup();
    (Login::Says(names.join(" ")), Login::Says(mechanisms.join(" ")))
}

async fn create(set: &ReplicaSet, name: &str) -> Result<(), ScenarioError> {
    let failed = |error: Error| ScenarioError::client("make an account for a certificate", error);
    let order = doc! { "createUser": name, "roles": [{ "role": "read", "db": "access_control" }] };
    set.admin().database("$external").run_command(order).await.map(drop).map_err(failed)
}

async fn remove(set: &ReplicaSet, database: &str, name: &str) -> Result<(), ScenarioError> {
    match set.admin().database(database).run_command(doc! { "dropUser": name }).await {
        Err(error) if !matches!(&*error.kind, ErrorKind::Command(command) if command.code == ABSENT) => {
            Err(ScenarioError::client("remove an account", error))
        }
        _ => Ok(()),
    }
}

async fn member_account(set: &ReplicaSet) -> Login {
    let name = "CN=probe,OU=nodes,O=dora";
    match set.admin().database("$external").run_command(doc! { "createUser": name, "roles": [] }).await {
        Ok(_) => match remove(set, "$external", name).await {
            Ok(()) => Login::Accepted,
            Err(error) => Login::Unclear(error.to_string()),
        },
        Err(error) => match &*error.kind {
            ErrorKind::Command(command) if command.code == BAD_VALUE => Login::Refused,
            _ => Login::Unclear(error.to_string()),
        },
    }
}

#[async_trait]
impl Gate for MongodbGate {
    async fn checks(&self) -> Result<Vec<Check>, ScenarioError> {
        let mut checks = Vec::new();
        for set in &self.sets {
            checks.extend(self.with_known(set).await?);
        }
        Ok(checks)
    }

    async fn guess(&self, password: Attempted) -> Login {
        let set = &self.sets[0];
        let secret = match password {
            Attempted::Wrong => &self.wrong,
            Attempted::Right => &set.passwords().application,
        };
        enter(&set.access().with_password(APPLICATION, secret), &set.data_nodes()[0], doc! { "connectionStatus": 1 }, |_| {}).await
    }

    async fn sabotage(&self, id: &str) -> Result<(), ScenarioError> {
        let (set, node) = self.struck()?;
        match (id, setting(id)) {
            (_, Some((intended, planted))) => reconfigure(set, node, intended, planted).await,
            ("foreign-subject", _) => create(set, &subject(UNKNOWN)).await,
            _ => {
                let order =
                    doc! { "createUser": "left-behind", "pwd": self.wrong.reveal(), "roles": ["root"], "mechanisms": ["SCRAM-SHA-256"] };
                set.command("plant an account", order).await.map(drop).map_err(client_error)
            }
        }
    }

    async fn undo_sabotage(&self, id: &str) -> Result<(), ScenarioError> {
        let (set, node) = self.struck()?;
        match (id, setting(id)) {
            (_, Some((intended, planted))) => reconfigure(set, node, planted, intended).await,
            ("foreign-subject", _) => remove(set, "$external", &subject(UNKNOWN)).await,
            _ => remove(set, "admin", "left-behind").await,
        }
    }
}

/// The text of a member's configuration that a defect changes, and into what.
fn setting(id: &str) -> Option<(&'static str, &'static str)> {
    match id {
        "scram-sha-1" => Some(("authenticationMechanisms: SCRAM-SHA-256,", "authenticationMechanisms: SCRAM-SHA-1,SCRAM-SHA-256,")),
        "localhost-exception" => Some(("enableLocalhostAuthBypass: false", "enableLocalhostAuthBypass: true")),
        "transition-to-auth" => Some(("authorization: enabled\n", "authorization: enabled\n  transitionToAuth: true\n")),
        _ => None,
    }
}
