//! What a database has to tell the driver.

use async_trait::async_trait;
use dora_fixtures::{content::Digests, dataset::Dataset};
use dora_harness::topology::Node;

use crate::{ScenarioError, Trial};

/// How large a backup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupSize {
    /// Bytes as they would lie in a store.
    pub bytes: u64,
}

/// One rule that the restored cluster must still enforce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enforcement {
    /// The attempt, such as `login with the old password`.
    pub attempt: String,
    /// Whether it must succeed.
    pub must_succeed: bool,
    /// Whether it did, and the client's words.
    pub observed: Result<(), String>,
}

/// A database that is backed up, destroyed and restored.
#[async_trait]
pub trait BackupTarget: Send + Sync {
    /// The backup itself, held by the harness while no cluster exists.
    type Artifact: Send;

    /// Loads the domain data (idempotent) and returns when all copies have them.
    async fn load(&self, dataset: &Dataset) -> Result<(), ScenarioError>;

    /// A digest of every table, label, collection, measurement or key space of the cluster that is there now.
    async fn digests(&self) -> Result<Digests, ScenarioError>;

    /// A full backup, by the engine's own means where they are to be had.
    async fn back_up(&self) -> Result<Self::Artifact, ScenarioError>;

    /// Its size.
    fn size(&self, artifact: &Self::Artifact) -> BackupSize;

    /// Plants a defect into the backup.
    async fn sabotage(&self, artifact: &mut Self::Artifact, id: &str) -> Result<(), ScenarioError>;

    /// The nodes of the cluster that is there now: all that [`BackupTarget::destroy`] removes.
    async fn nodes(&self) -> Result<Vec<Node>, ScenarioError>;

    /// Removes the cluster with all its data.
    async fn destroy(&self) -> Result<(), ScenarioError>;

    /// Starts a new, separate cluster with new credentials from the backup and puts it into the platform.
    /// An error that [`ScenarioError::is_of_the_database`] is a finding, any other one leaves the clause undecided.
    async fn restore(&self, trial: &Trial, artifact: Self::Artifact) -> Result<(), ScenarioError>;

    /// Tries what the restored cluster must refuse (old password, no password, plaintext) and accept (new password over TLS).
    async fn enforcement(&self) -> Result<Vec<Enforcement>, ScenarioError>;
}
