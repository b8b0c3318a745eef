//! Looking for texts in a node's files.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dora_fixtures::assets;
use dora_harness::topology::Node;

use crate::{ScenarioError, Trial};

/// Reading what one node has written, some hundred megabytes at most.
const SEARCH_LIMIT: Duration = Duration::from_secs(60);

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The number of the text, and the file.
    pub finds: Vec<(usize, String)>,
    /// Files that could not be read, and why.
    pub unread: Vec<String>,
    /// How many files were searched.
    pub files: u64,
    /// How many bytes they hold.
    pub bytes: u64,
}

impl Found {
    /// The files that hold a text.
    pub fn of(&self, text: usize) -> Vec<&str> {
        self.finds.iter().filter(|(number, _)| *number == text).map(|(_, path)| path.as_str()).collect()
    }

    fn read(printed: &str) -> Result<Self, String> {
        let mut found = Self::default();
        let mut is_complete = false;
        for line in printed.lines() {
            match line.split('\t').collect::<Vec<_>>().as_slice() {
                ["found", number, path] => found.finds.push((number.parse().map_err(|_| line.to_owned())?, (*path).to_owned())),
                ["unread", path, why] => found.unread.push(format!("{path}: {why}")),
                ["searched", files, bytes] => {
                    (found.files, found.bytes) = (files.parse().map_err(|_| line.to_owned())?, bytes.parse().map_err(|_| line.to_owned())?);
                    is_complete = true;
                }
                _ => return Err(format!("the search printed `{line}`")),
            }
        }
        if is_complete { Ok(found) } else { Err("the search did not come to its end".into()) }
    }
}

/// Everything that the node has on a disk since the run began, outside of what the database's user sees through an opened volume.
pub async fn raw(trial: &Trial, node: &Node, texts: &[&str]) -> Result<Found, ScenarioError> {
    // The clocks of this machine and of the engine's may differ a little.
    let age = Duration::from_secs_f64(trial.ground().boot().now_ms() / 1e3) + Duration::from_secs(120);
    let since = SystemTime::now().checked_sub(age).and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    search(node, true, &[&since.as_secs().to_string()], texts).await
}

/// What the database's user sees in its data directory.
pub async fn through_the_mount(node: &Node, texts: &[&str]) -> Result<Found, ScenarioError> {
    search(node, false, &["0", dora_harness::volume::DATA_DIR], texts).await
}

/// Environments and command lines of the node's processes.
pub async fn processes(node: &Node, texts: &[&str]) -> Result<Found, ScenarioError> {
    search(node, false, &["0", "processes"], texts).await
}

async fn search(node: &Node, as_root: bool, arguments: &[&str], texts: &[&str]) -> Result<Found, ScenarioError> {
    let mut command = vec!["perl", "-e", assets::text("config/volume/search.pl")?];
    command.extend(arguments);
    let input = texts.join("\n") + "\n";
    let output = if as_root {
        node.exec_as_root(&command, input.as_bytes(), SEARCH_LIMIT).await?
    } else {
        node.exec(&command, input.as_bytes(), SEARCH_LIMIT).await?
    };
    let failed = |reason: String| ScenarioError::client(format!("search the files of {}", node.name()), reason);
    if output.code != 0 {
        return Err(failed(output.stderr));
    }
    Found::read(&output.stdout).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_that_was_cut_short_is_no_answer() {
        let found = Found::read("found\t1\t/a b\nunread\t/c\tPermission denied\nsearched\t3\t42\n").unwrap();
        assert_eq!((found.of(0).len(), found.of(1)), (0, vec!["/a b"]));
        assert_eq!((found.files, found.bytes, found.unread.len()), (3, 42, 1));
        assert!(Found::read("found\t1\t/a\n").is_err());
    }
}
