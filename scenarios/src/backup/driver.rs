//! Backs up, destroys, restores elsewhere and compares.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use dora_harness::{
    engine::{EngineError, sweep::Leftovers},
    patience::{stretched, within},
};
use dora_reports::evidence::{ContentRow, Finding, NamedLimit};
use tokio::time::timeout;

use super::BackupTarget;
use crate::{ScenarioError, Trial};

/// An engine that does not say by then what it is has gone.
const ENGINE_LIMIT: Duration = Duration::from_secs(10);
/// The engine may answer a removal a moment before it is done; what it still holds then stays.
const GONE_LIMIT: Duration = Duration::from_secs(10);
const GONE_EVERY: Duration = Duration::from_millis(250);

/// The scenario: see the module.
///
/// # Errors
/// [`ScenarioError`] when it cannot be carried out; what it finds is in the trial.
pub async fn full_backup<T: BackupTarget>(trial: &Trial, target: &T) -> Result<(), ScenarioError> {
    let restore_ms = trial.promise.restore_ms_max()? as f64;
    trial.promise_limits(
        format!(
            "a new, separate cluster serves the same content within {:.0} s, and still enforces TLS and authentication",
            restore_ms / 1e3
        ),
        vec![
            NamedLimit::at_most("restore", restore_ms, "ms"),
            NamedLimit::at_most("content_differences", 0.0, "objects"),
            NamedLimit::at_most("enforcement_failures", 0.0, "attempts"),
        ],
    );
    target.load(trial.dataset()).await?;
    let before = target.digests().await?;
    trial.note("phase", format!("{} objects hold {} records", before.len(), before.values().map(|digest| digest.count).sum::<u64>()));
    if before.values().all(|digest| digest.count == 0) {
        trial.find(Finding::unconfirmed("nothing-to-restore", "the cluster holds no records, so equality would prove nothing"));
        return Ok(());
    }
    let started = Instant::now();
    let mut artifact = target.back_up().await?;
    trial.measure("backup", Some(started.elapsed().as_secs_f64() * 1e3), "ms");
    trial.measure("backup_size", Some(target.size(&artifact).bytes as f64), "bytes");
    trial.note("phase", "the backup is taken and held outside the cluster");
    if let Some(sabotage) = trial.sabotage {
        trial.note("sabotage", sabotage.what);
        target.sabotage(&mut artifact, sabotage.id).await?;
    }
    destroy(trial, target).await?;
    let started = Instant::now();
    let restored = target.restore(trial, artifact).await;
    let took_ms = started.elapsed().as_secs_f64() * 1e3;
    if let Err(error) = restored {
        let words = refusal(trial, error).await?;
        trial.measure("restore", None, "ms");
        trial.find(Finding::violation("restore-failed", format!("the backup could not be restored: {words}")));
        return Ok(());
    }
    trial.note("phase", "a new cluster with new credentials serves");
    let late = trial.measure("restore", Some(took_ms), "ms").met == Some(false);
    if late {
        trial.find(Finding::violation("restore-too-late", format!("the restore took {:.1} s", took_ms / 1e3)));
    }
    let after = target.digests().await?;
    let mut rows: Vec<ContentRow> = before
        .iter()
        .map(|(object, digest)| {
            let there = after.get(object).map(|found| (found.count, found.sha256.clone()));
            ContentRow::compare(object.clone(), (digest.count, digest.sha256.clone()), there)
        })
        .collect();
    for (object, digest) in after.iter().filter(|(object, _)| !before.contains_key(*object)) {
        rows.push(ContentRow {
            object: object.clone(),
            after_count: Some(digest.count),
            after_hash: Some(digest.sha256.clone()),
            ..ContentRow::default()
        });
    }
    let differences: Vec<&ContentRow> = rows.iter().filter(|row| !row.equal).collect();
    trial.measure("content_differences", Some(differences.len() as f64), "objects");
    for row in &differences {
        let found = row.after_count.map_or_else(|| "is missing".to_owned(), |count| format!("holds {count} records"));
        trial.find(
            Finding::violation(
                "content-differs",
                format!("{} held {} records and {found} after the restore", row.object, row.before_count),
            )
            .with_witness(format!("{} → {}", row.before_hash, row.after_hash.as_deref().unwrap_or("absent"))),
        );
    }
    trial.contents(rows);
    judge_enforcement(trial, target).await
}

/// Removes the cluster. That it is gone is the engine's word, which is asked before and afterwards for all that bears the label of its nodes.
async fn destroy<T: BackupTarget>(trial: &Trial, target: &T) -> Result<(), ScenarioError> {
    let nodes: BTreeSet<String> = target.nodes().await?.iter().map(|node| node.name().to_owned()).collect();
    let (engine, run) = (trial.ground().engine(), trial.ground().run());
    let before = engine.leftovers_of(run, &nodes).await?;
    target.destroy().await?;
    let gone = within("the end of every container and volume", GONE_LIMIT, GONE_EVERY, || async {
        let left = engine.leftovers_of(run, &nodes).await.map_err(|error| error.to_string())?;
        if left.is_empty() { Ok(()) } else { Err(format!("{} objects are there", left.count())) }
    });
    let after = match gone.await {
        Ok(()) => Leftovers::default(),
        // What stays is counted and named.
        Err(_late) => engine.leftovers_of(run, &nodes).await?,
    };
    for (name, value, unit) in [
        ("containers_before", before.containers.len(), "containers"),
        ("containers_after", after.containers.len(), "containers"),
        ("volumes_before", before.volumes.len(), "volumes"),
        ("volumes_after", after.volumes.len(), "volumes"),
    ] {
        trial.measure(name, Some(value as f64), unit);
    }
    let counts = format!(
        "of {} nodes the engine held {} containers and {} volumes before, and {} and {} after the destruction",
        nodes.len(),
        before.containers.len(),
        before.volumes.len(),
        after.containers.len(),
        after.volumes.len()
    );
    if before.containers.is_empty() || before.volumes.is_empty() {
        trial.find(Finding::unconfirmed("destruction-unconfirmed", format!("{counts}, so that nothing is there says nothing")));
    } else if !after.is_empty() {
        let left: Vec<&str> = after.containers.iter().chain(&after.volumes).map(String::as_str).collect();
        trial.find(Finding::unconfirmed("destruction-unconfirmed", counts.clone()).with_witness(left.join("\n")));
    }
    trial.note("fault", counts);
    Ok(())
}

/// How the database refused its backup.
///
/// # Errors
/// What kept the harness from finding out: an error that is none of the database's, or the engine's where it does not answer any more.
async fn refusal(trial: &Trial, error: ScenarioError) -> Result<String, ScenarioError> {
    if !error.is_of_the_database() {
        return Err(error);
    }
    // A database whose machine is gone is late, silent or dead, too.
    let limit = stretched(ENGINE_LIMIT);
    let silent = |_elapsed| EngineError::Unreachable { reason: format!("no answer within {:.0} s", limit.as_secs_f64()) };
    timeout(limit, trial.ground().engine().info()).await.map_err(silent)??;
    Ok(error.to_string())
}

async fn judge_enforcement<T: BackupTarget>(trial: &Trial, target: &T) -> Result<(), ScenarioError> {
    let attempts = target.enforcement().await?;
    let mut failures = 0;
    for attempt in &attempts {
        if attempt.observed.is_ok() != attempt.must_succeed {
            failures += 1;
            let seen = attempt.observed.as_ref().map_or_else(|error| format!("was refused: {error}"), |()| "was accepted".to_owned());
            trial.find(Finding::violation("security-not-restored", format!("{} {seen}", attempt.attempt)));
        }
    }
    trial.measure("enforcement_attempts", Some(attempts.len() as f64), "attempts");
    trial.measure("enforcement_failures", Some(f64::from(failures)), "attempts");
    Ok(())
}
