//! The ways into servers, Sentinels and Cluster nodes.

use std::sync::Arc;

use async_trait::async_trait;
use dora_fixtures::assets;
use dora_harness::{
    database::redis::{Access, Account, PORT, Replicated, SENTINEL_PORT, Sharded, ask},
    security::{Secret, generate_secret},
    topology::Node,
};
use redis::{RedisError, Value, aio::MultiplexedConnection};

use crate::{
    ScenarioError, Trial,
    security::identity::{Attempted, Check, Gate, Login},
};

/// The accounts of a server (users.acl), in the order in which they are compared.
const SERVER_ACCOUNTS: &str = "admin app backup default replica sentinel";
/// The accounts of a Sentinel (sentinel-users.acl).
const SENTINEL_ACCOUNTS: &str = "admin app default sentinel";
/// Nobody has this name.
const UNKNOWN: &str = "nobody-of-this-name";

/// A listener, the set that it belongs to, and the passwords of a set that it does not belong to.
struct Place<'a> {
    node: &'a Node,
    port: u16,
    access: &'a Access,
    stranger: Option<&'a Access>,
}

pub struct RedisGate {
    set: Arc<Replicated>,
    sharded: Option<Arc<Sharded>>,
    cluster_nodes: Vec<Node>,
    wrong: Secret,
}

impl RedisGate {
    pub async fn of(trial: &Trial) -> Result<Self, ScenarioError> {
        use dora_harness::database::Cluster as _;
        let part = &trial.platform().redis;
        let set = part.replicated.get().await.ok_or_else(|| ScenarioError::Missing("there is no Redis in this run".into()))?;
        let sharded = part.sharded.get().await;
        let cluster_nodes = sharded.as_ref().map(|sharded| sharded.nodes()).unwrap_or_default();
        Ok(Self { set, sharded, cluster_nodes, wrong: generate_secret() })
    }

    fn places(&self) -> Vec<Place<'_>> {
        fn of<'a>(nodes: &'a [Node], port: u16, access: &'a Access, stranger: Option<&'a Access>) -> Vec<Place<'a>> {
            nodes.iter().map(|node| Place { node, port, access, stranger }).collect()
        }
        let (own, other) = (self.set.access(), self.sharded.as_ref().map(|sharded| sharded.access()));
        let mut places = of(self.set.servers(), PORT, own, other);
        places.extend(of(self.set.sentinels().nodes(), SENTINEL_PORT, own, other));
        if let Some(access) = other {
            places.extend(of(&self.cluster_nodes, PORT, access, Some(own)));
        }
        places
    }

    /// Where a defect is planted: the last server, or the last Sentinel.
    fn struck(&self, id: &str) -> Result<Place<'_>, ScenarioError> {
        let port = if id == "default-on-at-a-sentinel" { SENTINEL_PORT } else { PORT };
        let own = |place: &Place<'_>| place.port == port && place.node.cluster() == Replicated::NAME;
        self.places().into_iter().rfind(own).ok_or_else(|| ScenarioError::Missing("there is no such Redis node in this profile".into()))
    }
}

impl Place<'_> {
    async fn anonymous(&self) -> Result<MultiplexedConnection, RedisError> {
        self.access.connect_anonymously(self.node.socket(self.port)).await
    }

    async fn operator(&self) -> Result<MultiplexedConnection, RedisError> {
        self.access.connect(self.node.socket(self.port), Account::Admin).await
    }

    /// `AUTH` with these words on a new connection, then a command that every account may send.
    async fn log_in(&self, words: &[&str]) -> Login {
        let attempt = async {
            let mut connection = self.anonymous().await?;
            if !words.is_empty() {
                let command: Vec<&str> = ["AUTH"].into_iter().chain(words.iter().copied()).collect();
                ask::<Value>(&mut connection, &command).await?;
            }
            ask::<Value>(&mut connection, &["PING"]).await
        };
        sort(attempt.await)
    }

    async fn checks(&self, wrong: &Secret) -> Vec<Check> {
        let (app, admin) = (self.access.passwords().of(Account::App).reveal(), self.access.passwords().of(Account::Admin).reveal());
        let wrong = wrong.reveal();
        let tried: [(&str, &[&str], Login, &'static str); 8] = [
            ("no login", &[], Login::Refused, "default-account-open"),
            ("`default` without password", &["default", ""], Login::Refused, "default-account-open"),
            ("`default` with a password of others", &["default", wrong], Login::Refused, "default-account-open"),
            ("the administrator's password without a name", &[admin], Login::Refused, "default-account-open"),
            ("an unknown account", &[UNKNOWN, wrong], Login::Refused, "unknown-account-accepted"),
            ("wrong password", &["app", wrong], Login::Refused, "wrong-password-accepted"),
            ("empty password", &["app", ""], Login::Refused, "wrong-password-accepted"),
            ("right password", &["app", app], Login::Accepted, "right-password-refused"),
        ];
        let mut checks = Vec::new();
        for (way, words, expected, finding) in tried {
            checks.push(self.check(way, expected, self.log_in(words).await, finding));
        }
        if let Some(stranger) = self.stranger {
            let words = ["app", stranger.passwords().of(Account::App).reveal()];
            checks.push(self.check("the other set's password", Login::Refused, self.log_in(&words).await, "wrong-password-accepted"));
        }
        let (accounts, unprotected) = self.accounts().await;
        let expected = if self.port == SENTINEL_PORT { SENTINEL_ACCOUNTS } else { SERVER_ACCOUNTS };
        checks.push(self.check("accounts that are there", Login::Says(expected.into()), accounts, "accounts-differ"));
        checks.push(self.check("accounts without a password", Login::Says("none".into()), unprotected, "account-without-password"));
        if self.port == PORT {
            for name in ["replica", "sentinel", "backup"] {
                let way = format!("`{name}` reads a key");
                checks.push(self.check(&way, Login::Refused, self.may_read(name).await, "machinery-may-read"));
            }
        }
        checks
    }

    fn check(&self, way: &str, expected: Login, observed: Login, finding: &'static str) -> Check {
        Check { way: way.to_owned(), place: self.node.name().to_owned(), expected, observed, finding }
    }

    /// The names of all accounts, and of those that are on and need no password, by the server's own list.
    async fn accounts(&self) -> (Login, Login) {
        let read = async {
            let mut connection = self.operator().await?;
            ask::<Vec<String>>(&mut connection, &["ACL", "LIST"]).await
        };
        let lines = match read.await {
            Ok(lines) => lines,
            Err(error) => return (Login::Unclear(error.to_string()), Login::Unclear(error.to_string())),
        };
        let names = |wanted: &dyn Fn(&[&str]) -> bool| {
            let mut names: Vec<&str> = lines
                .iter()
                .filter_map(|line| {
                    let words: Vec<&str> = line.split_whitespace().collect();
                    words.get(1).copied().filter(|_| wanted(&words))
                })
                .collect();
            names.sort_unstable();
            if names.is_empty() { "none".to_owned() } else { names.join(" ") }
        };
        (Login::Says(names(&|_| true)), Login::Says(names(&|words| words.contains(&"on") && words.contains(&"nopass"))))
    }

    /// Whether an account of the machinery could read a key, by the server's own judgement of its list: only the nodes know its password.
    async fn may_read(&self, name: &str) -> Login {
        let asked = async {
            let mut connection = self.operator().await?;
            ask::<String>(&mut connection, &["ACL", "DRYRUN", name, "GET", "app:session:probe"]).await
        };
        match asked.await {
            Ok(answer) if answer == "OK" => Login::Accepted,
            Ok(answer) if answer.contains("no permissions") => Login::Refused,
            Ok(answer) => Login::Unclear(answer),
            Err(error) => sort(Err(error)),
        }
    }
}

fn sort(answer: Result<Value, RedisError>) -> Login {
    match answer {
        Ok(_) => Login::Accepted,
        Err(error) => match error.code() {
            Some("NOAUTH" | "WRONGPASS" | "NOPERM") => Login::Refused,
            _ => Login::Unclear(error.to_string()),
        },
    }
}

#[async_trait]
impl Gate for RedisGate {
    async fn checks(&self) -> Result<Vec<Check>, ScenarioError> {
        let mut checks = Vec::new();
        for place in self.places() {
            checks.extend(place.checks(&self.wrong).await);
        }
        Ok(checks)
    }

    async fn guess(&self, password: Attempted) -> Login {
        let places = self.places();
        let secret = match password {
            Attempted::Wrong => &self.wrong,
            Attempted::Right => places[0].access.passwords().of(Account::App),
        };
        places[0].log_in(&["app", secret.reveal()]).await
    }

    async fn sabotage(&self, id: &str) -> Result<(), ScenarioError> {
        let failed = |error: RedisError| ScenarioError::client("plant the defect", error);
        let mut connection = self.struck(id)?.operator().await.map_err(failed)?;
        let lines = assets::render(&format!("roles/redis/sabotage/{id}.acl.j2"), serde_json::json!({ "password": self.wrong }))?;
        for line in lines.lines() {
            let words: Vec<&str> = ["ACL", "SETUSER"].into_iter().chain(line.split_whitespace().skip(1)).collect();
            ask::<()>(&mut connection, &words).await.map_err(failed)?;
        }
        Ok(())
    }

    /// The list on disk is the intended one: nobody saved what was planted.
    async fn undo_sabotage(&self, id: &str) -> Result<(), ScenarioError> {
        let failed = |error: RedisError| ScenarioError::client("read the access list again", error);
        let mut connection = self.struck(id)?.operator().await.map_err(failed)?;
        ask::<()>(&mut connection, &["ACL", "LOAD"]).await.map_err(failed)
    }
}
