//! Full backups with pgBackRest.

use std::time::Duration;

use super::PostgresCluster;
use crate::{engine::EngineError, security::Secret, topology::GroundError};

/// Where a server keeps its repository.
const REPOSITORY: &str = "/dora/backup";
/// For a backup of some hundred megabytes.
const BACKUP_LIMIT: Duration = Duration::from_mins(2);

/// A copy of a backup repository: encrypted files, and the passphrase that opens them.
#[derive(Debug, Clone)]
pub struct Repository {
    /// Path within the repository, content.
    pub files: Vec<(String, Vec<u8>)>,
    /// Its passphrase.
    pub passphrase: Secret,
}

impl Repository {
    /// How many bytes it has.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, content)| content.len() as u64).sum()
    }
}

impl PostgresCluster {
    /// Takes a full backup on the primary and carries the repository out of the cluster.
    ///
    /// # Errors
    /// [`GroundError::Database`] with pgBackRest's words.
    pub async fn back_up(&self) -> Result<Repository, GroundError> {
        let failed = |reason: String| GroundError::database("postgres", reason);
        let primary = self.primary().await.map_err(failed)?;
        let command = |what: &'static [&'static str]| {
            let mut words = vec!["pgbackrest", "--config=/dora/config/pgbackrest.conf", "--stanza=dora"];
            words.extend(what);
            words
        };
        // Idempotent; a server that has just become primary may not have archived anything yet.
        primary.exec_ok(&command(&["stanza-create"]), &[], BACKUP_LIMIT).await?;
        primary.exec_ok(&command(&["--type=full", "backup"]), &[], BACKUP_LIMIT).await?;
        let files = primary.get_files(REPOSITORY).await?;
        // An archive's paths start with the folder's own name.
        let files = files
            .into_iter()
            .map(|(path, content)| (path.strip_prefix("backup/").unwrap_or(&path).to_owned(), content))
            .collect::<Vec<_>>();
        if files.is_empty() {
            return Err(EngineError::Exec {
                node: primary.name().to_owned(),
                command: "pgbackrest backup".to_owned(),
                code: 0,
                output: "the repository is empty".to_owned(),
            }
            .into());
        }
        Ok(Repository { files, passphrase: self.credentials.backup.clone() })
    }
}
