//! One execution of a scenario: what it may use, and the evidence that it collects.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use dora_fixtures::{catalogue::Objective as Promise, dataset::Dataset};
use dora_harness::{
    check::{Answer, Checked, Durability, samples},
    fault::FaultRecord,
    history::{Operation, Recorder},
    measure::{Sample, buckets},
    network::Policy,
    platform::Platform,
    topology::{Ground, Node},
};
use dora_reports::evidence::{
    CheckEvidence, CheckOutcome, Clocks, ContentRow, FaultEvidence, Finding, Measured, NamedLimit, Objective, OperationCounts, Point,
    ProbeMatrix, Register, ScenarioEvidence, Series, Severity, TimelineEvent, Verdict,
};

use crate::{Sabotage, Scenario, ScenarioError, excerpt, runner::Turn};

/// What all trials of a run share.
#[derive(Clone)]
pub struct Setting {
    /// Where nodes are started.
    pub ground: Ground,
    /// What is started.
    pub platform: Arc<Platform>,
    /// Who may reach what.
    pub policy: Arc<Policy>,
    /// The domain data.
    pub dataset: Arc<Dataset>,
    /// The bundle's folder for histories.
    pub histories: PathBuf,
    /// The start of the run.
    pub origin: Instant,
    /// How long sustained operation on the survivors of a fault is shown.
    pub sustain: Duration,
}

/// One execution of a scenario.
pub struct Trial {
    /// The scenario.
    pub scenario: &'static Scenario,
    /// The planted defect, if this is a proof.
    pub sabotage: Option<&'static Sabotage>,
    /// What the first clause promises for this database.
    pub promise: Promise,
    setting: Setting,
    turn: Arc<Turn>,
    started: Instant,
    /// The same moment by the calendar's clock, which logs go by.
    began: SystemTime,
    evidence: Mutex<ScenarioEvidence>,
}

/// Sustained operation in a proof, at most.
const PROOF_SUSTAIN: Duration = Duration::from_secs(5);
/// Width of the buckets that the report draws.
const BUCKET: Duration = Duration::from_millis(500);

impl Trial {
    /// A trial that starts now.
    pub(crate) fn new(
        scenario: &'static Scenario,
        sabotage: Option<&'static Sabotage>,
        promise: &Promise,
        setting: Setting,
        turn: Arc<Turn>,
    ) -> Self {
        let evidence = ScenarioEvidence {
            scenario: scenario.id.to_owned(),
            title: scenario.title.to_owned(),
            clauses: scenario.clauses.iter().map(ToString::to_string).collect(),
            database: scenario.database.name().to_owned(),
            pillar: scenario.pillar.name().to_owned(),
            goal: scenario.goal.to_owned(),
            method: scenario.method.iter().map(ToString::to_string).collect(),
            does_not_show: scenario.does_not_show.iter().map(ToString::to_string).collect(),
            started_ms: setting.origin.elapsed().as_secs_f64() * 1e3,
            ..ScenarioEvidence::default()
        };
        let (started, began) = (Instant::now(), SystemTime::now());
        Self { scenario, sabotage, promise: *promise, setting, turn, started, began, evidence: Mutex::new(evidence) }
    }

    fn evidence(&self) -> MutexGuard<'_, ScenarioEvidence> {
        self.evidence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where nodes are started.
    pub fn ground(&self) -> &Ground {
        &self.setting.ground
    }

    /// What is started.
    pub fn platform(&self) -> &Platform {
        &self.setting.platform
    }

    /// The folder of the run's bundle, as far as it is written.
    pub fn bundle(&self) -> &std::path::Path {
        self.setting.histories.parent().unwrap_or(&self.setting.histories)
    }

    /// Who may reach what.
    pub fn policy(&self) -> &Policy {
        &self.setting.policy
    }

    /// The domain data.
    pub fn dataset(&self) -> &Arc<Dataset> {
        &self.setting.dataset
    }

    /// The zero of all its times.
    pub fn origin(&self) -> Instant {
        self.started
    }

    /// The same by the calendar's clock.
    pub(crate) fn began(&self) -> SystemTime {
        self.began
    }

    /// Milliseconds since its start.
    pub fn now_ms(&self) -> f64 {
        self.started.elapsed().as_secs_f64() * 1e3
    }

    /// How long sustained operation on the survivors of a fault is shown. A proof shows a defect, not endurance.
    pub fn sustain(&self) -> Duration {
        if self.sabotage.is_some() { self.setting.sustain.min(PROOF_SUSTAIN) } else { self.setting.sustain }
    }

    /// Lets time pass in which the platform only carries its load. If it is long, another scenario may begin on other nodes meanwhile.
    pub async fn rest(&self, time: Duration) {
        self.turn.rest(time).await;
    }

    /// Whether this trial is a proof with that sabotage.
    pub fn is_sabotaged_by(&self, id: &str) -> bool {
        self.sabotage.is_some_and(|sabotage| sabotage.id == id)
    }

    /// States the objective, before anything is measured.
    pub fn promise_limits(&self, statement: impl Into<String>, limits: Vec<NamedLimit>) {
        self.evidence().objective = Objective::new(statement, limits);
    }

    /// Notes something on the timeline.
    pub fn note(&self, kind: &str, text: impl Into<String>) {
        let (t_ms, text) = (self.now_ms(), text.into());
        tracing::info!(scenario = self.scenario.id, kind, "{text}");
        self.evidence().timeline.push(TimelineEvent { t_ms, kind: kind.to_owned(), text });
    }

    /// Adds a finding.
    pub fn find(&self, finding: Finding) {
        tracing::info!(scenario = self.scenario.id, finding = finding.id, "{}", finding.message);
        self.evidence().findings.push(finding);
    }

    /// Adds a measured value, compared with the objective's limit of that name.
    pub fn measure(&self, name: &str, value: Option<f64>, unit: &str) -> Measured {
        let mut evidence = self.evidence();
        let measured = evidence.objective.measure(name, value, unit);
        evidence.measured.push(measured.clone());
        measured
    }

    /// Adds a fault.
    pub fn fault(&self, record: &FaultRecord) {
        self.evidence().faults.push(FaultEvidence {
            kind: record.kind.clone(),
            target: record.target.clone(),
            injected_ms: record.injected_ms,
            confirmed_ms: record.confirmed_ms,
            confirmed_by: Some(record.confirmed_by.clone()),
            healed_ms: record.healed_ms,
            heal_confirmed_ms: record.heal_confirmed_ms,
            heal_confirmed_by: Some(record.heal_confirmed_by.clone()),
        });
    }

    /// Sets the four clocks.
    pub fn clocks(&self, clocks: Clocks) {
        self.evidence().clocks = Some(clocks);
    }

    /// Adds a matrix of probes; a cell with another answer than expected makes the verdict `not satisfied`.
    pub fn matrix(&self, matrix: ProbeMatrix) {
        self.evidence().matrices.push(matrix);
    }

    /// Adds a register of things found. It decides nothing.
    pub fn register(&self, register: Register) {
        self.evidence().registers.push(register);
    }

    /// Sets the comparison of contents.
    pub fn contents(&self, rows: Vec<ContentRow>) {
        self.evidence().contents = rows;
    }

    /// A history that is streamed into the bundle; its times are the trial's.
    ///
    /// # Errors
    /// [`ScenarioError::History`] when its file cannot be made.
    pub fn recorder(&self) -> Result<Recorder, ScenarioError> {
        let (recorder, file) = self.open_history("")?;
        self.evidence().history_file = Some(file);
        Ok(recorder)
    }

    /// A further history beside the main one, and its path in the bundle.
    ///
    /// # Errors
    /// As [`Trial::recorder`].
    pub fn further_recorder(&self, name: &str) -> Result<(Recorder, String), ScenarioError> {
        self.open_history(&format!(".{name}"))
    }

    fn open_history(&self, name: &str) -> Result<(Recorder, String), ScenarioError> {
        let suffix = self.sabotage.map(|sabotage| format!("-{}", sabotage.id)).unwrap_or_default();
        let file = format!("{}{suffix}{name}.jsonl", self.scenario.id.replace('/', "-"));
        let recorder = Recorder::new(self.started, Some(&self.setting.histories.join(&file)))?;
        Ok((recorder, format!("histories/{file}")))
    }

    /// Adds what a checker says of a history.
    pub fn checked(&self, name: &str, file: &str, checked: &Checked) {
        let (outcome, detail) = match &checked.answer {
            Answer::Holds => (CheckOutcome::Holds, String::new()),
            Answer::Violated { message, .. } => (CheckOutcome::Violated, message.clone()),
            Answer::Unknown(why) => (CheckOutcome::Undecided, why.clone()),
        };
        self.evidence().checks.push(CheckEvidence {
            name: name.to_owned(),
            model: checked.model.to_owned(),
            operations: checked.operations,
            outcome,
            detail,
            history_file: file.to_owned(),
        });
    }

    /// Counts how operations ended and draws them over time.
    pub fn operations(&self, operations: &[Operation], durability: &Durability) {
        self.evidence().operations = Some(OperationCounts {
            ok: durability.acknowledged,
            fail: durability.failed,
            unknown: durability.unknown,
            lost: Some(durability.lost.len() as u64),
            phantom: Some(durability.phantom.len() as u64),
            duplicated: Some(durability.duplicated.len() as u64),
        });
        self.draw(&samples(operations));
    }

    /// Draws latency and throughput over time.
    pub fn draw(&self, samples: &[Sample]) {
        let stretches = buckets(samples, BUCKET);
        let series = |name: &str, unit: &str, value: &dyn Fn(&dora_harness::measure::Bucket) -> Option<f64>| Series {
            name: name.to_owned(),
            unit: unit.to_owned(),
            points: stretches.iter().map(|bucket| Point { t_ms: bucket.start_ms, value: value(bucket) }).collect(),
        };
        self.evidence().series = vec![
            series("latency_p50", "ms", &|bucket| bucket.p50_ms),
            series("latency_p99", "ms", &|bucket| bucket.p99_ms),
            series("throughput", "op/s", &|bucket| Some(bucket.throughput_per_s)),
        ];
    }

    /// Keeps lines of a node's log: the first ones since the fault that struck it, or the last ones where none is added yet.
    pub async fn excerpt(&self, node: &Node, lines: usize) {
        let faults = self.evidence().faults.clone();
        let excerpt = excerpt::of(node, &faults, self.began, lines).await;
        self.evidence().log_excerpts.extend(excerpt);
    }

    /// Ends the trial: an error makes it inconclusive (or not evidenced, when a part is missing), unless something was already seen to be wrong;
    /// otherwise the evidence decides.
    pub fn finish(self, outcome: Result<(), ScenarioError>) -> ScenarioEvidence {
        let finished_ms = self.setting.origin.elapsed().as_secs_f64() * 1e3;
        let evidence = self.evidence.into_inner().unwrap_or_else(PoisonError::into_inner);
        concluded(ScenarioEvidence { finished_ms, ..evidence }, outcome)
    }
}

/// The evidence with its verdict. What was already seen to be wrong stays wrong, even when the rest could not be tried or a part is missing.
fn concluded(mut evidence: ScenarioEvidence, outcome: Result<(), ScenarioError>) -> ScenarioEvidence {
    match outcome {
        Ok(()) => {}
        Err(ScenarioError::Missing(missing)) if evidence.decide() != Verdict::NotSatisfied => {
            evidence.verdict = Verdict::NotEvidenced;
            evidence.reason = missing;
            return evidence;
        }
        Err(error) => evidence.findings.push(Finding::unconfirmed("could-not-finish", error.to_string())),
    }
    evidence.verdict = evidence.decide();
    evidence.reason = reason(&evidence);
    evidence
}

/// The verdict's reason in one sentence.
fn reason(evidence: &ScenarioEvidence) -> String {
    let of = |severity| evidence.findings.iter().find(|finding| finding.severity == severity).map(|finding| finding.message.clone());
    let unmet = || {
        evidence.measured.iter().find(|m| m.met == Some(false)).map(|m| format!("{} is outside its objective", m.name.replace('_', " ")))
    };
    match evidence.verdict {
        Verdict::Satisfied => String::new(),
        Verdict::NotSatisfied => of(Severity::Violation).or_else(unmet).unwrap_or_else(|| "a probe or a content differs".into()),
        Verdict::Inconclusive => of(Severity::Unconfirmed).unwrap_or_else(|| "something that was promised was not measured".into()),
        Verdict::NotEvidenced => evidence.reason.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing() -> Result<(), ScenarioError> {
        Err(ScenarioError::Missing("the set has no replica".into()))
    }

    #[test]
    fn a_part_that_is_missing_leaves_a_scenario_not_evidenced() {
        let evidence = concluded(ScenarioEvidence::default(), missing());
        assert_eq!((evidence.verdict, evidence.reason.as_str()), (Verdict::NotEvidenced, "the set has no replica"));
    }

    #[test]
    fn what_was_seen_to_be_wrong_before_stays_wrong() {
        let findings = vec![Finding::violation("acknowledged-writes-lost", "3 acknowledged writes are not there")];
        let evidence = concluded(ScenarioEvidence { findings, ..ScenarioEvidence::default() }, missing());
        assert_eq!((evidence.verdict, evidence.reason.as_str()), (Verdict::NotSatisfied, "3 acknowledged writes are not there"));
        assert!(evidence.findings.iter().any(|finding| finding.id == "could-not-finish"));
    }
}
