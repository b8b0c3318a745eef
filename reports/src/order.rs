//! The order in which scenarios are listed, whatever the order in which they ended.

use crate::evidence::{Evidence, ProofEvidence, ProofOutcome, ScenarioEvidence};

/// Pillars and databases in the order of the catalogue; what is not here follows, by name.
const PILLARS: [&str; 4] = ["ha", "security", "backup", "performance"];
const DATABASES: [&str; 7] = ["postgres", "neo4j", "mongodb", "influxdb", "redis", "openbao", "platform"];

/// The scenarios by pillar, then by database, then by id.
pub(crate) fn reading_order(evidence: &Evidence) -> Vec<&ScenarioEvidence> {
    let mut scenarios: Vec<_> = evidence.scenarios.iter().collect();
    scenarios.sort_by_key(|scenario| {
        let pillar = rank(&PILLARS, &scenario.pillar);
        (pillar, &scenario.pillar, rank(&DATABASES, &scenario.database), &scenario.scenario)
    });
    scenarios
}

/// The planted defects, those first that nobody noticed, then by scenario and name.
pub(crate) fn proofs(proofs: &[ProofEvidence]) -> Vec<&ProofEvidence> {
    let mut ordered: Vec<_> = proofs.iter().collect();
    ordered.sort_by_key(|proof| (proof.outcome == ProofOutcome::Killed, &proof.scenario, &proof.sabotage));
    ordered
}

/// Databases in the same order.
pub(crate) fn sort_databases(databases: &mut [&str]) {
    databases.sort_by_key(|database| (rank(&DATABASES, database), *database));
}

fn rank(known: &[&str], key: &str) -> usize {
    known.iter().position(|name| *name == key).unwrap_or(known.len())
}
