//! A server is killed while it writes, and its volume is opened again: without a key, with a wrong one, with its own.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use dora_harness::{
    patience::{stretched, within},
    topology::{GroundError, Node},
    volume::{hand_over, withdraw},
};
use dora_reports::evidence::Finding;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{Alone, sabotage::foreign_key};
use crate::{ScenarioError, Trial};

/// How long it writes before it is killed, at least.
const WRITING: Duration = Duration::from_millis(1500);
/// How many writes it has acknowledged before it is killed, at least: with fewer there is hardly anything to lose.
const ACKNOWLEDGED_MIN: usize = 20;
/// It has acknowledged them by then, and is killed in any case.
const WRITING_LIMIT: Duration = Duration::from_secs(30);
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
    let written = write_until_killed(|number| server.write(number), node.kill()).await?;
    let acknowledged = &written.acknowledged;
    trial.note("fault", format!("{} is killed with {} acknowledged writes", node.name(), acknowledged.len()));
    if let Some(obstacle) = written.obstacle() {
        let message = format!(
            "{} was not killed in the middle of its writes ({obstacle}): see what its log says of them, and give a slow machine time with DORA_PATIENCE=2",
            node.name()
        );
        trial.find(Finding::unconfirmed("not-killed-mid-write", message));
    }
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
    // Where nothing was acknowledged, nothing was seen to be kept.
    trial.measure("acknowledged_writes_lost", (!acknowledged.is_empty()).then_some(lost.len() as f64), "writes");
    if let Some(first) = lost.first() {
        let message =
            format!("{} of {} acknowledged writes are gone after the crash, the first is {first}", lost.len(), acknowledged.len());
        trial.find(Finding::violation("acknowledged-write-lost", message));
    }
    Ok(acknowledged.len() as u64)
}

/// What a writer had when its server was killed.
struct Written {
    /// The numbers that were acknowledged.
    acknowledged: BTreeSet<u64>,
    /// In which words the first write was refused; [`None`] where none was.
    refusal: Option<String>,
    /// When the writer ended.
    ended: Instant,
    /// When the kill was asked for.
    killed: Instant,
}

impl Written {
    /// Why the kill did not come in the middle of writes; [`None`] where it did.
    fn obstacle(&self) -> Option<String> {
        let count = self.acknowledged.len();
        match &self.refusal {
            None => Some("it still acknowledged writes after it was killed".to_owned()),
            Some(words) if self.ended <= self.killed => {
                Some(format!("a write was refused before, after {count} acknowledged ones: {words}"))
            }
            Some(_) if count < ACKNOWLEDGED_MIN => {
                Some(format!("it acknowledged {count} writes, at least {ACKNOWLEDGED_MIN} were expected"))
            }
            Some(_) => None,
        }
    }
}

/// Writes numbers one after the other, and kills once enough of them are acknowledged, or the writer ends, or its time is over.
async fn write_until_killed<W, E>(write: impl Fn(u64) -> W, kill: impl Future<Output = Result<(), E>>) -> Result<Written, E>
where
    W: Future<Output = Result<(), String>>,
{
    let (limit, start) = (stretched(WRITING_LIMIT), Instant::now());
    let (progress, mut acknowledgements) = watch::channel(0);
    // It owns `progress`, whose end is its own.
    let writing = async move {
        let (mut acknowledged, mut refusal) = (BTreeSet::new(), None);
        let mut number = 0;
        // It ends with the first write that the dead server does not acknowledge.
        while refusal.is_none() && start.elapsed() < limit * 2 {
            number += 1;
            match write(number).await {
                Ok(()) => {
                    acknowledged.insert(number);
                    progress.send_replace(acknowledged.len());
                }
                Err(words) => refusal = Some(words),
            }
        }
        (acknowledged, refusal, Instant::now())
    };
    let killing = async {
        let enough = acknowledgements.wait_for(|count| *count >= ACKNOWLEDGED_MIN);
        let is_enough = timeout(limit, enough).await.is_ok_and(|seen| seen.is_ok());
        if is_enough {
            sleep(WRITING.saturating_sub(start.elapsed())).await;
        }
        let killed = Instant::now();
        kill.await.map(|()| killed)
    };
    let ((acknowledged, refusal, ended), killed) = tokio::join!(writing, killing);
    Ok(Written { acknowledged, refusal, ended, killed: killed? })
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

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::atomic::{AtomicBool, Ordering},
    };

    use super::*;

    #[tokio::test]
    async fn a_server_that_takes_no_write_was_not_killed_in_the_middle_of_one() {
        let refuse = |_: u64| async { Err("read-only".to_owned()) };
        let written = write_until_killed(refuse, async { Ok::<_, Infallible>(()) }).await.unwrap();
        assert!(written.acknowledged.is_empty());
        assert!(written.obstacle().unwrap().contains("read-only"));
    }

    #[tokio::test]
    async fn a_writer_that_ended_by_itself_was_not_interrupted() {
        let once = |number: u64| async move {
            sleep(Duration::from_millis(1)).await;
            if number <= 40 { Ok(()) } else { Err("out of memory".to_owned()) }
        };
        let written = write_until_killed(once, async { Ok::<_, Infallible>(()) }).await.unwrap();
        assert_eq!(written.acknowledged.len(), 40);
        assert!(written.obstacle().unwrap().contains("after 40 acknowledged ones: out of memory"));
    }

    #[tokio::test]
    async fn the_kill_waits_for_acknowledged_writes() {
        let is_dead = AtomicBool::new(false);
        let write = |_: u64| async {
            sleep(Duration::from_millis(1)).await;
            if is_dead.load(Ordering::Relaxed) { Err("connection reset".to_owned()) } else { Ok(()) }
        };
        let kill = async {
            is_dead.store(true, Ordering::Relaxed);
            Ok::<_, Infallible>(())
        };
        let written = write_until_killed(write, kill).await.unwrap();
        assert!(written.acknowledged.len() >= ACKNOWLEDGED_MIN);
        assert_eq!(written.obstacle(), None);
    }

    #[test]
    fn a_handful_of_writes_is_too_little() {
        let killed = Instant::now();
        let ended = killed + Duration::from_millis(5);
        let written = Written { acknowledged: (1..4).collect(), refusal: Some("connection reset".into()), ended, killed };
        assert!(written.obstacle().unwrap().contains("it acknowledged 3 writes"));
        assert!(Written { refusal: None, ..written }.obstacle().unwrap().contains("after it was killed"));
    }
}
