//! What one scenario promised, did, saw and concluded.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::{ContentRow, Measured, Objective, ProbeCell, ProbeMatrix, Register, Verdict};

/// The evidence of one scenario.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScenarioEvidence {
    /// Id, `pillar/database` or `pillar/database/case`, for example `ha/postgres/primary-killed`.
    pub scenario: String,
    /// One line for people.
    pub title: String,
    /// Ids of the clauses that it gives evidence for.
    pub clauses: Vec<String>,
    /// The database, for example `postgres`.
    pub database: String,
    /// The pillar, for example `ha`, `security`, `backup`, `performance`.
    pub pillar: String,
    /// What it wants to find out.
    pub goal: String,
    /// How, step by step.
    #[serde(default)]
    pub method: Vec<String>,
    /// What it does not show, one sentence each.
    #[serde(default)]
    pub does_not_show: Vec<String>,
    /// What was promised, fixed before the run.
    #[serde(default)]
    pub objective: Objective,
    /// What was measured.
    #[serde(default)]
    pub measured: Vec<Measured>,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, in one sentence; for `not evidenced` it names the capability that is missing.
    #[serde(default)]
    pub reason: String,
    /// What the checkers found.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// Milliseconds from the start of the run.
    pub started_ms: f64,
    /// Milliseconds from the start of the run.
    pub finished_ms: f64,
    /// The four clocks of a fault; absent where no fault was injected.
    #[serde(default)]
    pub clocks: Option<Clocks>,
    /// The faults that were injected.
    #[serde(default)]
    pub faults: Vec<FaultEvidence>,
    /// Latency and throughput over time.
    #[serde(default)]
    pub series: Vec<Series>,
    /// What happened when.
    #[serde(default)]
    pub timeline: Vec<TimelineEvent>,
    /// How the operations of the workload ended.
    #[serde(default)]
    pub operations: Option<OperationCounts>,
    /// Path of the history (JSON lines) in the bundle.
    #[serde(default)]
    pub history_file: Option<String>,
    /// What checkers say of the histories beside the main one.
    #[serde(default)]
    pub checks: Vec<CheckEvidence>,
    /// The lines of the nodes' logs that matter.
    #[serde(default)]
    pub log_excerpts: Vec<LogExcerpt>,
    /// What was probed, for scenarios that probe endpoints, roles or zones. Schema version 1 had at most one, named `matrix`.
    #[serde(default, alias = "matrix", deserialize_with = "one_or_several")]
    pub matrices: Vec<ProbeMatrix>,
    /// What was found and listed, for example certificates.
    #[serde(default)]
    pub registers: Vec<Register>,
    /// Contents before and after, for scenarios that restore a backup.
    #[serde(default)]
    pub contents: Vec<ContentRow>,
}

/// Reads the matrices of this schema version and the one optional matrix of version 1.
fn one_or_several<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ProbeMatrix>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Several(Vec<ProbeMatrix>),
        One(Option<ProbeMatrix>),
    }
    Ok(match Form::deserialize(deserializer)? {
        Form::Several(matrices) => matrices,
        Form::One(matrix) => matrix.into_iter().collect(),
    })
}

impl ScenarioEvidence {
    /// Every probe of every matrix.
    pub fn probes(&self) -> impl Iterator<Item = &ProbeCell> {
        self.matrices.iter().flat_map(ProbeMatrix::cells)
    }

    /// The reason, unless one of the findings is it word by word: who lists the findings need not say it twice.
    #[must_use]
    pub fn reason_beside_findings(&self) -> Option<&str> {
        let is_found = self.findings.iter().any(|finding| finding.message == self.reason);
        (!is_found && !self.reason.is_empty()).then_some(self.reason.as_str())
    }
}

/// A checker's answer about one history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckEvidence {
    /// The load whose history it is, for example `register`.
    pub name: String,
    /// The model that it was compared with, for example `cas-register`.
    pub model: String,
    /// How many operations were decided from.
    pub operations: u64,
    /// The answer.
    pub outcome: CheckOutcome,
    /// What is wrong, or why it could not be decided; empty when it holds.
    #[serde(default)]
    pub detail: String,
    /// Path of the history (JSON lines) in the bundle.
    pub history_file: String,
}

/// The answer of a checker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CheckOutcome {
    /// The model allows the history.
    Holds,
    /// The model does not allow it.
    Violated,
    /// Nobody knows.
    Undecided,
}

/// Something that a checker found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Stable kebab-case id, for example `acknowledged-writes-lost`.
    pub id: String,
    /// What it means for the verdict.
    pub severity: Severity,
    /// One sentence for people.
    pub message: String,
    /// The smallest piece of the history that proves it; may have several lines.
    #[serde(default)]
    pub witness: Option<String>,
}

/// What a finding means for the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing, changes nothing.
    Note,
    /// Something that the verdict rests on could not be confirmed: inconclusive at best.
    Unconfirmed,
    /// The clause does not hold.
    Violation,
}

/// The four clocks of a fault, each in milliseconds from its injection; absent when it did not happen in time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Clocks {
    /// The system noticed (a new leader stands for election, a monitor marks the node down).
    #[serde(default)]
    pub detection_ms: Option<f64>,
    /// The first operation after the outage that a client got acknowledged.
    #[serde(default)]
    pub first_success_ms: Option<f64>,
    /// Latency and error rate are within their objective again, and stay there.
    #[serde(default)]
    pub objective_regained_ms: Option<f64>,
    /// As many healthy copies as before.
    #[serde(default)]
    pub redundancy_regained_ms: Option<f64>,
}

/// One fault, from injection to confirmed healing. All times from the start of the scenario.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FaultEvidence {
    /// What was done, for example `kill`, `pause`, `partition`.
    pub kind: String,
    /// To which node or link, with its role at that moment, for example `pg2 (primary)`.
    pub target: String,
    /// When it was injected.
    pub injected_ms: f64,
    /// When a probe that does not use the injector saw its effect; absent if none did.
    #[serde(default)]
    pub confirmed_ms: Option<f64>,
    /// Which probe that was.
    #[serde(default)]
    pub confirmed_by: Option<String>,
    /// When healing was ordered.
    #[serde(default)]
    pub healed_ms: Option<f64>,
    /// When a probe saw it healed; absent if none did.
    #[serde(default)]
    pub heal_confirmed_ms: Option<f64>,
    /// Which probe that was.
    #[serde(default)]
    pub heal_confirmed_by: Option<String>,
}

/// One quantity over time.
///
/// Names that the page draws in the scenario's chart: `latency_p50`, `latency_p99` (unit `ms`, logarithmic axis) and
/// `throughput` (unit `op/s`); any other series gets a small chart of its own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Series {
    /// Stable name in snake case.
    pub name: String,
    /// Unit.
    pub unit: String,
    /// One point a bucket, in order of time.
    pub points: Vec<Point>,
}

/// One value at one instant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Point {
    /// Milliseconds from the start of the scenario, the beginning of the bucket.
    pub t_ms: f64,
    /// The value; absent where there was none (no operation ended, so there is no latency): drawn as a gap.
    #[serde(default)]
    pub value: Option<f64>,
}

/// Something that happened.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TimelineEvent {
    /// Milliseconds from the start of the scenario.
    pub t_ms: f64,
    /// What kind of thing, for example `fault`, `role`, `client`, `phase`.
    pub kind: String,
    /// One line for people.
    pub text: String,
}

/// How the operations of a workload ended, and what a checker says about them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OperationCounts {
    /// Acknowledged.
    pub ok: u64,
    /// Surely not applied.
    pub fail: u64,
    /// May or may not have been applied (a time-out, a broken connection).
    pub unknown: u64,
    /// Acknowledged and not there in the end; absent when nobody checked.
    #[serde(default)]
    pub lost: Option<u64>,
    /// There although they surely failed or were never sent; absent when nobody checked.
    #[serde(default)]
    pub phantom: Option<u64>,
    /// There more than once; absent when nobody checked.
    #[serde(default)]
    pub duplicated: Option<u64>,
}

/// Lines of one node's log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogExcerpt {
    /// The node.
    pub node: String,
    /// The lines, in order.
    pub lines: Vec<String>,
}

impl Finding {
    /// The clause does not hold.
    #[must_use]
    pub fn violation(id: impl Into<String>, message: impl Into<String>) -> Self {
        Self { id: id.into(), severity: Severity::Violation, message: message.into(), witness: None }
    }

    /// Something that the verdict rests on could not be confirmed.
    #[must_use]
    pub fn unconfirmed(id: impl Into<String>, message: impl Into<String>) -> Self {
        Self { id: id.into(), severity: Severity::Unconfirmed, message: message.into(), witness: None }
    }

    /// Worth knowing.
    #[must_use]
    pub fn note(id: impl Into<String>, message: impl Into<String>) -> Self {
        Self { id: id.into(), severity: Severity::Note, message: message.into(), witness: None }
    }

    /// The same with a witness.
    #[must_use]
    pub fn with_witness(mut self, witness: impl Into<String>) -> Self {
        self.witness = Some(witness.into());
        self
    }
}

impl Severity {
    /// The word that people read.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Unconfirmed => "unconfirmed",
            Self::Violation => "violation",
        }
    }
}
