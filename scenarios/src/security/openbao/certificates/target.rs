//! What a database has to tell the driver.

use std::time::Duration;

use async_trait::async_trait;
use dora_fixtures::assets;
use dora_harness::{security::Identity, service::openbao::Pki, topology::Node};

use super::repeat::Repeats;
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

    /// A request that takes longer failed.
    fn request_limit(&self) -> Duration {
        Duration::from_secs(8)
    }

    /// The counters of clients that repeat what was not answered; none where each request is one attempt. Where there are any, the catalogue
    /// limits how many requests may need it, and how long one may take.
    fn repeats(&self) -> Vec<&Repeats> {
        Vec::new()
    }

    /// Comes before the first certificate of each of these authorities, for software to which the root that signed one does not suffice.
    async fn learn_of(&self, _authorities: &[&Pki]) -> Result<(), ScenarioError> {
        Ok(())
    }

    /// Makes a running node take up the files that were put in place: without a restart where its software can do that.
    async fn take_up(&self, node: &Node) -> Result<(), ScenarioError>;

    /// From being told to presenting the new certificate.
    fn take_up_limit(&self) -> Duration {
        Duration::from_secs(20)
    }

    /// Further probes of this database once its nodes have the new certificates; what they find is in the trial.
    async fn further(&self) -> Result<(), ScenarioError> {
        Ok(())
    }
}

/// Puts an identity where the node's start script and configuration look for it. Nobody sees half of it: each file is moved in place whole, and
/// the key's moment is the certificate's.
///
/// # Errors
/// Any error of the engine.
pub async fn install(node: &Node, identity: &Identity) -> Result<(), ScenarioError> {
    let pem = format!("{}{}", identity.certificate, identity.key);
    let files: [(&str, &[u8], u32); 3] = [
        ("node.crt.new", identity.certificate.as_bytes(), 0o644),
        ("node.key.new", identity.key.as_bytes(), 0o600),
        ("node.pem.new", pem.as_bytes(), 0o600),
    ];
    node.put_files("/dora/tls", &files).await?;
    let script = assets::bytes("config/security/put-identity-in-place.sh")?;
    let output = node.exec_as_root(&["sh", "-s"], script, STEP_LIMIT).await?;
    if output.code == 0 {
        return Ok(());
    }
    Err(ScenarioError::client(format!("put {}'s certificate in place", node.name()), output.stderr.trim()))
}
