//! The domain roles as access lists of every server.

use std::sync::Arc;

use async_trait::async_trait;
use dora_fixtures::{
    Store, assets,
    roles::{DomainRole, Probe},
};
use dora_harness::{
    database::redis::{Account, PORT, Replicated, ask},
    topology::Node,
};
use redis::{RedisError, Value, aio::MultiplexedConnection};

use crate::{
    ScenarioError, Trial,
    security::identity::{Credentials, RoleSession, RoleTarget, Seen},
};

pub struct RedisRoles {
    set: Arc<Replicated>,
    credentials: Credentials,
}

impl RedisRoles {
    pub async fn of(trial: &Trial) -> Result<Self, ScenarioError> {
        let set =
            trial.platform().redis.replicated.get().await.ok_or_else(|| ScenarioError::Missing("there is no Redis in this run".into()))?;
        Ok(Self { set, credentials: Credentials::generate() })
    }

    /// Applies the lines `user NAME RULE…` to these servers.
    async fn apply(&self, servers: &[Node], lines: &str) -> Result<(), ScenarioError> {
        let failed = |error: RedisError| ScenarioError::client("set an access list", error);
        for server in servers {
            let mut connection = self.set.access().connect(server.socket(PORT), Account::Admin).await.map_err(failed)?;
            for line in lines.lines() {
                let mut words: Vec<&str> = line.split_whitespace().collect();
                if words.first() == Some(&"user") {
                    words.splice(..1, ["ACL", "SETUSER"]);
                    ask::<()>(&mut connection, &words).await.map_err(failed)?;
                }
            }
        }
        Ok(())
    }
}

/// The account of a role.
fn account(role: DomainRole) -> String {
    format!("role-{role}")
}

struct Session(MultiplexedConnection);

#[async_trait]
impl RoleSession for Session {
    async fn attempt(&mut self, probe: &Probe) -> Seen {
        let words: Vec<&str> = probe.attempt.split_whitespace().collect();
        match ask::<Value>(&mut self.0, &words).await {
            Ok(_) => Seen::Allowed,
            Err(error) => match error.code() {
                Some("NOPERM") => Seen::Denied,
                // A replica asks for the right before it looks at its role.
                Some("READONLY") => Seen::Allowed,
                Some(code) if probe.passed.as_deref() == Some(code) => Seen::Allowed,
                _ => Seen::Other(error.to_string()),
            },
        }
    }
}

#[async_trait]
impl RoleTarget for RedisRoles {
    fn store(&self) -> Store {
        Store::Redis
    }

    /// Access lists are not replicated.
    fn places(&self) -> Vec<String> {
        self.set.servers().iter().map(|server| server.name().to_owned()).collect()
    }

    async fn set_up(&self) -> Result<(), ScenarioError> {
        self.apply(self.set.servers(), &assets::render("roles/redis/roles.acl.j2", self.credentials.context())?).await
    }

    async fn session(&self, role: DomainRole, place: usize) -> Result<Box<dyn RoleSession>, ScenarioError> {
        let failed = |error: RedisError| ScenarioError::client(format!("log in as {role}"), error);
        let server = self.set.servers()[place].socket(PORT);
        let mut connection = self.set.access().connect_anonymously(server).await.map_err(failed)?;
        ask::<()>(&mut connection, &["AUTH", &account(role), self.credentials.of(role).reveal()]).await.map_err(failed)?;
        Ok(Box::new(Session(connection)))
    }

    async fn sabotage(&self, id: &str) -> Result<(), ScenarioError> {
        let servers = self.set.servers();
        let struck = if id == "one-command-on-a-replica" { &servers[servers.len() - 1..] } else { servers };
        self.apply(struck, assets::text(&format!("roles/redis/sabotage/{id}.acl"))?).await
    }

    /// A server that does not answer keeps the roles of no other; the first error is the one to tell.
    async fn tear_down(&self) -> Result<(), ScenarioError> {
        let names: Vec<String> = DomainRole::ALL.into_iter().map(account).collect();
        let words: Vec<&str> = ["ACL", "DELUSER"].into_iter().chain(names.iter().map(String::as_str)).collect();
        let mut outcome = Ok(());
        for server in self.set.servers() {
            let removed = async {
                let mut connection = self.set.access().connect(server.socket(PORT), Account::Admin).await?;
                ask::<()>(&mut connection, &words).await
            };
            let removed = removed.await.map_err(|error| ScenarioError::client(format!("remove the roles at {}", server.name()), error));
            outcome = outcome.and(removed);
        }
        outcome
    }
}
