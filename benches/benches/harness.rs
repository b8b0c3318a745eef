//! What measuring costs: recording an event, deciding a history, hashing content, rendering a report.

use std::{hint::black_box, time::Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dora_fixtures::{
    content,
    dataset::{Dataset, Seed, Size},
};
use dora_harness::{
    check::{availability, durability},
    history::{Operation, Outcome, Recorder},
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Ten thousand acknowledged inserts, one a millisecond.
fn history() -> Vec<Operation> {
    (0..10_000_u64)
        .map(|value| Operation {
            index: 2 * value,
            process: 0,
            f: "add".into(),
            value: value.into(),
            returned: value.into(),
            invoked: value * 1_000_000,
            completed: Some(value * 1_000_000 + 400_000),
            outcome: Outcome::Ok,
        })
        .collect()
}

/// Operations of each measured batch.
const BATCH: u64 = 1_000;

fn recording(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("record");
    // Two events an operation.
    group.throughput(Throughput::Elements(2 * BATCH));
    group.bench_function("1,000 inserts in memory", |bencher| {
        bencher.iter_batched_ref(
            || Recorder::new(Instant::now(), None).expect("a history without a file cannot fail to open"),
            |recorder| record(recorder, "add", &1.into()),
            BatchSize::LargeInput,
        );
    });
    let folder = TempDir::new().expect("a folder for histories");
    for (name, f, value) in [
        ("1,000 inserts in a file", "add", json!(1)),
        ("1,000 compare-and-sets in a file", "cas", json!([3, [17, 18]])),
        ("1,000 transactions in a file", "txn", json!([["r", 1, [1, 2, 3]], ["append", 2, 9], ["r", 3, null]])),
    ] {
        // One recorder for all batches: what is measured is a history that has become too long for memory.
        let recorder = Recorder::new(Instant::now(), Some(&folder.path().join(f))).expect("a history in a new folder");
        group.bench_function(name, |bencher| bencher.iter(|| record(&recorder, f, black_box(&value))));
    }
    group.finish();
}

fn record(recorder: &Recorder, f: &'static str, value: &Value) {
    for _ in 0..BATCH {
        recorder.invoke(0, f, value);
        recorder.complete(0, f, value, &Outcome::Ok);
    }
}

fn deciding(criterion: &mut Criterion) {
    let operations = history();
    let present: Vec<u64> = (0..10_000).collect();
    criterion
        .bench_function("durability of 10,000 inserts", |bencher| bencher.iter(|| durability(black_box(&operations), black_box(&present))));
    criterion.bench_function("availability of 10,000 inserts", |bencher| {
        bencher.iter(|| availability(black_box(&operations), 5_000.0, 5_050.0, 9_000.0));
    });
}

fn hashing(criterion: &mut Criterion) {
    let rows: Vec<(String, serde_json::Value)> =
        (0..1_000).map(|n| (format!("k{n}"), serde_json::json!({ "id": n, "name": "a name", "share": 0.5 }))).collect();
    criterion.bench_function("digest of 1,000 rows", |bencher| bencher.iter(|| content::digest(black_box(rows.clone()))));
    criterion.bench_function("generate the small dataset", |bencher| bencher.iter(|| Dataset::generate(Seed(1), Size::Small)));
}

/// The evidence of a run with four pillars and five databases, as the reports' own tests have it.
#[path = "../../reports/tests/sample/mod.rs"]
mod sample;

fn rendering(criterion: &mut Criterion) {
    let evidence = sample::sample();
    criterion.bench_function("render a report as HTML", |bencher| {
        bencher.iter(|| dora_reports::html::render(black_box(&evidence)).expect("the sample is a complete evidence"));
    });
}

criterion_group!(benches, recording, deciding, hashing, rendering);
criterion_main!(benches);
