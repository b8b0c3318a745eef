//! Four servers are loaded, killed, started again and read.

use std::time::Duration;

use dora_fixtures::catalogue::Catalogue;
use dora_harness::database::redis::Keeping;
use dora_reports::evidence::Finding;
use futures_util::future::{join_all, try_join_all};
use tokio::time::sleep;

use super::{
    judge,
    scenario::{FLUSHED_EVERY_SECOND, LOG_OFF, SNAPSHOT_SKIPPED},
    server::{Crash, Server},
};
use crate::{ScenarioError, Trial};

/// Load before the snapshot, and again before the crash: more than the two seconds for which a write may be put off.
const LOAD: Duration = Duration::from_secs(4);

/// The scenario: see its method.
pub async fn durability_levels(trial: &Trial, crash: Crash) -> Result<(), ScenarioError> {
    let catalogue = Catalogue::load();
    let clause = catalogue.get("HA-RDS-3").map_err(|error| ScenarioError::client("find the clause", error))?;
    judge::promise(trial, clause, crash)?;
    let real = |asserted: Keeping| match asserted {
        Keeping::Always if trial.is_sabotaged_by(LOG_OFF) => Keeping::Snapshots,
        Keeping::Always if trial.is_sabotaged_by(FLUSHED_EVERY_SECOND) => Keeping::EverySecond,
        other => other,
    };
    if let Some(sabotage) = trial.sabotage {
        trial.note("sabotage", sabotage.what);
    }
    let started = join_all(Keeping::ALL.map(|asserted| Server::start(trial, asserted, real(asserted), crash))).await;
    let (mut servers, mut failure) = (Vec::new(), None);
    for outcome in started {
        match outcome {
            Ok(server) => servers.push(server),
            Err(error) => failure = Some(error),
        }
    }
    let outcome = match failure {
        None => levels(trial, crash, &mut servers).await,
        Some(error) => Err(error),
    };
    for server in servers {
        server.destroy().await?;
    }
    outcome
}

async fn levels(trial: &Trial, crash: Crash, servers: &mut [Server]) -> Result<(), ScenarioError> {
    for server in servers.iter() {
        trial.note("role", format!("{}: {}", server.asserted, server.configuration().await?));
    }
    sleep(LOAD).await;
    let mut begun = 0;
    if let Some(server) = servers.iter().find(|server| server.asserted == Keeping::Snapshots) {
        begun = server.recorder.now();
        if !trial.is_sabotaged_by(SNAPSHOT_SKIPPED) {
            server.snapshot().await?;
        }
        trial.note("client", "the snapshot is asserted from here on");
    }
    sleep(LOAD).await;
    let records = try_join_all(servers.iter_mut().map(|server| server.crash(trial))).await?;
    for record in &records {
        trial.note("fault", format!("{}: {}", record.target, record.confirmed_by));
        trial.fault(record);
        if record.confirmed_ms.is_none() || record.heal_confirmed_ms.is_none() {
            trial.find(Finding::unconfirmed(
                "fault-unconfirmed",
                format!("no probe saw the {} of {} or its end", record.kind, record.target),
            ));
        }
    }
    for server in servers.iter() {
        let (operations, present) = (server.recorder.operations()?, server.values().await?);
        let result = judge::level(trial, (server.asserted, crash), &operations, &present);
        if server.asserted == Keeping::Always {
            trial.operations(&operations, &result);
        }
        if server.asserted == Keeping::Snapshots {
            judge::snapshot(trial, &operations, &result, begun);
        }
    }
    Ok(())
}
