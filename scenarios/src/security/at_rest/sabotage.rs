//! Defects that can be planted on any database's node.

use std::time::Duration;

use dora_fixtures::assets;
use dora_harness::{
    patience::within,
    platform::all_healthy,
    topology::Node,
    volume::{CIPHER_DIR, DATA_DIR, DataKey},
};

use crate::{Sabotage, ScenarioError, Trial};

/// The data directory of one node lies on a plain volume.
pub const PLAIN_DIRECTORY: Sabotage = Sabotage {
    id: "plain-directory",
    what: "the data directory of one node is moved to a plain directory of the same volume, on which the node runs on",
    expects: "volume-not-encrypted",
};
/// The data directory of one node is encrypted with something else.
pub const ANOTHER_CIPHER: Sabotage = Sabotage {
    id: "another-cipher",
    what: "the data directory of one node is moved to a volume that is encrypted, but not with AES",
    expects: "cipher-not-aes-256",
};
/// A key lies on a disk.
pub const KEY_ON_DISK: Sabotage =
    Sabotage { id: "key-on-disk", what: "one node keeps its key in a file beside the database", expects: "key-on-disk" };
/// A copy lies beside the volume.
pub const COPY_BESIDE: Sabotage =
    Sabotage { id: "copy-beside", what: "one node keeps a copy of its data outside of the volume", expects: "canary-in-the-clear" };
/// A part of the data lies outside of the volume.
pub const PART_OUTSIDE: Sabotage = Sabotage {
    id: "part-outside",
    what: "a directory of one node's data (its log, where it has one) lies outside of the volume and is linked",
    expects: "canary-in-the-clear",
};
/// Another node's key opens the volume.
pub const ANOTHERS_KEY: Sabotage =
    Sabotage { id: "anothers-key", what: "the volume of one node is locked with the key of another", expects: "wrong-key-accepted" };
/// The server beside the platform has a plain volume.
pub const ALONE_IN_THE_CLEAR: Sabotage = Sabotage {
    id: "alone-in-the-clear",
    what: "the server that is killed and starved of its key has a plain volume",
    expects: "serves-without-key",
};

/// The name of a defect of each database's own: the server beside the platform forgets what it acknowledged.
pub const FORGETFUL: &str = "forgetful";

/// Where a key and a copy are left, in the container's own file system.
const STRAY_KEY: &str = "/var/tmp/volume.key";
const STRAY_COPY: &str = "/var/tmp/copy-of-the-data";
/// The line of every start script after which a spoiled one moves a part of the data.
const AS_IT_IS: &str = "set -eu\n";
const SPOILED: &str = "set -eu\nsh /dora/bin/move-part.sh\n";
const EXEC_LIMIT: Duration = Duration::from_secs(60);
/// A node that is asked to stop is killed after this time.
const STOP_GRACE: Duration = Duration::from_secs(20);
/// A restarted node has its role again by then.
const RETURN_LIMIT: Duration = Duration::from_secs(90);

/// Plants a defect before the canary is written, where it is one of the platform's.
pub async fn plant(trial: &Trial, node: &Node, part: Option<&str>, id: &str) -> Result<(), ScenarioError> {
    match id {
        _ if id == PLAIN_DIRECTORY.id => move_data(trial, node, "plain").await?,
        _ if id == ANOTHER_CIPHER.id => move_data(trial, node, "xchacha").await?,
        _ if id == KEY_ON_DISK.id => {
            let key = trial.ground().volumes().key(node.name()).await.map_err(dora_harness::topology::GroundError::from)?;
            let command = format!("umask 077; cat > {STRAY_KEY}");
            node.exec_ok(&["sh", "-c", &command], key.reveal().as_bytes(), EXEC_LIMIT).await?;
        }
        _ if id == ANOTHERS_KEY.id => change_key(trial, node, true).await?,
        _ if id == PART_OUTSIDE.id => {
            let mover = assets::bytes("config/volume/sabotage/move-part.sh")?;
            node.put_files("/dora/bin", &[("move-part.sh", mover, 0o755)]).await?;
            node.edit_file("/dora/bin/start.sh", AS_IT_IS, SPOILED).await?;
            move_part(trial, node, "out", part).await?;
        }
        // The canary has to be there first, or it is the server beside the platform that is spoiled.
        _ => {}
    }
    Ok(())
}

async fn move_part(trial: &Trial, node: &Node, way: &str, part: Option<&str>) -> Result<(), ScenarioError> {
    let part = part.ok_or_else(|| ScenarioError::Missing("no directory of this database can lie elsewhere".into()))?;
    node.put_files("/dora/config", &[("moved-part", format!("{way} {part}\n").as_bytes(), 0o644)]).await?;
    restart(trial, node).await
}

/// Plants what needs the canary to be there.
pub async fn plant_afterwards(node: &Node, id: &str) -> Result<(), ScenarioError> {
    if id == COPY_BESIDE.id {
        // Files that the database is renaming or removing right now are left out.
        let command = format!("umask 077; mkdir -p {STRAY_COPY}; cp -r {DATA_DIR}/. {STRAY_COPY}/ 2>/dev/null || true");
        node.exec_ok(&["sh", "-c", &command], &[], EXEC_LIMIT).await?;
    }
    Ok(())
}

/// Ends what was planted.
pub async fn undo(trial: &Trial, node: &Node, part: Option<&str>, id: &str) -> Result<(), ScenarioError> {
    match id {
        _ if id == PLAIN_DIRECTORY.id || id == ANOTHER_CIPHER.id => move_back(trial, node).await,
        _ if id == ANOTHERS_KEY.id => change_key(trial, node, false).await,
        _ if id == PART_OUTSIDE.id => {
            move_part(trial, node, "back", part).await?;
            Ok(node.edit_file("/dora/bin/start.sh", SPOILED, AS_IT_IS).await?)
        }
        _ => {
            node.exec_ok(&["rm", "-rf", STRAY_KEY, STRAY_COPY], &[], EXEC_LIMIT).await?;
            Ok(())
        }
    }
}

async fn move_data(trial: &Trial, node: &Node, kind: &str) -> Result<(), ScenarioError> {
    let mover = assets::bytes("config/volume/sabotage/copy-into.sh")?;
    let own = node.get_files("/dora/bin/open-volume.sh").await?;
    let own = own.first().map(|(_, content)| content.clone()).unwrap_or_default();
    node.put_files("/dora/bin", &[("open-own-volume.sh", own.as_slice(), 0o755), ("open-volume.sh", mover, 0o755)]).await?;
    node.put_files("/dora/config", &[("volume-kind", kind.as_bytes(), 0o644)]).await?;
    restart(trial, node).await
}

async fn move_back(trial: &Trial, node: &Node) -> Result<(), ScenarioError> {
    node.put_files("/dora/config", &[("volume-kind", b"back", 0o644)]).await?;
    restart(trial, node).await?;
    let own = node.get_files("/dora/bin/open-own-volume.sh").await?;
    let own = own.first().map(|(_, content)| content.clone()).unwrap_or_default();
    node.put_files("/dora/bin", &[("open-volume.sh", own.as_slice(), 0o755)]).await?;
    Ok(())
}

/// Stops a node, starts it again and waits until its whole part is healthy.
pub async fn restart(trial: &Trial, node: &Node) -> Result<(), ScenarioError> {
    node.stop(STOP_GRACE).await?;
    node.start().await?;
    for member in trial.scenario.members() {
        within("a healthy part after a restart", RETURN_LIMIT, Duration::from_millis(500), || async {
            all_healthy(&trial.platform().part_health(*member).await)
        })
        .await?;
    }
    Ok(())
}

/// The key of somebody else: of another node that has one, or of nobody.
pub async fn foreign_key(trial: &Trial, node: &Node) -> Result<DataKey, ScenarioError> {
    let others = trial.ground().nodes();
    let other = others.iter().find(|other| other.name() != node.name() && other.protection().is_some());
    let name = other.map_or("nobody", Node::name);
    Ok(trial.ground().volumes().key(name).await.map_err(dora_harness::topology::GroundError::from)?)
}

async fn change_key(trial: &Trial, node: &Node, to_foreign: bool) -> Result<(), ScenarioError> {
    let own = trial.ground().volumes().key(node.name()).await.map_err(dora_harness::topology::GroundError::from)?;
    let foreign = foreign_key(trial, node).await?;
    let (from, to) = if to_foreign { (own, foreign) } else { (foreign, own) };
    let input = format!("{}\n{}\n", from.reveal(), to.reveal());
    node.exec_ok(&["gocryptfs", "-q", "-nosyslog", "-passwd", "-scryptn", "10", CIPHER_DIR], input.as_bytes(), EXEC_LIMIT).await?;
    Ok(())
}
