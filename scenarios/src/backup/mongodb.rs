//! A snapshot of all collections, restored into a new replica set.

use std::{net::SocketAddr, time::Duration};

use async_trait::async_trait;
use dora_fixtures::{
    content::Digests,
    dataset::{Dataset, documents::Collection},
};
use dora_harness::{
    database::{
        Cluster as _,
        mongodb::{ADMIN, Access, Archive, PORT, ask_in_plaintext, digests, load},
    },
    security::Secret,
    topology::Node,
};
use mongodb::bson::doc;
use tokio::sync::Mutex;

use super::{BackupSize, BackupTarget, Enforcement, full_backup};
use crate::{
    Database, Pillar, Sabotage, Scenario, ScenarioError, Trial,
    security::mongodb::{client_error, replica_set},
};

/// One small request.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
const LEFT_OUT_ID: &str = "collection-left-out";
const TRUNCATED_ID: &str = "collection-truncated";
/// The collection that the sabotages hit.
const HIT: Collection = Collection::AnalysisResults;

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "backup/mongodb",
    title: "MongoDB comes back from a full backup in a new replica set",
    pillar: Pillar::Backup,
    database: Database::Mongodb,
    clauses: &["BK-FULL-MDB"],
    goal: "Find out whether a full backup alone brings back every document, file, validator and index, under new credentials.",
    method: &[
        "Load the domain's documents and files; hash every collection, every bucket of files and all definitions.",
        "Read all collections in one snapshot session at a majority-committed instant, as the backup account; keep them outside the set.",
        "Destroy all nodes and volumes of the set; start a new set with other names, addresses and passwords.",
        "Check the backup's hashes, write collections and indexes as the restore account, hash everything again.",
        "Try what must be refused: the old password, no password, plaintext; and what must work: the new password over TLS.",
    ],
    does_not_show: &[
        "a backup with the engine's own tools: mongodump and mongorestore are in no package registry, so the harness's own client reads all collections, and writes them back",
        "writes during the backup and the way from it to a later instant (BK-LOG-MDB)",
        "accounts and roles, which a new set has its own of",
        "backups larger than the harness's memory",
    ],
    needs_high_availability: false,
    deadline: Duration::from_secs(300),
    sabotages: &[
        Sabotage { id: LEFT_OUT_ID, what: "one collection is left out of the backup", expects: "content-differs" },
        Sabotage { id: TRUNCATED_ID, what: "one collection of the backup is cut short", expects: "restore-failed" },
    ],
    run: |trial| Box::pin(async move { full_backup(trial, &Backup { trial, old_password: Mutex::default() }).await }),
}];

struct Backup<'a> {
    trial: &'a Trial,
    /// The destroyed set's, which the new one must refuse.
    old_password: Mutex<Option<Secret>>,
}

#[async_trait]
impl BackupTarget for Backup<'_> {
    type Artifact = Archive;

    async fn load(&self, dataset: &Dataset) -> Result<(), ScenarioError> {
        load(&*replica_set(self.trial).await?, dataset).await.map_err(client_error)
    }

    async fn digests(&self) -> Result<Digests, ScenarioError> {
        digests(replica_set(self.trial).await?.admin()).await.map_err(client_error)
    }

    async fn back_up(&self) -> Result<Archive, ScenarioError> {
        Archive::take(&*replica_set(self.trial).await?).await.map_err(client_error)
    }

    fn size(&self, artifact: &Archive) -> BackupSize {
        BackupSize { bytes: artifact.bytes() }
    }

    async fn sabotage(&self, artifact: &mut Archive, id: &str) -> Result<(), ScenarioError> {
        match id {
            LEFT_OUT_ID => artifact.collections.retain(|collection| collection.name != HIT.name()),
            TRUNCATED_ID => {
                for collection in artifact.collections.iter_mut().filter(|collection| collection.name == HIT.name()) {
                    collection.documents.truncate(collection.documents.len() / 2);
                }
            }
            other => return Err(ScenarioError::Missing(format!("there is no sabotage {other}"))),
        }
        Ok(())
    }

    async fn nodes(&self) -> Result<Vec<Node>, ScenarioError> {
        Ok(replica_set(self.trial).await?.nodes())
    }

    async fn destroy(&self) -> Result<(), ScenarioError> {
        let set = replica_set(self.trial).await?;
        *self.old_password.lock().await = Some(set.passwords().admin.clone());
        Ok(set.destroy().await?)
    }

    async fn restore(&self, trial: &Trial, artifact: Archive) -> Result<(), ScenarioError> {
        let set = trial.platform().mongodb.start_restored(trial.ground()).await?;
        artifact.restore(&set).await.map_err(client_error)
    }

    async fn enforcement(&self) -> Result<Vec<Enforcement>, ScenarioError> {
        let set = replica_set(self.trial).await?;
        let primary = set.primary().await.map_err(client_error)?.socket(PORT);
        let old = self.old_password.lock().await.clone().ok_or_else(|| ScenarioError::Missing("the old password is unknown".into()))?;
        let access = set.access();
        let attempts = [
            (
                "listing databases with the new password over TLS",
                true,
                list_databases(&access.with_password(ADMIN, &set.passwords().admin), primary).await,
            ),
            ("listing databases with the old password", false, list_databases(&access.with_password(ADMIN, &old), primary).await),
            ("listing databases without a login", false, list_databases(access, primary).await),
            ("asking without TLS", false, ask_in_plaintext(primary, doc! { "hello": 1 }, REQUEST_LIMIT).await),
        ];
        let enforcement = |(attempt, must_succeed, observed): (&str, bool, Result<(), String>)| Enforcement {
            attempt: attempt.to_owned(),
            must_succeed,
            observed,
        };
        Ok(attempts.map(enforcement).into())
    }
}

async fn list_databases(access: &Access, primary: SocketAddr) -> Result<(), String> {
    access.ask(primary, doc! { "listDatabases": 1, "nameOnly": true, "authorizedDatabases": false }, REQUEST_LIMIT).await
}
