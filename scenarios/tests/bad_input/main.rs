//! What the user can set right is answered with what is wrong, with exit code 2, and before anything is started: no engine is asked (the
//! one that these commands are pointed at does not exist), no bundle is begun. What goes wrong in the middle ends with 3, says what to do, and
//! leaves nothing on the engine; the tests of that which need a real engine fail with one line where there is none.

mod engines;

use std::{
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use dora_harness::engine::{Engine, RunId};
use tempfile::TempDir;
use tokio::{
    sync::{Mutex, MutexGuard},
    time::timeout,
};

use self::engines::{Answer, Requests};

/// Nobody answers there.
const NOWHERE: &str = "tcp://127.0.0.1:9";
/// A small platform on the engine of the tests.
const UP: [&str; 5] = ["up", "--profile", "development", "--only", "redis"];
/// It may have to build two images first.
const UP_LIMIT: Duration = Duration::from_secs(600);
/// What starts nothing.
const LIMIT: Duration = Duration::from_secs(60);

fn dora(folder: &Path, arguments: &[&str], engine: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dora"));
    command.args(arguments).current_dir(folder).env("DOCKER_HOST", engine);
    command
}

/// On the engine of the tests; no file that it writes finds room.
fn dora_without_room(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    // The signal would end it before it can say why.
    command.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_dora")]);
    command.args(arguments).current_dir(folder);
    command
}

async fn ended(command: Command, limit: Duration) -> Output {
    let mut command = tokio::process::Command::from(command);
    let output = command.kill_on_drop(true).output();
    timeout(limit, output).await.expect("it ends in time").expect("it can be started")
}

/// Waits for a request with that word.
async fn asked_for(requests: &mut Requests, word: &str) {
    let seen = async { while requests.recv().await.is_some_and(|request| !request.contains(word)) {} };
    timeout(LIMIT, seen).await.expect("it is asked for in time");
}

/// The command has ended with that code and said those words on standard error.
#[track_caller]
fn said(output: &Output, arguments: &[&str], code: i32, words: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{arguments:?} does not say {word:?}: {text}");
    }
}

/// As [`said`], without an engine; and it leaves nothing.
#[track_caller]
fn refused(folder: &Path, arguments: &[&str], code: i32, words: &[&str]) {
    said(&dora(folder, arguments, NOWHERE).output().unwrap(), arguments, code, words);
    assert!(!folder.join("target").exists(), "{arguments:?} began a bundle");
}

/// The engine of the tests, for one of them at a time: where an image is missing, they would all build it.
async fn real_engine() -> (Engine, MutexGuard<'static, ()>) {
    static TURN: Mutex<()> = Mutex::const_new(());
    let turn = TURN.lock().await;
    (Engine::connect().await.unwrap_or_else(|error| panic!("{error}")), turn)
}

/// The engine holds nothing of that run.
async fn is_gone(engine: &Engine, run: &str) {
    let run: RunId = run.parse().unwrap();
    let left = engine.leftovers(&run).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_does_not_exist_is_wrong_usage_and_the_answer_names_what_does() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    refused(folder, &["conform", "no-such"], 2, &["no scenario matches `no-such`", "ha/postgres/primary-killed"]);
    refused(folder, &["prove", "no-such"], 2, &["no scenario matches `no-such`"]);
    refused(folder, &["list", "no-such"], 2, &["no scenario matches `no-such`"]);
    refused(folder, &["conform", "ha/redis", "--sabotage", "no-such"], 2, &["no-such"]);
    refused(folder, &["conform", "--profile", "large"], 2, &["large", "production"]);
    refused(folder, &["conform", "--size", "large"], 2, &["large", "medium"]);
    refused(folder, &["up", "--only", "cassandra"], 2, &["cassandra", "redis"]);
    refused(folder, &["prove", "--part", "8/7"], 2, &["8/7"]);
    for command in ["conform", "prove", "up", "images"] {
        refused(folder, &[command, "--image", "nosuch=x:1"], 2, &["no image called `nosuch`", "neo4j-cluster, neo4j-community"]);
        refused(folder, &[command, "--image", "toolbox=x:1"], 2, &["`toolbox` cannot be replaced"]);
        refused(folder, &[command, "--image", "firewall=x:1"], 2, &["`firewall` cannot be replaced"]);
    }
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
    for (line, word) in [("jobs = 65", "jobs"), ("sustain_s = 0", "sustain_s")] {
        std::fs::write(folder.join("range.toml"), line).unwrap();
        refused(folder, &["conform", "--config", "range.toml"], 2, &["range.toml", word, "from 1 to"]);
    }
    std::fs::write(folder.join("size.toml"), "size = \"large\"\n").unwrap();
    refused(folder, &["conform", "--config", "size.toml"], 2, &["size.toml", "large", "medium"]);
    std::fs::write(folder.join("images.toml"), "[images]\nnosuch = \"x:1\"\n").unwrap();
    refused(folder, &["conform", "--config", "images.toml"], 2, &["no image called `nosuch`", "redis"]);
    refused(folder, &["conform", "--config", "missing.toml"], 2, &["missing.toml"]);
    std::fs::write(folder.join("policy.toml"), "zones = 3\n").unwrap();
    refused(folder, &["conform", "--policy", "policy.toml"], 2, &["policy.toml"]);
}

#[test]
fn a_configuration_that_is_there_and_cannot_be_read_is_not_passed_over() {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("dora.toml")).unwrap();
    refused(folder.path(), &["conform", "ha/redis"], 2, &["dora.toml is not usable"]);
}

#[test]
fn patience_that_is_no_factor_is_wrong_usage() {
    let folder = TempDir::new().unwrap();
    let arguments = ["conform", "ha/redis"];
    for patience in ["abc", "", "0", "21", "NaN"] {
        let output = dora(folder.path(), &arguments, NOWHERE).env("DORA_PATIENCE", patience).output().unwrap();
        said(&output, &arguments, 2, &["DORA_PATIENCE", &format!("`{patience}`"), "from 0.1 to 20"]);
    }
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

/// Two steps of a build that went well.
const STEPS: &str = "{\"stream\":\"Step 1/9 : ARG BASE\\n\"}\n{\"stream\":\"Step 3/9 : RUN apt-get update\\n\"}\n";

#[tokio::test]
async fn a_build_that_fails_says_why_and_what_to_do() {
    let cases: [(Answer, &[&str]); 4] = [
        (
            Answer::Whole(concat!(
                "{\"stream\":\"Step 3/9 : RUN apt-get update\\n\"}\n{\"stream\":\"E: Unable to connect to a mirror\\n\"}\n",
                "{\"errorDetail\":{\"message\":\"'apt-get update' returned 100: no connection\"}}\n"
            )),
            &[
                "build image base",
                "returned 100",
                "E: Unable to connect to a mirror",
                "mend the cause named above, then `dora images --build`",
            ],
        ),
        (
            Answer::Whole("{\"errorDetail\":{\"message\":\"write /layer: no space left on device\"}}\n"),
            &["disk is full", "build image base", "docker image prune"],
        ),
        (
            Answer::Whole("{\"stream\":\"Step 2/9 : FROM\\n\"}\n{\"errorDetail\":{\"message\":\"pull access denied\"}}\n"),
            &["base image debian:trixie-slim", "sh bootstrap.sh images"],
        ),
        (Answer::Broken(STEPS), &["the engine went away", "build image base"]),
    ];
    for (build, words) in cases {
        let folder = TempDir::new().unwrap();
        let (engine, _requests) = engines::speaking(folder.path(), move |request| {
            if request.contains("/build?") {
                build
            } else if request.contains("/images/") {
                Answer::Missing
            } else {
                Answer::Whole("{}")
            }
        });
        let arguments = ["images", "--build"];
        said(&ended(dora(folder.path(), &arguments, &engine), LIMIT).await, &arguments, 3, words);
    }
}

#[tokio::test]
async fn an_engine_that_goes_away_in_the_middle_ends_the_run_and_nothing_stays() {
    let (engine, _turn) = real_engine().await;
    let folder = TempDir::new().unwrap();
    let (way, mut cut) = engines::cut_at("-pod", folder.path(), Duration::from_secs(3));
    let output = ended(dora(folder.path(), &UP, &way), UP_LIMIT).await;
    said(&output, &UP, 3, &["the engine went away while it was asked to", "`dora sweep`"]);
    let request = cut.try_recv().expect("it was cut off when it made a pod");
    // …?name=dora-DAY-TIME-CHANCE-NODE-pod
    let name = request.split_once("name=dora-").expect("a pod has a name").1;
    is_gone(&engine, &name.split('-').take(3).collect::<Vec<_>>().join("-")).await;
}

#[tokio::test]
async fn a_node_that_is_not_there_cannot_be_equipped() {
    let (_engine, _turn) = real_engine().await;
    let folder = TempDir::new().unwrap();
    let arguments = [&UP[..], &["--equip", "nosuch=disk:64"]].concat();
    let mut command = Command::new(env!("CARGO_BIN_EXE_dora"));
    command.args(&arguments).current_dir(folder.path());
    said(&ended(command, UP_LIMIT).await, &arguments, 2, &["no node called `nosuch`", "known are: rds1"]);
}

#[tokio::test]
async fn a_second_interruption_does_not_wait_for_the_removal() {
    let folder = TempDir::new().unwrap();
    // It makes no network and lists nothing, so the start hangs, and so does the removal: the reaper gives up after two minutes.
    let (engine, mut requests) = engines::speaking(folder.path(), |request| {
        let hangs = ["/networks/create", "/containers/json"].iter().any(|word| request.contains(word));
        if hangs { Answer::Silence } else { Answer::Whole("{}") }
    });
    let mut command = tokio::process::Command::from(dora(folder.path(), &UP, &engine));
    let process = command.stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let id = process.id().expect("it hangs").to_string();
    for moment in ["/networks/create", "/containers/json"] {
        asked_for(&mut requests, moment).await;
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    }
    let output = timeout(LIMIT, process.wait_with_output()).await.expect("it does not wait for the reaper").unwrap();
    said(&output, &UP, 130, &["still being removed", "`dora sweep`"]);
}

#[tokio::test]
async fn a_bundle_that_finds_no_room_ends_a_run_before_anything_is_started() {
    let folder = TempDir::new().unwrap();
    let (engine, mut requests) = engines::speaking(folder.path(), |_| Answer::Whole("{}"));
    let arguments = ["conform", "ha/redis"];
    let mut command = dora_without_room(folder.path(), &arguments);
    command.env("DOCKER_HOST", engine);
    said(&ended(command, LIMIT).await, &arguments, 3, &["cannot write", "target/dora", "Check the free space"]);
    while let Ok(request) = requests.try_recv() {
        assert!(request.contains("/_ping") || request.contains("/info"), "{request}");
    }
}

#[tokio::test]
async fn a_platform_whose_secrets_find_no_room_is_removed_again() {
    let (engine, _turn) = real_engine().await;
    let folder = TempDir::new().unwrap();
    said(&ended(dora_without_room(folder.path(), &UP), UP_LIMIT).await, &UP, 3, &["failed to write", "ca.crt", "make room there"]);
    let run = std::fs::read_dir(folder.path().join("target/dora")).unwrap().next().expect("its folder could be made").unwrap();
    is_gone(&engine, &run.file_name().to_string_lossy()).await;
}
