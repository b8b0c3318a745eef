//! A server is killed while it writes, and its volume is opened again: without a key, with a wrong one, with its own.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use dora_harness::{
    patience::within,
    topology::{GroundError, Node},
    volume::{hand_over, withdraw},
};
use dora_reports::evidence::Finding;

use super::{Alone, sabotage::foreign_key};
use crate::{ScenarioError, Trial};

/// How long it writes before it is killed.
const WRITING: Duration = Duration::from_millis(1500);
/// A node that lacks its key has said so by then; one that has a wrong one has ended.
const NOTICE_LIMIT: Duration = Duration::from_secs(20);
/// A killed server has recovered by then.
const RECOVERY_LIMIT: Duration = Duration::from_secs(90);
/// What the node's start says while it waits.
const WAITING: &str = "waiting for the key of the data volume";
/// What the provider says of a wrong key.
const REFUSED: &str = "Password incorrect";

/// Kills the server mid-write and brings it back; returns how many acknowledged writes there were.
pub async fn crash_and_recover(trial: &Trial, server: &dyn Alone) -> Result<u64, ScenarioError> {
    let node = server.node();
    let acknowledged = write_until_killed(server).await?;
    trial.note("fault", format!("{} is killed with {} acknowledged writes", node.name(), acknowledged.len()));
    starved(trial, server).await?;
    let started = if node.protection().is_some() {
        wrong_key(trial, node).await?;
        let own = trial.ground().volumes().key(node.name()).await.map_err(GroundError::from)?;
        withdraw(node).await.map_err(GroundError::from)?;
        hand_over(node, &own).await.map_err(GroundError::from)?;
        let started = Instant::now();
        node.start().await?;
        started
    } else {
        Instant::now()
    };
    let found = within("the killed server's data", RECOVERY_LIMIT, Duration::from_millis(200), || server.read()).await?;
    trial.measure("recovery_after_kill", Some(started.elapsed().as_secs_f64() * 1e3), "ms");
    let lost: Vec<&u64> = acknowledged.difference(&found).collect();
    trial.measure("acknowledged_writes_lost", Some(lost.len() as f64), "writes");
    if let Some(first) = lost.first() {
        let message =
            format!("{} of {} acknowledged writes are gone after the crash, the first is {first}", lost.len(), acknowledged.len());
        trial.find(Finding::violation("acknowledged-write-lost", message));
    }
    Ok(acknowledged.len() as u64)
}

async fn write_until_killed(server: &dyn Alone) -> Result<BTreeSet<u64>, ScenarioError> {
    let mut acknowledged = BTreeSet::new();
    let writing = async {
        let start = Instant::now();
        let mut number = 0;
        // It ends with the first write that the dead server does not acknowledge.
        while start.elapsed() < WRITING * 4 {
            number += 1;
            if server.write(number).await.is_err() {
                return;
            }
            acknowledged.insert(number);
        }
    };
    let killing = async {
        tokio::time::sleep(WRITING).await;
        server.node().kill().await
    };
    let ((), killed) = tokio::join!(writing, killing);
    killed?;
    Ok(acknowledged)
}

/// Without its key the node must wait and say so, and serve nobody.
async fn starved(trial: &Trial, server: &dyn Alone) -> Result<(), ScenarioError> {
    let node = server.node();
    if node.protection().is_some() {
        withdraw(node).await.map_err(GroundError::from)?;
    }
    let before = said(node, WAITING).await;
    node.start().await?;
    let waited = within("the node's word that it waits for its key", NOTICE_LIMIT, Duration::from_millis(200), || async {
        if server.read().await.is_ok() {
            return Ok(false);
        }
        if said(node, WAITING).await > before { Ok(true) } else { Err("it says nothing of a key") }
    })
    .await;
    match waited {
        Ok(true) => trial.note("probe", format!("without its key {} waits and says so", node.name())),
        Ok(false) => {
            trial.find(Finding::violation("serves-without-key", format!("{} was started without a key and serves its data", node.name())));
        }
        Err(error) => trial.find(Finding::unconfirmed("silent-without-key", error.to_string())),
    }
    Ok(())
}

/// With another's key the node must end, because of the key.
async fn wrong_key(trial: &Trial, node: &Node) -> Result<(), ScenarioError> {
    hand_over(node, &foreign_key(trial, node).await?).await.map_err(GroundError::from)?;
    let ended = within("the end of a node with a wrong key", NOTICE_LIMIT, Duration::from_millis(200), || async {
        match node.state().await {
            Ok(state) if !state.running => Ok(()),
            Ok(_) => Err("it runs".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await;
    match ended {
        Ok(()) if said(node, REFUSED).await > 0 => trial.note("probe", format!("with another's key {} ends: {REFUSED}", node.name())),
        Ok(()) => {
            trial.find(Finding::unconfirmed("ended-for-another-reason", format!("{} ended, but not because of the key", node.name())));
        }
        Err(_) => trial.find(Finding::violation("wrong-key-accepted", format!("{} runs on with another's key", node.name()))),
    }
    Ok(())
}

async fn said(node: &Node, words: &str) -> usize {
    node.logs(400).await.unwrap_or_default().iter().filter(|line| line.contains(words)).count()
}
