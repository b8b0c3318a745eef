//! What deciding a history of 10,000 operations of 8 clients costs.

use std::{hint::black_box, num::NonZeroUsize};

use criterion::{Criterion, criterion_group, criterion_main};
use dora_harness::check::linearizability::{Operation, Options, Register, RegisterOp, Verdict, check};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Eight clients on one register, each operation taking effect at an instant of its own within its interval; every fiftieth write
/// is not answered.
fn register_history() -> Vec<Operation<RegisterOp<u32>>> {
    let mut random = ChaCha8Rng::seed_from_u64(4);
    let mut free_from = [0_u64; 8];
    let mut value = 0;
    (0..10_000_u64)
        .map(|number| {
            let instant = 1_000 * (number + 10);
            let client = (number % 8) as usize;
            let call = random.random_range(free_from[client].max(instant - 8_000)..instant);
            let ret = random.random_range(instant..instant + 500);
            free_from[client] = ret + 1;
            let op = match random.random_range(0..3) {
                0 => RegisterOp::Read(Some(value)),
                1 => RegisterOp::Write(random.random_range(0..5)),
                _ => {
                    let (from, to) = (random.random_range(0..5), random.random_range(0..5));
                    RegisterOp::CompareAndSet { from, to, set: Some(from == value) }
                }
            };
            match &op {
                RegisterOp::Write(to) | RegisterOp::CompareAndSet { to, set: Some(true), .. } => value = *to,
                _ => {}
            }
            let is_lost = matches!(op, RegisterOp::Write(_)) && number % 50 == 0;
            Operation { call, ret: (!is_lost).then_some(ret), op }
        })
        .collect()
}

fn checking(criterion: &mut Criterion) {
    let options = Options { threads: NonZeroUsize::MIN, ..Options::default() };
    let history = register_history();
    let model = Register::new(0);
    let verdict = check(&model, &history, &options);
    assert!(matches!(verdict, Ok(Verdict::Linearizable { .. })), "the history is correct by construction");
    let mut group = criterion.benchmark_group("linearizability");
    group.sample_size(20);
    group.bench_function("register, 10,000 operations of 8 clients", |bencher| {
        bencher.iter(|| check(&model, black_box(&history), &options));
    });
    group.finish();
}

criterion_group!(benches, checking);
criterion_main!(benches);
