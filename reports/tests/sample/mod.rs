//! A fixed evidence as a real run would leave it: four pillars, five databases, every verdict. Nothing in it depends
//! on time, machine or chance.

mod backup;
mod clauses;
mod ha;
mod performance;
mod security;
mod topology;

use dora_reports::{
    Evidence, HostInfo, RunInfo, ScenarioEvidence,
    evidence::{ProofEvidence, ProofOutcome},
};
use time::macros::datetime;

/// The evidence of a finished run.
pub fn sample() -> Evidence {
    let mut evidence = Evidence::new(RunInfo {
        id: "7f3a-brisk-otter".to_owned(),
        started_at: datetime!(2026-03-14 02:00:07.5 UTC),
        finished_at: Some(datetime!(2026-03-14 02:12:51 UTC)),
        profile: "production".to_owned(),
        harness_version: "0.1.0".to_owned(),
        command: "dora conform --profile production --jobs 2".to_owned(),
        seed: 8_121_984,
        size: "small".to_owned(),
        host: HostInfo {
            cpus: 2,
            memory_bytes: 24 << 30,
            kernel: "6.12.48".to_owned(),
            engine_version: "26.1.5".to_owned(),
            engine_arch: "x86_64".to_owned(),
        },
        not_shown: strings(&[
            "How the platform behaves across two sites: every node runs on one machine and shares its disk and clock.",
            "Encryption at rest, certificate rotation and network zones: their scenarios do not exist yet.",
            "Load beyond the stated rates, and any run longer than a quarter of an hour.",
        ]),
        problems: Vec::new(),
        harness_cpu_ms: Some(41_300),
        load_cpu_ms: Some(18_200),
    });
    evidence.images = topology::images();
    evidence.topology = topology::topology();
    evidence.clauses = clauses::clauses();
    let mut scenarios = ha::scenarios();
    scenarios.extend(security::scenarios());
    scenarios.extend(backup::scenarios());
    scenarios.extend(performance::scenarios());
    for (index, scenario) in scenarios.iter_mut().enumerate() {
        scenario.started_ms = 41_000.0 + index as f64 * 31_000.0;
        scenario.finished_ms += scenario.started_ms;
    }
    // As they end in a real run, which is not the order in which they are read.
    scenarios.rotate_left(7);
    evidence.scenarios = scenarios;
    evidence.settle_clauses();
    evidence.proofs = vec![
        proof("ha/postgres", "patroni-frozen", "recovery-too-late", ProofOutcome::Killed, "no write was acknowledged within 40 s"),
        proof(
            "ha/redis",
            "replicas-ignored",
            "acknowledged-writes-lost",
            ProofOutcome::Survived,
            "satisfied, as if nothing had been planted",
        ),
    ];
    evidence
}

fn proof(scenario: &str, sabotage: &str, expects: &str, outcome: ProofOutcome, told: &str) -> ProofEvidence {
    ProofEvidence {
        scenario: scenario.to_owned(),
        sabotage: sabotage.to_owned(),
        what: "a defect that was planted on purpose".to_owned(),
        expects: expects.to_owned(),
        outcome,
        told: told.to_owned(),
        elapsed_ms: 48_200.0,
    }
}

/// A scenario with the fields that all have; `took_ms` goes into `finished_ms` until the start is known.
fn scenario(pillar: &str, database: &str, clauses: &[&str], title: &str, goal: &str, took_ms: f64) -> ScenarioEvidence {
    ScenarioEvidence {
        scenario: format!("{pillar}/{database}"),
        title: title.to_owned(),
        clauses: strings(clauses),
        database: database.to_owned(),
        pillar: pillar.to_owned(),
        goal: goal.to_owned(),
        finished_ms: took_ms,
        ..ScenarioEvidence::default()
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

/// Noise between −1 and 1 that is the same on every machine.
fn noise(seed: u64, index: u64) -> f64 {
    let mut x = (seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(0x632b_e59b_d9b4_e019);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x >> 40) as f64 / f64::from(1 << 23)) - 1.0
}

/// Something that looks like a SHA-256.
fn hash(seed: u64) -> String {
    let digit = |n| char::from_digit(((noise(seed, n) + 1.0) * 7.99) as u32, 16).unwrap_or('0');
    (0..64).map(digit).collect()
}
