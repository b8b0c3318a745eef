//! Goal: any file is read as a history or refused with its line, never with a panic. Method: histories in each form and with each fault; and
//! a million of damaged ones (`DORA_FUZZ_RUNS=1000000 cargo test --release -p dora-harness --test reading_histories`), each made from the number of its run.

use std::{panic::catch_unwind, time::Duration};

use dora_harness::{
    check::{Level, Model, judge_within},
    history::{History, LineFault, Outcome, ReadError, Recorder, read_bytes, read_file},
};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

const JSON: &str = r#"{"index":0,"time":10,"process":0,"type":"invoke","f":"txn","value":[["append",0,1],["r",0,null]]}
{"index":1,"time":11,"process":"nemesis","type":"info","f":"kill","value":null}
{"index":2,"time":12,"process":1,"type":"invoke","f":"txn","value":[["r",0,null]]}
{"index":3,"time":13,"process":0,"type":"ok","f":"txn","value":[["append",0,1],["r",0,[1]]]}
{"index":4,"time":14,"process":1,"type":"info","f":"txn","value":[["r",0,null]],"error":"time-out"}
"#;

const EDN: &str = r#"{:index 0, :time 10, :process 0, :type :invoke, :f :txn, :value [[:append 0 1] [:r 0 nil]]}
{:index 1, :time 11, :process :nemesis, :type :info, :f :kill, :value nil}
{:index 2, :time 12, :process 1, :type :invoke, :f :txn, :value [[:r 0 nil]]}
#jepsen.history.Op{:index 3, :time 13, :process 0, :type :ok, :f :txn, :value [[:append 0 1] [:r 0 [1]]]}
{:index 4, :time 14, :process 1, :type :info, :f :txn, :value [[:r 0 nil]], :error "time-out"}
"#;

fn as_list(lines: &str, comma: &str) -> String {
    format!("[{}]\n", lines.trim_end().replace('\n', &format!("{comma}\n")))
}

#[test]
fn all_forms_say_the_same() {
    let read = read_bytes(JSON.as_bytes()).unwrap();
    assert_eq!((read.operations.len(), read.events, read.skipped), (2, 4, 1));
    assert_eq!(read.operations[0].returned, json!([["append", 0, 1], ["r", 0, [1]]]));
    assert_eq!(read.operations[1].outcome, Outcome::Unknown("time-out".into()));
    for other in [EDN.to_owned(), as_list(JSON, ","), as_list(EDN, ""), format!("\n; a comment\n{EDN}\n\n")] {
        let other_read = read_bytes(other.as_bytes()).unwrap();
        let told = |read: &History| (read.operations.clone(), read.events, read.skipped);
        assert_eq!(told(&other_read), told(&read), "{other}");
    }
    assert_eq!(judge_within(Model::ListAppend(Level::StrictSerializable), &read.operations, Duration::from_secs(1)).operations, 2);
}

#[test]
fn what_the_recorder_wrote_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("h.jsonl");
    let recorder = Recorder::new(std::time::Instant::now(), Some(&path)).unwrap();
    for value in 0..100_u32 {
        recorder.invoke(value, "cas", &json!([0, [value, null]]));
        if value % 3 > 0 {
            let outcome = if value % 3 == 1 { Outcome::Ok } else { Outcome::Fail("refused \"so\"".into()) };
            recorder.complete(value, "cas", &json!([0, [value, 1.5]]), &outcome);
        }
    }
    recorder.flush().unwrap();
    let read = read_file(&path).unwrap();
    assert_eq!(read.operations, recorder.operations().unwrap());
    assert_eq!(read.skipped, 0);
}

/// The line and the fault of a history that must be refused.
fn refused(text: &str) -> (u64, LineFault) {
    match read_bytes(text.as_bytes()) {
        Err(ReadError::Line { line, fault }) => (line, fault),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn each_fault_is_told_with_its_line() {
    let with = |from: &str, to: &str| {
        let json = JSON.replace(from, to);
        assert_ne!(json, JSON);
        [refused(&json), refused(&as_list(&json, ","))]
    };
    for (line, fault) in with(r#""time":13"#, r#""time":9"#) {
        assert_eq!((line, fault), (4, LineFault::UnorderedTime { time: 9, before: 12 }));
    }
    for (line, fault) in with(r#""index":3"#, r#""index":2"#) {
        assert_eq!((line, fault), (4, LineFault::DuplicateIndex { index: 2, before: 2 }));
    }
    for (line, fault) in with(r#"13,"process":0"#, r#"13,"process":7"#) {
        assert_eq!((line, fault), (4, LineFault::NeverInvoked(7)));
    }
    for (line, fault) in with(r#"12,"process":1"#, r#"12,"process":0"#) {
        assert_eq!((line, fault), (3, LineFault::InvokesTwice { process: 0, open: 0 }));
    }
    for (line, fault) in with(r#""ok""#, r#""okay""#) {
        assert_eq!((line, fault), (4, LineFault::UnknownType("okay".into())));
    }
    for (line, fault) in with(r#""ok","f":"txn""#, r#""ok","f":"read""#) {
        assert_eq!((line, fault), (4, LineFault::OtherOperation { process: 0, f: "read".into(), invoked: "txn".into() }));
    }
    for (line, fault) in with(r#"{"index":2"#, r#"{"index":"2""#)
        .into_iter()
        .chain(with(r#""process":1,"#, r#""process":-1,"#))
        .chain(with(r#""f":"txn","#, ""))
    {
        assert!(line > 0 && matches!(fault, LineFault::Malformed(_)), "{line} {fault:?}");
    }
    assert_eq!(refused(&EDN.replace(":time 13", ":time 9")), (4, LineFault::UnorderedTime { time: 9, before: 12 }));
    assert_eq!(refused(&as_list(&EDN.replace(":type :ok", ":type :okay"), "")), (4, LineFault::UnknownType("okay".into())));
    assert_eq!(refused(&EDN.replace("[:r 0 [1]]", "[:r 0 [1}")).0, 4);
    assert_eq!(refused(&as_list(&EDN.replace("[:r 0 [1]]", "[:r 0 [1}"), "")).0, 4);
    assert_eq!(refused(&JSON.replace(r#""time":11,"#, "")), (2, LineFault::Malformed("either all lines have a time or none has".into())));
    assert!(matches!(read_file(std::path::Path::new("/no/such/file")), Err(ReadError::File { .. })));
}

#[test]
fn a_history_without_times_has_those_of_its_lines() {
    let untimed: String = JSON.lines().map(|line| line.replace(r#""time":1"#, r#""at":1"#) + "\n").collect();
    assert_eq!(read_bytes(untimed.as_bytes()).unwrap().operations[0].completed, Some(3));
}

/// Words that histories are made of, and some that they should not have.
const WORDS: [&str; 40] = [
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "#{",
    "#a ",
    "#inst ",
    "\"",
    "\\",
    "\\u",
    "\\\"",
    ":",
    ",",
    ";",
    "\n",
    " ",
    "nil",
    "null",
    "true",
    "-1",
    "0",
    "1e999",
    "NaN",
    "1/2",
    "18446744073709551616",
    "\"index\":",
    "\"time\":",
    ":index ",
    ":time ",
    ":process ",
    "\"process\":",
    ":type :ok",
    ":type :invoke",
    "\"f\":",
    ":f :read",
    ":value ",
    "\u{e9}",
    "\u{0}",
];

/// A damaged history, or a heap of words.
fn damaged(run: u64) -> Vec<u8> {
    let mut random = ChaCha8Rng::seed_from_u64(run);
    if random.random_range(0..4) == 0 {
        return (0..random.random_range(0..60)).map(|_| WORDS[random.random_range(0..WORDS.len())]).collect::<String>().into_bytes();
    }
    let mut bytes = [JSON.to_owned(), EDN.to_owned(), as_list(JSON, ","), as_list(EDN, "")][random.random_range(0..4)].clone().into_bytes();
    for _ in 0..random.random_range(1..5) {
        let (from, length) = (random.random_range(0..bytes.len()), random.random_range(0..30_usize));
        let until = (from + length).min(bytes.len());
        match random.random_range(0..5) {
            0 => bytes[from] = random.random_range(0..=255),
            1 => drop(bytes.drain(from..until)),
            2 => {
                let copied = bytes[from..until].to_vec();
                let to = random.random_range(0..bytes.len());
                bytes.splice(to..to, copied);
            }
            3 => drop(bytes.splice(from..from, WORDS[random.random_range(0..WORDS.len())].bytes())),
            _ => drop(bytes.splice(from..until, random.random_range(0..100_u32).to_string().into_bytes())),
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

#[test]
fn no_damage_makes_it_panic() {
    let runs: u64 = std::env::var("DORA_FUZZ_RUNS").map_or(20_000, |runs| runs.parse().expect("DORA_FUZZ_RUNS is a number"));
    let (mut accepted, mut refused) = (0_u64, 0_u64);
    let from: u64 = std::env::var("DORA_FUZZ_FROM").map_or(0, |from| from.parse().expect("DORA_FUZZ_FROM is a number"));
    for run in from..from + runs {
        let bytes = damaged(run);
        let read = catch_unwind(|| {
            let read = read_bytes(&bytes);
            if let Ok(history) = &read {
                assert!(
                    history.operations.iter().all(|operation| operation.completed.is_none_or(|completed| completed >= operation.invoked))
                );
                let model = Model::NAMES[run as usize % Model::NAMES.len()].parse().unwrap();
                judge_within(model, &history.operations, Duration::from_secs(1));
                judge_within(Model::ListAppend(Level::StrictSerializable), &history.operations, Duration::from_secs(1));
            }
            read
        });
        match read.unwrap_or_else(|_| panic!("run {run} panicked on {:?}", String::from_utf8_lossy(&bytes))) {
            Ok(_) => accepted += 1,
            Err(ReadError::Line { line, .. }) => {
                assert!(
                    line >= 1 && line <= 1 + String::from_utf8_lossy(&bytes).matches('\n').count() as u64,
                    "run {run}: line {line} of {:?}",
                    String::from_utf8_lossy(&bytes)
                );
                refused += 1;
            }
            Err(error) => panic!("run {run}: {error}"),
        }
    }
    assert!(accepted > 0 && refused > accepted, "{accepted} accepted, {refused} refused");
    println!("{runs} runs: {accepted} accepted, {refused} refused");
}
