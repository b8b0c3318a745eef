//! Bundles: written as the run goes, read back, and refused with a message that says what to do.

mod sample;

use std::fs;

use dora_reports::{Bundle, BundleError, BundleWriter, Evidence};

#[test]
fn a_bundle_is_read_back_as_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let evidence = sample::sample();
    let finished_at = evidence.run.finished_at.unwrap();
    let written = BundleWriter::create(dir.path(), evidence.clone()).unwrap().finish(finished_at).unwrap();
    let read = Bundle::open(dir.path()).unwrap();
    assert_eq!(read, written);
    assert_eq!(read.evidence(), &evidence);
    assert!(read.report_path().is_file());
    assert!(read.junit_path().is_file());
}

#[test]
fn a_killed_run_leaves_a_bundle_of_what_had_ended() {
    let dir = tempfile::tempdir().unwrap();
    let (mut evidence, scenarios) = unfinished();
    evidence.run.problems.push("pg2 did not start: address in use".to_owned());
    let mut writer = BundleWriter::create(dir.path(), evidence).unwrap();
    writer.record(scenarios[0].clone()).unwrap();
    // Dropped without `finish`, as after SIGKILL; an old temporary file is nothing to a reader.
    drop(writer);
    fs::write(dir.path().join("evidence.tmp"), "{\"schema_ver").unwrap();

    let bundle = Bundle::open(dir.path()).unwrap();
    assert_eq!(bundle.evidence().scenarios.len(), 1);
    assert!(bundle.evidence().run.finished_at.is_none());
    fs::remove_file(bundle.report_path()).unwrap();
    bundle.render().unwrap();
    let page = fs::read_to_string(bundle.report_path()).unwrap();
    assert!(page.contains("This run did not finish"));
    assert!(page.contains("pg2 did not start"));
}

#[test]
fn evidence_from_before_the_size_was_recorded_is_of_the_small_one() {
    let mut run = serde_json::to_value(sample::sample().run).unwrap();
    assert!(run.as_object_mut().unwrap().remove("size").is_some());
    let read: dora_reports::RunInfo = serde_json::from_value(run).unwrap();
    assert_eq!(read, sample::sample().run);
}

#[test]
fn recording_decides_the_clauses_and_replaces_what_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let (evidence, scenarios) = unfinished();
    let mut writer = BundleWriter::create(dir.path(), evidence).unwrap();
    for scenario in &scenarios {
        writer.record(scenario.clone()).unwrap();
        writer.record(scenario.clone()).unwrap();
    }
    assert_eq!(writer.evidence().scenarios.len(), scenarios.len());
    assert_eq!(writer.evidence().clauses, sample::sample().clauses);
}

#[test]
fn paths_stay_inside_the_bundle() {
    let dir = tempfile::tempdir().unwrap();
    let writer = BundleWriter::create(dir.path(), unfinished().0).unwrap();
    let (path, relative) = writer.history_path("../ha/postgres");
    assert_eq!(relative, "histories/ha-postgres.jsonl");
    assert_eq!(path, dir.path().join(relative));
}

#[test]
fn the_latest_bundle_is_found_among_other_directories() {
    let root = tempfile::tempdir().unwrap();
    assert!(matches!(Bundle::latest(root.path()), Err(BundleError::NoBundle { .. })));
    fs::create_dir(root.path().join("scratch")).unwrap();
    let mut evidence = sample::sample();
    for (name, days) in [("older", 0), ("newest", 2), ("old", 1)] {
        evidence.run.id = name.to_owned();
        evidence.run.started_at += time::Duration::days(days);
        BundleWriter::create(root.path().join(name), evidence.clone()).unwrap();
        evidence.run.started_at -= time::Duration::days(days);
    }
    assert_eq!(Bundle::latest(root.path()).unwrap().evidence().run.id, "newest");
}

#[test]
fn what_is_not_a_bundle_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("evidence.json");
    let message = |content: Option<&str>| {
        if let Some(content) = content {
            fs::write(&file, content).unwrap();
        }
        let error = Bundle::open(dir.path()).unwrap_err();
        error.to_string().replace(&dir.path().display().to_string(), "DIR")
    };
    let messages = [
        message(None),
        message(Some("{\"schema_version\": 1, \"run\"")),
        message(Some("{\"schema_version\": 1}")),
        message(Some("{\"schema_version\": 7, \"anything\": true}")),
    ];
    insta::assert_snapshot!(messages.join("\n\n"));
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = BundleWriter::create(file.join("run"), unfinished().0).unwrap_err();
    assert!(matches!(error, BundleError::Write { .. }), "{error}");
}

/// The sample before its first scenario ended, and its scenarios.
fn unfinished() -> (Evidence, Vec<dora_reports::ScenarioEvidence>) {
    let mut evidence = sample::sample();
    evidence.run.finished_at = None;
    let scenarios = std::mem::take(&mut evidence.scenarios);
    (evidence, scenarios)
}
