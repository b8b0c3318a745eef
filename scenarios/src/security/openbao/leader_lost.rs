//! The active server dies.

use std::time::{Duration, Instant};

use dora_harness::{
    database::Cluster as _,
    patience::within,
    service::openbao::{KV_MOUNT, Openbao},
};
use dora_reports::evidence::{Finding, NamedLimit};
use futures_util::future::join_all;
use serde_json::json;

use super::parts::{openbao, text_of};
use crate::{Database, Pillar, Sabotage, Scenario, ScenarioError, Trial};

const NO_QUORUM: &str = "second-server-frozen";
const NOT_REPLICATED: &str = "value-not-kept";

/// The scenario.
pub const SCENARIO: Scenario = Scenario {
    id: "security/openbao/leader-lost",
    title: "Secrets can be read again soon after the active OpenBao server died",
    pillar: Pillar::Security,
    database: Database::Openbao,
    clauses: &["SEC-KMS"],
    goal: "After the active of three servers is killed another one answers within the objective, with every secret that was acknowledged.",
    method: &[
        "a secret is written and acknowledged",
        "the active server is killed with SIGKILL; its port must refuse connections",
        "the secret is asked for at the other servers until one of them, active now, answers with its value; the time is measured",
        "a write to the new active server is acknowledged",
        "the killed server is started, unseals itself and joins as a standby",
    ],
    does_not_show: &["what clients with their own retries see", "the loss of a network between servers"],
    needs_high_availability: true,
    deadline: Duration::from_secs(150),
    sabotages: &[
        Sabotage {
            id: NO_QUORUM,
            what: "a second server is frozen at the same time, so that there is no majority",
            expects: "secrets-unavailable",
        },
        Sabotage { id: NOT_REPLICATED, what: "the secret is deleted before the kill", expects: "secret-lost" },
    ],
    run: |trial| Box::pin(run(trial)),
};

/// How long the other servers are asked; an outage that is longer is no longer measured.
const ASK_LIMIT: Duration = Duration::from_secs(40);
const REJOIN_LIMIT: Duration = Duration::from_secs(40);
const PATH: &str = "leader-lost";

async fn run(trial: &Trial) -> Result<(), ScenarioError> {
    let rto_ms = trial.promise.rto_ms_max()? as f64;
    trial.promise_limits(
        "another server answers soon, with everything that was acknowledged",
        vec![NamedLimit::at_most("first_read", rto_ms, "ms")],
    );
    let bao = openbao(trial).await?;
    if bao.nodes().len() < 3 {
        return Err(ScenarioError::Missing("this profile has one OpenBao server, so there is nothing to fail over to".into()));
    }
    let value = trial.ground().run().to_string();
    bao.write(&format!("{KV_MOUNT}/data/{PATH}"), &json!({ "data": { "value": value } })).await?;
    let (struck, _) = bao.active().await?;
    let struck = struck.clone();
    let others: Vec<_> = bao.nodes().into_iter().filter(|node| node.name() != struck.name()).collect();
    if trial.is_sabotaged_by(NOT_REPLICATED) {
        bao.delete(&format!("{KV_MOUNT}/metadata/{PATH}")).await?;
    }
    if trial.is_sabotaged_by(NO_QUORUM) {
        others[0].pause().await?;
    }
    struck.kill().await?;
    let killed_at = Instant::now();
    trial.note("fault", format!("{} was killed", struck.name()));
    if struck.accepts(dora_harness::service::openbao::PORT).await {
        trial.find(Finding::unconfirmed("kill-not-confirmed", format!("{} still accepts connections", struck.name())));
    }
    let outcome = observe(trial, &bao, &value, killed_at).await;
    if trial.is_sabotaged_by(NO_QUORUM) {
        others[0].unpause().await?;
    }
    struck.start().await?;
    within("the killed server's return", REJOIN_LIMIT, Duration::from_millis(300), || async {
        let sick: Vec<_> = bao.health().await.into_iter().filter(|node| !node.healthy).map(|node| node.observed).collect();
        if sick.is_empty() { Ok(()) } else { Err(sick.join("; ")) }
    })
    .await?;
    trial.note("role", format!("{} is back", struck.name()));
    bao.delete(&format!("{KV_MOUNT}/metadata/{PATH}")).await?;
    outcome
}

async fn observe(trial: &Trial, bao: &Openbao, value: &str, killed_at: Instant) -> Result<(), ScenarioError> {
    // The other servers are asked side by side: one that is frozen must not use up the others' time.
    let active = within("an active server", ASK_LIMIT, Duration::from_millis(100), || async {
        let asked = bao.nodes().into_iter().filter_map(|node| bao.api(&node).map(|api| (node, api.clone())));
        let states = join_all(asked.map(|(node, api)| async move { (node, api.health().await) })).await;
        let words = || states.iter().map(|(node, state)| format!("{}: {state:?}", node.name())).collect::<Vec<_>>().join(", ");
        states
            .iter()
            .find(|(_, state)| matches!(state, Ok(dora_harness::service::openbao::ServerState::Active)))
            .map(|(node, _)| node.clone())
            .ok_or_else(words)
    })
    .await;
    let node = match active {
        Ok(node) => node,
        Err(error) => {
            trial.measure("first_read", None, "ms");
            trial.find(Finding::violation("secrets-unavailable", format!("no other server became active: {error}")));
            return Ok(());
        }
    };
    let missing = || ScenarioError::client("find the active server", "it is not one of the cluster's");
    let api = bao.api(&node).ok_or_else(missing)?;
    let read = within("the secret", ASK_LIMIT, Duration::from_millis(100), || async {
        match api.read(bao.root_token(), &format!("{KV_MOUNT}/data/{PATH}")).await {
            // There is no such secret: an answer, and the wrong one.
            Err(dora_harness::service::openbao::OpenbaoError::Refused { status, .. }) if status.as_u16() == 404 => Ok(None),
            Ok(answer) => Ok(Some(answer)),
            Err(error) => Err(error),
        }
    })
    .await?;
    let after_ms = killed_at.elapsed().as_secs_f64() * 1e3;
    trial.note("role", format!("{} is active after {after_ms:.0} ms", node.name()));
    trial.measure("first_read", Some(after_ms), "ms");
    let kept = match &read {
        Some(answer) => text_of(answer, "/data/data/value")? == value,
        None => false,
    };
    if !kept {
        trial.find(Finding::violation("secret-lost", "a secret that was acknowledged before the kill is not there any more"));
    }
    api.write(bao.root_token(), &format!("{KV_MOUNT}/data/{PATH}"), &json!({ "data": { "value": "after" } })).await?;
    Ok(())
}
