//! What measuring costs: recording an event, deciding a history, hashing content, rendering a report.

use std::{hint::black_box, time::Instant};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use dora_fixtures::{
    content,
    dataset::{Dataset, Seed, Size},
};
use dora_harness::{
    check::{availability, durability},
    history::{Operation, Outcome, Recorder},
};

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

fn recording(criterion: &mut Criterion) {
    criterion.bench_function("record one operation (two events)", |bencher| {
        bencher.iter_batched_ref(
            || Recorder::new(Instant::now(), None).expect("a history without a file cannot fail to open"),
            |recorder| {
                for value in 0..1_000 {
                    recorder.invoke(0, "add", &value.into());
                    recorder.complete(0, "add", &value.into(), &Outcome::Ok);
                }
            },
            BatchSize::LargeInput,
        );
    });
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

criterion_group!(benches, recording, deciding, hashing);
criterion_main!(benches);
