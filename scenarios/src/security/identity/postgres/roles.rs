//! The domain roles as GRANTs, in a database of their own on the live cluster.

use std::sync::Arc;

use async_trait::async_trait;
use dora_fixtures::{
    Store, assets,
    roles::{DomainRole, Probe},
};
use dora_harness::{
    database::postgres::{Login, PostgresCluster, SERVER_PORT},
    topology::Node,
};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection, error::DatabaseError};

use super::superuser::{run_lines, run_whole, session};
use crate::{
    ScenarioError, Trial,
    security::identity::{Credentials, RoleSession, RoleTarget, Seen},
};

/// Its name in database.sql.
const DATABASE: &str = "access_control";
/// `insufficient_privilege`.
const REFUSED: &str = "42501";

pub struct PostgresRoles {
    cluster: Arc<PostgresCluster>,
    primary: Node,
    credentials: Credentials,
}

impl PostgresRoles {
    pub async fn of(trial: &Trial) -> Result<Self, ScenarioError> {
        let missing = || ScenarioError::Missing("there is no PostgreSQL cluster".to_owned());
        let cluster = trial.platform().postgres.cluster().await.ok_or_else(missing)?;
        let primary = cluster.find_primary().await.map_err(|reason| ScenarioError::client("find the primary", reason))?;
        Ok(Self { cluster, primary, credentials: Credentials::generate() })
    }

    async fn superuser(&self) -> Result<PgConnection, ScenarioError> {
        session(&login_as("postgres", self.cluster.superuser_login(&self.primary)), "connect as superuser").await
    }
}

/// The same login for another role, to the database of the probes.
fn login_as(user: &str, login: Login) -> Login {
    Login { user: user.to_owned(), database: DATABASE.to_owned(), ..login }
}

struct Session(PgConnection);

impl Session {
    async fn send(&mut self, statement: &str) -> Result<(), sqlx::Error> {
        // Attempts stand in a file of this project.
        self.0.execute(sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))).await.map(drop)
    }
}

#[async_trait]
impl RoleSession for Session {
    async fn attempt(&mut self, probe: &Probe) -> Seen {
        if let Err(error) = self.send("BEGIN").await {
            return Seen::Other(error.to_string());
        }
        let answer = self.send(&probe.attempt).await;
        if let Err(error) = self.send("ROLLBACK").await {
            return Seen::Other(format!("not rolled back: {error}"));
        }
        let Err(error) = answer else { return Seen::Allowed };
        let code = error.as_database_error().and_then(DatabaseError::code).map(std::borrow::Cow::into_owned);
        match code.as_deref() {
            Some(REFUSED) => Seen::Denied,
            Some(code) if probe.passed.as_deref() == Some(code) => Seen::Allowed,
            _ => Seen::Other(error.to_string()),
        }
    }
}

#[async_trait]
impl RoleTarget for PostgresRoles {
    fn store(&self) -> Store {
        Store::Postgres
    }

    /// Roles and rights are replicated with everything else.
    fn places(&self) -> Vec<String> {
        vec![self.primary.name().to_owned()]
    }

    async fn set_up(&self) -> Result<(), ScenarioError> {
        let mut server = session(&self.cluster.superuser_login(&self.primary), "connect as superuser").await?;
        run_lines(&mut server, "roles/postgres/remove.sql").await?;
        run_lines(&mut server, "roles/postgres/database.sql").await?;
        // The owner of the database makes its tables, as in the application's own.
        let owner = login_as("app", self.cluster.application_login(self.primary.socket(SERVER_PORT)));
        let mut owner = session(&owner, "connect as owner").await?;
        for file in assets::list("schema/postgres/migrations")? {
            run_whole(&mut owner, assets::text(&format!("schema/postgres/migrations/{}", file.path))?.to_owned()).await?;
        }
        run_whole(&mut self.superuser().await?, assets::render("roles/postgres/roles.sql.j2", self.credentials.context())?).await
    }

    async fn session(&self, role: DomainRole, _place: usize) -> Result<Box<dyn RoleSession>, ScenarioError> {
        let login = self.cluster.application_login(self.primary.socket(SERVER_PORT));
        let login = Login { password: self.credentials.of(role).clone(), ..login_as(&format!("role_{role}"), login) };
        Ok(Box::new(Session(session(&login, &format!("log in as {role}")).await?)))
    }

    async fn sabotage(&self, id: &str) -> Result<(), ScenarioError> {
        run_whole(&mut self.superuser().await?, assets::text(&format!("roles/postgres/sabotage/{id}.sql"))?.to_owned()).await
    }

    async fn tear_down(&self) -> Result<(), ScenarioError> {
        let mut server = session(&self.cluster.superuser_login(&self.primary), "connect as superuser").await?;
        run_lines(&mut server, "roles/postgres/remove.sql").await
    }
}
