//! What lies on a node's disk, and what its volume says of itself.

use std::time::Duration;

use dora_fixtures::assets;
use dora_harness::{
    topology::Node,
    volume::{DATA_DIR, DataKey, Metadata},
};

use crate::ScenarioError;

const ASK_LIMIT: Duration = Duration::from_secs(20);

/// What is mounted as a node's data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// Where it comes from: a directory with ciphertext, or a device.
    pub source: String,
    /// The kind of file system.
    pub kind: String,
}

impl Mounted {
    /// The data directory's line of a table of mounts; the last one counts, because it covers those before.
    fn read(mounts: &str) -> Option<Self> {
        let line = mounts.lines().rfind(|line| line.split(' ').nth(1) == Some(DATA_DIR))?;
        let mut words = line.split(' ');
        let (source, kind) = (words.next()?, words.nth(1)?);
        Some(Self { source: source.to_owned(), kind: kind.to_owned() })
    }

    /// Whether it is an opened encrypted directory.
    pub fn is_encrypted(&self) -> bool {
        self.kind == "fuse.gocryptfs"
    }
}

/// What the node's kernel says is mounted there; [`None`] where nothing is.
pub async fn mounted(node: &Node) -> Result<Option<Mounted>, ScenarioError> {
    let mounts = node.exec_ok(&["cat", "/proc/self/mounts"], &[], ASK_LIMIT).await?;
    Ok(Mounted::read(&mounts))
}

/// The metadata of an encrypted directory, read as the engine sees it: from outside, as ciphertext.
pub async fn metadata(node: &Node, directory: &str) -> Result<Result<Metadata, String>, ScenarioError> {
    let files = node.get_files(&format!("{directory}/gocryptfs.conf")).await?;
    let Some((_, content)) = files.first() else { return Ok(Err("there are none".into())) };
    Ok(Metadata::read(content).map_err(|error| error.to_string()))
}

/// What came of trying a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tried {
    /// The directory was opened and could be read.
    Opened,
    /// The key is not the right one, says the provider.
    WrongKey,
    /// Anything else, in its words.
    Otherwise(String),
}

/// The code with which `gocryptfs` refuses a password (manual, "Exit codes").
const WRONG_PASSWORD: &str = "refused with 12:";

/// Tries to open an encrypted directory of the node in another place with a key.
pub async fn try_key(node: &Node, directory: &str, key: &DataKey) -> Result<Tried, ScenarioError> {
    let script = assets::text("config/volume/try-key.sh")?;
    let command = ["sh", "-c", script, "try-key", directory];
    let said = node.exec(&command, format!("{}\n", key.reveal()).as_bytes(), ASK_LIMIT).await?;
    let words = said.stdout.trim();
    Ok(match words {
        "opened" => Tried::Opened,
        _ if words.starts_with(WRONG_PASSWORD) => Tried::WrongKey,
        _ => Tried::Otherwise(format!("{words} {}", said.stderr.trim())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_covers_the_directory_counts() {
        let mounts = "overlay / overlay rw 0 0\n/dev/vda /dora/data ext4 rw 0 0\n/dora/cipher /dora/data fuse.gocryptfs rw 0 0\n/dev/vda /dora/data2 ext4 rw 0 0\n";
        let mounted = Mounted::read(mounts).unwrap();
        assert_eq!(mounted, Mounted { source: "/dora/cipher".into(), kind: "fuse.gocryptfs".into() });
        assert!(mounted.is_encrypted());
        assert!(!Mounted::read("/dev/vda /dora/data ext4 rw 0 0\n").unwrap().is_encrypted());
        assert_eq!(Mounted::read("overlay / overlay rw 0 0\n"), None);
    }
}
