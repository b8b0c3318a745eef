//! The adapter for the driver.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_fixtures::{assets, content::Digests, dataset::Dataset};
use dora_harness::{
    database::{
        Cluster as _,
        postgres::{AccessError, Login, POOLER_PORT, Plan, PostgresCluster, Repository, SERVER_PORT, connect},
    },
    platform::Part as _,
    security::Secret,
    topology::Node,
};
use tokio::{sync::RwLock, time::timeout};

use super::content;
use crate::{
    ScenarioError, Trial,
    backup::{BackupSize, BackupTarget, Enforcement},
};

/// Half of the backup's largest file is missing.
pub(super) const TRUNCATED: &str = "truncated-backup";
/// What the nodes of a restored cluster are called by, unless the lost cluster's nodes were.
const PREFIX: &str = "r-";
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// The cluster that is there now, and the passwords of the one before.
struct State {
    cluster: Arc<PostgresCluster>,
    lost: Option<Arc<PostgresCluster>>,
}

/// `PostgreSQL` for the driver.
pub(super) struct PostgresBackup<'a> {
    trial: &'a Trial,
    state: RwLock<State>,
}

impl<'a> PostgresBackup<'a> {
    /// On the trial's platform.
    pub(super) async fn of(trial: &'a Trial) -> Result<Self, ScenarioError> {
        let missing = || ScenarioError::Missing("there is no PostgreSQL cluster".to_owned());
        let cluster = trial.platform().postgres.cluster().await.ok_or_else(missing)?;
        Ok(Self { trial, state: RwLock::new(State { cluster, lost: None }) })
    }

    async fn cluster(&self) -> Arc<PostgresCluster> {
        Arc::clone(&self.state.read().await.cluster)
    }
}

#[async_trait]
impl BackupTarget for PostgresBackup<'_> {
    type Artifact = Repository;

    async fn load(&self, dataset: &Dataset) -> Result<(), ScenarioError> {
        content::load(&*self.cluster().await, dataset).await
    }

    async fn digests(&self) -> Result<Digests, ScenarioError> {
        content::digests(&*self.cluster().await).await
    }

    async fn back_up(&self) -> Result<Repository, ScenarioError> {
        Ok(self.cluster().await.back_up().await?)
    }

    fn size(&self, artifact: &Repository) -> BackupSize {
        BackupSize { bytes: artifact.bytes() }
    }

    async fn sabotage(&self, artifact: &mut Repository, _id: &str) -> Result<(), ScenarioError> {
        let of_backup = artifact.files.iter_mut().filter(|(path, _)| path.starts_with("backup/"));
        let (_, content) = of_backup
            .max_by_key(|(_, content)| content.len())
            .ok_or_else(|| ScenarioError::client("cut a file of the backup", "the repository holds no backup"))?;
        content.truncate(content.len() / 2);
        Ok(())
    }

    async fn nodes(&self) -> Result<Vec<Node>, ScenarioError> {
        Ok(self.cluster().await.nodes())
    }

    async fn destroy(&self) -> Result<(), ScenarioError> {
        Ok(self.trial.platform().postgres.clear().await?)
    }

    async fn restore(&self, trial: &Trial, artifact: Repository) -> Result<(), ScenarioError> {
        let lost = self.cluster().await;
        let prefix = if lost.pooler().name().starts_with(PREFIX) { "" } else { PREFIX };
        let plan = Plan { prefix: prefix.to_owned(), seed: Some(artifact), is_alone: false };
        let cluster = trial.platform().postgres.start_as(trial.ground(), plan).await?;
        *self.state.write().await = State { cluster, lost: Some(lost) };
        Ok(())
    }

    async fn enforcement(&self) -> Result<Vec<Enforcement>, ScenarioError> {
        let cluster = self.cluster().await;
        let lost = self.state.read().await.lost.clone().ok_or_else(|| ScenarioError::Missing("nothing was restored".to_owned()))?;
        let primary = cluster.find_primary().await.map_err(|reason| ScenarioError::client("find the primary", reason))?;
        let entries: [(&str, &Node, u16); 2] = [("server", &primary, SERVER_PORT), ("pooler", cluster.pooler(), POOLER_PORT)];
        let mut attempts = Vec::new();
        for (entry, node, port) in entries {
            let right = cluster.application_login(node.socket(port));
            let old = lost.credentials().application.clone();
            let variants = [
                ("the new password over TLS", right.clone(), true),
                ("the lost cluster's password", Login { password: old, ..right.clone() }, false),
                ("an empty password", Login { password: Secret::from(String::new()), ..right.clone() }, false),
                ("the new password in plaintext", Login { authority: None, ..right.clone() }, false),
                ("trust in a foreign authority", Login { authority: Some(trial_foreign(self.trial)), ..right }, false),
            ];
            for (what, login, must_succeed) in variants {
                attempts.push(Enforcement {
                    attempt: format!("{entry}: login with {what}"),
                    must_succeed,
                    observed: try_login(&login).await,
                });
            }
        }
        let old = lost.credentials().superuser.clone();
        let login = Login { password: old, ..cluster.superuser_login(&primary) };
        attempts.push(Enforcement {
            attempt: "server: superuser's login with the lost cluster's password".to_owned(),
            must_succeed: false,
            observed: try_login(&login).await,
        });
        Ok(attempts)
    }
}

fn trial_foreign(trial: &Trial) -> String {
    trial.ground().foreign_authority().certificate().to_owned()
}

async fn try_login(login: &Login) -> Result<(), String> {
    let question = assets::text("schema/postgres/monitoring/alive.sql").map_err(|error| error.to_string())?;
    let mut connection = connect(login, CONNECT_LIMIT).await.map_err(|error| error.to_string())?;
    timeout(CONNECT_LIMIT, sqlx::query(question).execute(&mut connection))
        .await
        .map_err(|_elapsed| AccessError::Deadline(CONNECT_LIMIT).to_string())?
        .map_err(|error| error.to_string())?;
    Ok(())
}
