//! What the user can set right is answered with what is wrong, with exit code 2, and before anything is started: no engine is asked (the
//! one that these commands are pointed at does not exist), no bundle is begun.

use std::{
    path::Path,
    process::{Command, Output},
};

use tempfile::TempDir;

fn dora(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dora")).args(arguments).current_dir(folder).env("DOCKER_HOST", "tcp://127.0.0.1:9").output().unwrap()
}

/// The command ends with that code and says those words on standard error, and leaves nothing.
#[track_caller]
fn refused(folder: &Path, arguments: &[&str], code: i32, words: &[&str]) {
    let output = dora(folder, arguments);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{arguments:?} does not say {word:?}: {text}");
    }
    assert!(!folder.join("target").exists(), "{arguments:?} began a bundle");
}

#[test]
fn what_does_not_exist_is_wrong_usage_and_the_answer_names_what_does() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    refused(folder, &["conform", "no-such"], 2, &["no scenario matches `no-such`", "ha/postgres/primary-killed"]);
    refused(folder, &["prove", "no-such"], 2, &["no scenario matches `no-such`"]);
    refused(folder, &["conform", "ha/redis", "--sabotage", "no-such"], 2, &["no-such"]);
    refused(folder, &["conform", "--profile", "large"], 2, &["large", "production"]);
    refused(folder, &["conform", "--size", "large"], 2, &["large", "medium"]);
    refused(folder, &["up", "--only", "cassandra"], 2, &["cassandra", "redis"]);
    refused(folder, &["prove", "--part", "8/7"], 2, &["8/7"]);
    refused(folder, &["conform", "--jobs", "0"], 2, &["--jobs"]);
    refused(folder, &["fault", "inject", "gremlins", "--node", "pg1"], 2, &["gremlins"]);
    refused(folder, &["fault", "inject", "kill"], 2, &["--node"]);
    refused(folder, &["fault", "inject", "kill", "--node", "pg1,zone:"], 2, &["zone:", "link:NODE-NODE"]);
    refused(folder, &["fault", "inject", "partition", "--node", "pg1,link:pg2-pg3"], 2, &["a link is aimed at alone"]);
    refused(folder, &["fault", "inject", "kill", "--node", "pg1", "--bridge", "pg2"], 2, &["--bridge"]);
    refused(folder, &["fault", "inject", "bridge", "--node", "pg1", "--peers", "pg2"], 2, &["--bridge"]);
    refused(folder, &["fault", "inject", "bridge", "--node", "pg1", "--bridge", "pg2"], 2, &["--peers"]);
}

#[test]
fn a_file_that_is_none_is_wrong_usage_and_the_answer_says_where() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("broken.toml"), "profile = \"production\"\njobs = many\n").unwrap();
    refused(folder, &["conform", "--config", "broken.toml"], 2, &["broken.toml", "line 2"]);
    std::fs::write(folder.join("unknown.toml"), "speed = 3\n").unwrap();
    refused(folder, &["conform", "--config", "unknown.toml"], 2, &["unknown.toml", "speed"]);
    std::fs::write(folder.join("size.toml"), "size = \"large\"\n").unwrap();
    refused(folder, &["conform", "--config", "size.toml"], 2, &["size.toml", "large", "medium"]);
    refused(folder, &["conform", "--config", "missing.toml"], 2, &["missing.toml"]);
    std::fs::write(folder.join("policy.toml"), "zones = 3\n").unwrap();
    refused(folder, &["conform", "--policy", "policy.toml"], 2, &["policy.toml"]);
}

#[test]
fn what_is_not_there_ends_with_3_and_says_what_to_do() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    for arguments in [["conform", "ha/redis"], ["up", "--only=redis"], ["sweep", "--all"]] {
        refused(folder, &arguments, 3, &["no container engine answers", "bootstrap.sh"]);
    }
    refused(folder, &["report", "show"], 3, &["dora conform"]);
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    // `head` closes the pipe long before the list is at its end.
    let pipe = format!("{} list | head -n 1", env!("CARGO_BIN_EXE_dora"));
    let output = Command::new("bash").args(["-o", "pipefail", "-c", &pipe]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.is_empty(), "{:?}: {text}", output.status.code());
}
