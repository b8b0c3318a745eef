//! Looking for texts in what a node leaves behind: files, logs, processes.

use std::time::Duration;

use dora_fixtures::assets;
use dora_harness::{engine::EngineError, topology::Node, volume::CIPHER_DIR};

use crate::{ScenarioError, Trial};

/// Reading what one node has written, some hundred megabytes at most.
const SEARCH_LIMIT: Duration = Duration::from_secs(60);
/// A small request to a pod.
const POD_LIMIT: Duration = Duration::from_secs(20);
/// Lines of a log that are searched; no node says so much in a scenario.
const LOG_LINES_MAX: usize = 1_000_000;
/// A file that is put into a pod to be found there: folder, name, content.
const LEFT_IN_POD: (&str, &str, &str) = ("/var/tmp", "left-to-be-found", "whoever searches this pod finds this");

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

    /// What two searches of the same found: unread is what neither could read.
    fn and(mut self, other: Self) -> Self {
        let path = |unread: &str| unread.split(": ").next().unwrap_or_default().to_owned();
        let unread: Vec<String> = other.unread.iter().map(|unread| path(unread)).collect();
        self.unread.retain(|here| unread.contains(&path(here)));
        for find in other.finds {
            if !self.finds.contains(&find) {
                self.finds.push(find);
            }
        }
        self.files += other.files;
        self.bytes += other.bytes;
        self
    }

    /// Searches copies of files, whose names start with the last component of the path that they were copied from.
    fn search_copies(&mut self, from: &str, files: &[(String, Vec<u8>)], texts: &[&str]) {
        let folder = from.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (name, content) in files {
            for (number, text) in texts.iter().enumerate() {
                if content.windows(text.len().max(1)).any(|window| window == text.as_bytes()) {
                    self.finds.push((number, format!("{folder}/{name}")));
                }
            }
            self.files += 1;
            self.bytes += content.len() as u64;
        }
    }

    /// Searches one log: of each text the first line that holds it.
    fn search_log(&mut self, whose: &str, lines: Result<Vec<String>, EngineError>, texts: &[&str]) {
        let lines = match lines {
            Ok(lines) if lines.len() < LOG_LINES_MAX => lines,
            Ok(lines) => return self.unread.push(format!("{whose}: it has {} lines or more", lines.len())),
            Err(error) => return self.unread.push(format!("{whose}: {error}")),
        };
        for (number, text) in texts.iter().enumerate() {
            if let Some(at) = lines.iter().position(|line| line.contains(text)) {
                self.finds.push((number, format!("{whose}, line {}", at + 1)));
            }
        }
        self.files += 1;
        self.bytes += lines.iter().map(|line| line.len() as u64 + 1).sum::<u64>();
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

/// A text, and the file in which a search of everything that a node has on a disk finds it: one that does not is blind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// The text.
    pub text: String,
    /// The file's path.
    pub path: String,
}

impl Witness {
    /// Those of a node: in its container's own file system, and in the ciphertext of its volume where it has one.
    pub fn of(node: &Node) -> Result<Vec<Self>, ScenarioError> {
        // The first script of every container.
        let script = assets::text("config/common/run.sh")?;
        let line = script.lines().max_by_key(|line| line.len()).unwrap_or_default();
        let mut witnesses = vec![Self { text: line.to_owned(), path: "/dora/bin/run.sh".into() }];
        if node.protection().is_some() {
            witnesses.push(Self { text: "\"EncryptedKey\"".into(), path: format!("{CIPHER_DIR}/gocryptfs.conf") });
        }
        Ok(witnesses)
    }

    /// The one that [`raw_in_pod`] leaves and removes.
    pub fn in_pod() -> Self {
        let (folder, name, text) = LEFT_IN_POD;
        Self { text: text.into(), path: format!("{folder}/{name}") }
    }
}

/// Everything that the node's container has on a disk since the run began, outside of what the database's user sees through an opened volume.
pub async fn raw(trial: &Trial, node: &Node, texts: &[&str]) -> Result<Found, ScenarioError> {
    search(node, Searcher::Root, &[&age(trial)], texts).await
}

/// Everything that the node's pod has on a disk since the run began; [`Witness::in_pod`] is there as long as it is searched.
pub async fn raw_in_pod(trial: &Trial, node: &Node, texts: &[&str]) -> Result<Found, ScenarioError> {
    let (folder, name, content) = LEFT_IN_POD;
    node.put_files_in_pod(folder, &[(name, content.as_bytes(), 0o600)]).await?;
    let found = search(node, Searcher::Pod, &[&age(trial)], texts).await;
    node.exec_in_pod(&["rm", "-f", &Witness::in_pod().path], &[], POD_LIMIT).await?;
    let mut found = found?;
    // Root of a pod may not enter what belongs to others. The engine may.
    for unread in std::mem::take(&mut found.unread) {
        let path = unread.split(": ").next().unwrap_or_default();
        match node.get_files_in_pod(path).await {
            Ok(files) => found.search_copies(path, &files, texts),
            Err(error) => found.unread.push(format!("{unread}; {error}")),
        }
    }
    Ok(found)
}

/// The age, in whole seconds, of what was changed when the run began, and a little more.
fn age(trial: &Trial) -> String {
    format!("{:.0}", trial.ground().boot().now_ms() / 1e3 + 120.0)
}

/// What the node and its pod have said so far, which the engine keeps on its own disk in the clear.
pub async fn logs(node: &Node, texts: &[&str]) -> Found {
    let mut found = Found::default();
    found.search_log("the container's log", node.logs(LOG_LINES_MAX).await, texts);
    found.search_log("the pod's log", node.logs_of_pod(LOG_LINES_MAX).await, texts);
    found
}

/// What the database's user sees in its data directory.
pub async fn through_the_mount(node: &Node, texts: &[&str]) -> Result<Found, ScenarioError> {
    search(node, Searcher::User, &["0", dora_harness::volume::DATA_DIR], texts).await
}

/// Environments and command lines of the node's processes: its user reads those of the database, root its own.
pub async fn processes(node: &Node, texts: &[&str]) -> Result<Found, ScenarioError> {
    let own = search(node, Searcher::User, &["0", "processes"], texts).await?;
    Ok(own.and(search(node, Searcher::Root, &["0", "processes"], texts).await?))
}

/// Environments and command lines of the processes of the node's pod, where the key's agent lives.
pub async fn processes_of_pod(node: &Node, texts: &[&str]) -> Result<Found, ScenarioError> {
    search(node, Searcher::Pod, &["0", "processes"], texts).await
}

/// Who searches, and where.
#[derive(Clone, Copy)]
enum Searcher {
    /// The database's user, beside the database.
    User,
    /// Root, beside the database.
    Root,
    /// Root, in the pod's holder.
    Pod,
}

async fn search(node: &Node, searcher: Searcher, arguments: &[&str], texts: &[&str]) -> Result<Found, ScenarioError> {
    let mut command = vec!["perl", "-e", assets::text("config/volume/search.pl")?];
    command.extend(arguments);
    let input = texts.join("\n") + "\n";
    let input = input.as_bytes();
    let output = match searcher {
        Searcher::User => node.exec(&command, input, SEARCH_LIMIT).await?,
        Searcher::Root => node.exec_as_root(&command, input, SEARCH_LIMIT).await?,
        Searcher::Pod => node.exec_in_pod(&command, input, SEARCH_LIMIT).await?,
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

    #[test]
    fn what_one_of_two_could_read_is_read() {
        let own = Found::read(
            "found\t0\t/proc/7/cmdline\nunread\t/proc/1/environ\tPermission denied\nunread\t/proc/9/environ\tx\nsearched\t3\t42\n",
        );
        let others = Found::read("found\t0\t/proc/7/cmdline\nunread\t/proc/7/environ\tx\nunread\t/proc/9/environ\ty\nsearched\t2\t8\n");
        let both = own.unwrap().and(others.unwrap());
        assert_eq!(both.unread, ["/proc/9/environ: x"]);
        assert_eq!((both.of(0), both.files, both.bytes), (vec!["/proc/7/cmdline"], 5, 50));
    }

    #[test]
    fn a_log_is_searched_line_by_line_and_one_that_cannot_be_read_is_said() {
        let mut found = Found::default();
        let lines = vec!["started".to_owned(), "insert canary".to_owned(), "insert canary".to_owned()];
        found.search_log("the log", Ok(lines), &["canary", "key"]);
        assert_eq!((found.of(0), found.of(1).len(), found.files), (vec!["the log, line 2"], 0, 1));
        found.search_log("the pod's log", Err(EngineError::Gone { what: "read it".into() }), &["canary"]);
        assert_eq!(found.unread.len(), 1);
    }

    #[test]
    fn copies_are_searched_as_bytes() {
        let mut found = Found::default();
        let files = vec![("partial/a".to_owned(), b"\xffcanary\xff".to_vec()), ("partial/b".to_owned(), Vec::new())];
        found.search_copies("/var/cache/partial", &files, &["key", "canary"]);
        assert_eq!((found.finds, found.files, found.bytes), (vec![(1, "/var/cache/partial/a".to_owned())], 2, 8));
    }

    #[test]
    fn the_search_has_a_line_to_find_on_every_node() {
        let script = assets::text("config/common/run.sh").unwrap();
        assert!(script.lines().any(|line| line.len() > 40));
    }
}
