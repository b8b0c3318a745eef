//! What a database has to tell the driver.

use std::time::Duration;

use async_trait::async_trait;
use dora_harness::{security::Identity, topology::Node};

use crate::{ScenarioError, security::Listener};

/// One step of putting files in place.
const STEP_LIMIT: Duration = Duration::from_secs(15);

/// A database whose certificates are rotated.
#[async_trait]
pub trait CertificateTarget: Send + Sync {
    /// The nodes, in the order in which they are rotated.
    fn nodes(&self) -> Vec<Node>;

    /// Every listener of every node that presents the node's certificate.
    fn listeners(&self) -> Vec<Listener>;

    /// Connects anew on the application's path with the real client, which verifies the whole chain up to the run's root, and asks for
    /// something small. The error is the client's own.
    async fn request(&self) -> Result<(), String>;

    /// Makes a running node take up the files that were put in place, without a restart.
    async fn take_up(&self, node: &Node) -> Result<(), ScenarioError>;

    /// Further probes of this database once its nodes have the new certificates; what they find is in the trial.
    async fn further(&self) -> Result<(), ScenarioError> {
        Ok(())
    }
}

/// Puts an identity where the node's start script and configuration look for it. Nobody sees half of it: each file is moved in place whole.
///
/// # Errors
/// Any error of the engine.
pub async fn install(node: &Node, identity: &Identity) -> Result<(), ScenarioError> {
    let pem = format!("{}{}", identity.certificate, identity.key);
    let files: [(&str, &str, u32); 3] =
        [("node.crt", &identity.certificate, 0o644), ("node.key", &identity.key, 0o600), ("node.pem", &pem, 0o600)];
    let staged: Vec<(String, &[u8], u32)> =
        files.iter().map(|(name, text, mode)| (format!("{name}.new"), text.as_bytes(), *mode)).collect();
    let entries: Vec<(&str, &[u8], u32)> = staged.iter().map(|(name, content, mode)| (name.as_str(), *content, *mode)).collect();
    node.put_files("/dora/tls", &entries).await?;
    for (name, _, _) in files {
        let (from, to) = (format!("/dora/tls/{name}.new"), format!("/dora/tls/{name}"));
        node.exec_as_root(&["chown", "--reference=/dora/tls", &from], &[], STEP_LIMIT).await?;
        node.exec_as_root(&["mv", &from, &to], &[], STEP_LIMIT).await?;
    }
    Ok(())
}
