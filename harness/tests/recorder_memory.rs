//! Goal: a history of ten million operations is recorded within bounded memory. Method: they are recorded into a file, and the operating
//! system says how much memory the process had at its most. It writes some two gigabytes:
//! `cargo test --release -p dora-harness --test recorder_memory -- --ignored --nocapture`. What it does not show: checkers hold the operations that they decide from in memory.

use std::time::Instant;

use dora_harness::history::{Outcome, Recorder};

const OPERATIONS: u64 = 10_000_000;
const PEAK_MAX_KIB: u64 = 256 * 1024;

/// The most resident memory that this process ever had.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
#[ignore = "writes two gigabytes"]
fn ten_million_operations_are_recorded_in_bounded_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("h.jsonl");
    let begun = Instant::now();
    let recorder = Recorder::new(begun, Some(&path)).unwrap();
    for value in 0..OPERATIONS {
        recorder.invoke(0, "add", &value.into());
        recorder.complete(0, "add", &value.into(), &Outcome::Ok);
    }
    recorder.flush().unwrap();
    let (took, peak) = (begun.elapsed(), peak_kib());
    let bytes = std::fs::metadata(&path).unwrap().len();
    println!(
        "{OPERATIONS} operations: {took:?}, {} ns an event, {bytes} bytes, at most {peak} KiB",
        took.as_nanos() / u128::from(2 * OPERATIONS)
    );
    assert!(bytes > 100 * OPERATIONS && peak < PEAK_MAX_KIB, "{peak} KiB");
}
