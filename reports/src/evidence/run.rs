//! The root of the evidence: which run, on what machine, with which images.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{ClauseEvidence, ProofEvidence, ProofOutcome, ScenarioEvidence, TopologyEvidence, VerdictCounts};

/// The version that this crate writes and the newest that it reads.
///
/// It grows with every change after which an old reader would misunderstand the file; added optional fields do not
/// count.
pub const SCHEMA_VERSION: u32 = 2;

/// Everything that one run observed and decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// Version of this schema, see [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Which run, when, on what.
    pub run: RunInfo,
    /// Images that the nodes were started from.
    #[serde(default)]
    pub images: Vec<ImageUsed>,
    /// The platform that was started.
    #[serde(default)]
    pub topology: TopologyEvidence,
    /// Every clause of the catalogue, evidenced or not, in the catalogue's order.
    #[serde(default)]
    pub clauses: Vec<ClauseEvidence>,
    /// What the run was asked to carry out; empty in evidence from before it was recorded.
    #[serde(default)]
    pub planned: Vec<Planned>,
    /// The scenarios that ended so far, in the order in which they ended.
    #[serde(default)]
    pub scenarios: Vec<ScenarioEvidence>,
    /// The planted defects that were tried, in the order in which they ended.
    #[serde(default)]
    pub proofs: Vec<ProofEvidence>,
}

/// A scenario that a run was asked to carry out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Planned {
    /// The scenario, for example `ha/postgres/primary-killed`.
    pub scenario: String,
    /// The name of the defect that has to be noticed; absent where none is planted to prove that.
    #[serde(default)]
    pub sabotage: Option<String>,
}

/// Which run this is and how it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunInfo {
    /// Identifier of the run, also the label of every container that it started.
    pub id: String,
    /// Wall clock at the start.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String")]
    pub started_at: OffsetDateTime,
    /// Wall clock at the end; absent while the run goes on, and for ever if it was killed.
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[schemars(with = "Option<String>")]
    pub finished_at: Option<OffsetDateTime>,
    /// Name of the topology profile, for example `production`.
    pub profile: String,
    /// Version of the harness that ran.
    pub harness_version: String,
    /// The command line, as it can be typed again.
    pub command: String,
    /// Seed of every random choice.
    pub seed: u64,
    /// Size of the domain data: `small` or `medium`. Before it was recorded there was the small one only.
    #[serde(default = "smallest")]
    pub size: String,
    /// The machine.
    pub host: HostInfo,
    /// What the whole report does not show, one sentence each.
    #[serde(default)]
    pub not_shown: Vec<String>,
    /// What went wrong with the run itself (a node that did not start, an engine that went away), one message each.
    #[serde(default)]
    pub problems: Vec<String>,
    /// Processor time of the harness's own process in milliseconds, the load that it put on the platform included; containers are not.
    #[serde(default)]
    pub harness_cpu_ms: Option<u64>,
    /// The part of it that the clients of the loads took; what database drivers do in tasks of their own is not in it.
    #[serde(default)]
    pub load_cpu_ms: Option<u64>,
}

/// What evidence without a size was made with.
fn smallest() -> String {
    "small".to_owned()
}

/// The machine and the container engine that the run used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostInfo {
    /// Number of logical processors.
    pub cpus: u32,
    /// Main memory in bytes.
    pub memory_bytes: u64,
    /// Kernel release.
    pub kernel: String,
    /// Version of the container engine.
    pub engine_version: String,
    /// Architecture that the engine reports, for example `x86_64`.
    pub engine_arch: String,
}

/// An image that at least one node was started from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImageUsed {
    /// The role that the image plays in the topology, for example `postgres`.
    pub name: String,
    /// The reference that was started, with tag or digest.
    pub reference: String,
    /// Version of the main software inside.
    pub version: String,
    /// SPDX expression of the main software's licence.
    pub licence: String,
    /// What the image says that it can do, for example `edition` → `enterprise`.
    #[serde(default)]
    pub capabilities: BTreeMap<String, String>,
}

impl Evidence {
    /// Evidence of a run that has just begun: no topology, no scenario yet.
    #[must_use]
    pub fn new(run: RunInfo) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            run,
            images: Vec::new(),
            topology: TopologyEvidence::default(),
            clauses: Vec::new(),
            planned: Vec::new(),
            scenarios: Vec::new(),
            proofs: Vec::new(),
        }
    }

    /// The scenario with this id, if it ended.
    #[must_use]
    pub fn scenario(&self, id: &str) -> Option<&ScenarioEvidence> {
        self.scenarios.iter().find(|scenario| scenario.scenario == id)
    }

    /// What was planned and did not end, or not yet.
    pub fn not_ended(&self) -> impl Iterator<Item = &Planned> {
        self.planned.iter().filter(|planned| match &planned.sabotage {
            None => self.scenario(&planned.scenario).is_none(),
            Some(sabotage) => !self.proofs.iter().any(|proof| proof.scenario == planned.scenario && proof.sabotage == *sabotage),
        })
    }

    /// How many scenarios ended with which verdict.
    #[must_use]
    pub fn scenario_counts(&self) -> VerdictCounts {
        self.scenarios.iter().map(|scenario| scenario.verdict).collect()
    }

    /// How many planted defects had this outcome.
    #[must_use]
    pub fn proof_count(&self, outcome: ProofOutcome) -> usize {
        self.proofs.iter().filter(|proof| proof.outcome == outcome).count()
    }

    /// Whether the run planted defects and carried out no scenario without one, so that it says nothing of clauses.
    #[must_use]
    pub fn only_proves(&self) -> bool {
        self.scenarios.is_empty()
            && !(self.proofs.is_empty() && self.planned.is_empty())
            && self.planned.iter().all(|planned| planned.sabotage.is_some())
    }

    /// How many clauses have which verdict.
    #[must_use]
    pub fn clause_counts(&self) -> VerdictCounts {
        self.clauses.iter().map(|clause| clause.verdict).collect()
    }

    /// Decides every clause again from the scenarios that are here (see [`ClauseEvidence::settle`]).
    pub fn settle_clauses(&mut self) {
        for clause in &mut self.clauses {
            clause.settle(&self.scenarios);
        }
    }
}
