//! The domain roles as privileges, in a database of their own on the live set.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_fixtures::{
    Store, assets,
    roles::{DomainRole, Probe},
};
use dora_harness::database::mongodb::{Connection, MongodbError, ReplicaSet};
use mongodb::{
    bson::{Document, doc},
    error::{Error, ErrorKind},
};

use crate::{
    ScenarioError, Trial,
    security::{
        identity::{Credentials, RoleSession, RoleTarget, Seen},
        mongodb::{client_error, replica_set},
    },
};

/// Where the probes' documents are.
const DATABASE: &str = "access_control";
const COLLECTIONS: [&str; 4] = ["policy_documents", "analysis_results", "agent_configurations", "integrations"];
/// `Unauthorized`.
const REFUSED: i32 = 13;
/// `UserNotFound`, `RoleNotFound`: what is to be removed is not there.
const ABSENT: [i32; 2] = [11, 31];
const SELECTION: Duration = Duration::from_secs(5);

pub struct MongodbRoles {
    set: Arc<ReplicaSet>,
    credentials: Credentials,
}

impl MongodbRoles {
    pub async fn of(trial: &Trial) -> Result<Self, ScenarioError> {
        Ok(Self { set: replica_set(trial).await?, credentials: Credentials::generate() })
    }

    async fn remove(&self) -> Result<(), ScenarioError> {
        for role in DomainRole::ALL {
            for verb in ["dropUser", "dropRole"] {
                match self.set.command("remove a role", doc! { verb: account(role) }).await {
                    Err(MongodbError::Driver { source, .. }) if code(&source).is_some_and(|code| ABSENT.contains(&code)) => {}
                    other => drop(other.map_err(client_error)?),
                }
            }
        }
        let dropped = self.set.admin().database(DATABASE).drop().await;
        dropped.map_err(|error| ScenarioError::client("drop the database of the probes", error))
    }
}

/// The account of a role; its role has the same name.
fn account(role: DomainRole) -> String {
    format!("role-{role}")
}

/// A command of this project's files; the first member is its name, so their order is kept.
fn command(text: &str) -> Result<Document, ScenarioError> {
    serde_json::from_str(text).map_err(|error| ScenarioError::client("read a command", error))
}

fn code(error: &Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(command) => Some(command.code),
        _ => None,
    }
}

struct Session(Connection);

#[async_trait]
impl RoleSession for Session {
    async fn attempt(&mut self, probe: &Probe) -> Seen {
        let command = match command(&probe.attempt) {
            Ok(command) => command,
            Err(error) => return Seen::Other(error.to_string()),
        };
        let database = self.0.database(probe.via.as_deref().unwrap_or(DATABASE));
        match database.run_command(command).await {
            Ok(_) => Seen::Allowed,
            Err(error) => match code(&error) {
                Some(REFUSED) => Seen::Denied,
                Some(code) if probe.passed.as_deref() == Some(code.to_string().as_str()) => Seen::Allowed,
                _ => Seen::Other(error.to_string()),
            },
        }
    }
}

#[async_trait]
impl RoleTarget for MongodbRoles {
    fn store(&self) -> Store {
        Store::Mongodb
    }

    /// Accounts and roles are replicated; requests go to the primary.
    fn places(&self) -> Vec<String> {
        vec![format!("set {}", self.set.set_name())]
    }

    async fn set_up(&self) -> Result<(), ScenarioError> {
        self.remove().await?;
        for collection in COLLECTIONS {
            let created = self.set.admin().database(DATABASE).create_collection(collection).await;
            created.map_err(|error| ScenarioError::client("make a collection for the probes", error))?;
        }
        let rendered = assets::render("roles/mongodb/roles.json.j2", self.credentials.context())?;
        let commands: Vec<Document> =
            serde_json::from_str(&rendered).map_err(|error| ScenarioError::client("read roles/mongodb/roles.json", error))?;
        for command in commands {
            self.set.command("make a role", command).await.map_err(client_error)?;
        }
        Ok(())
    }

    async fn session(&self, role: DomainRole, _place: usize) -> Result<Box<dyn RoleSession>, ScenarioError> {
        let failed = |error: Error| ScenarioError::client(format!("log in as {role}"), error);
        let access = self.set.access().with_password(&account(role), self.credentials.of(role));
        let connection = access.open(&self.set.reach(), SELECTION).map_err(failed)?;
        // The driver logs in when it is first asked something: a failed login must not pass for a refusal.
        connection.database("admin").run_command(doc! { "connectionStatus": 1 }).await.map_err(failed)?;
        Ok(Box::new(Session(connection)))
    }

    async fn sabotage(&self, id: &str) -> Result<(), ScenarioError> {
        let command = command(assets::text(&format!("roles/mongodb/sabotage/{id}.json"))?)?;
        self.set.command("plant the defect", command).await.map(drop).map_err(client_error)
    }

    async fn tear_down(&self) -> Result<(), ScenarioError> {
        self.remove().await
    }
}
