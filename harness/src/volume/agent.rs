//! The agent in a pod that holds its volume's key while databases come and go.

use std::time::Duration;

use dora_fixtures::assets;

use super::{DATA, DataKey, VolumeError};
use crate::{
    engine::{Engine, ExecSpec},
    topology::Node,
};

/// Starting a small program, on a machine where thirty others boot.
const EXEC_LIMIT: Duration = Duration::from_secs(40);

/// Gives a pod its volume's key.
///
/// # Errors
/// [`VolumeError::Agent`] when it holds one already, or any error of the engine.
pub async fn hand_over(node: &Node, key: &DataKey) -> Result<(), VolumeError> {
    start(node.engine(), node.name(), node.holder(), key).await
}

pub(super) async fn start(engine: &Engine, node: &str, holder: &str, key: &DataKey) -> Result<(), VolumeError> {
    let agent = assets::text("config/volume/key-agent.pl")?;
    let limit = crate::patience::stretched(EXEC_LIMIT);
    // The key comes by standard input; the command line has the program only.
    let command = ["perl", "-e", agent, DATA];
    let spec = ExecSpec { node, container: holder, user: "root", command: &command, input: key.reveal().as_bytes(), limit };
    let output = engine.exec(spec).await?;
    if output.code == 0 {
        return Ok(());
    }
    Err(VolumeError::Agent { node: node.to_owned(), reason: format!("{}{}", output.stdout, output.stderr).trim().to_owned() })
}

/// Takes the key away from a pod again: its database runs on, and waits for a key when it is started the next time.
///
/// # Errors
/// [`VolumeError::Agent`] when the pod had none, or any error of the engine.
pub async fn withdraw(node: &Node) -> Result<(), VolumeError> {
    let output = node.exec_in_pod(&["pkill", "-f", &format!("^key-agent {DATA}")], &[], EXEC_LIMIT).await?;
    if output.code == 0 {
        return Ok(());
    }
    Err(VolumeError::Agent { node: node.name().to_owned(), reason: format!("no key was held ({})", output.stderr.trim()) })
}
