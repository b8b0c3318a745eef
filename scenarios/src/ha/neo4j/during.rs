//! What holds only while the fault lasts.

use std::{net::SocketAddr, time::Duration};

use dora_harness::{
    database::neo4j::{Access, BOLT, GraphError, cypher},
    topology::Node,
};
use dora_reports::evidence::Finding;
use futures_util::future::join_all;
use serde_json::{Map, Value};

use super::{
    case::Case,
    clients::{driver, parameters, statement},
    defect::Defect,
    target::{QUESTION_LIMIT, Target, leads, survivors},
};
use crate::{ScenarioError, Trial};

/// A leader that was cut off waits for its followers, or says that it does not lead. A client that gives up by then was told nothing.
const REFUSAL_LIMIT: Duration = Duration::from_secs(8);

/// Whether the platform itself knows.
pub async fn has_noticed(target: &Target, hit: &[Node]) -> Result<(), String> {
    let survivors = survivors(target, hit);
    let leading = join_all(survivors.iter().map(|core| leads(target, core))).await.into_iter().any(|leads| leads);
    match target.case {
        Case::LeaderKilled | Case::LeaderPaused | Case::LeaderIsolated | Case::None => {
            if leading {
                Ok(())
            } else {
                Err("no survivor says that it leads".into())
            }
        }
        Case::MajorityLost if leading => Err("the survivor says that it leads".into()),
        Case::MajorityLost => Ok(()),
        Case::MinorityLost | Case::ReplicaLost => {
            let core = survivors.first().ok_or("no core is left")?;
            let known = known_by(target, core).await.map_err(|error| error.to_string())?;
            let hit = hit.iter().find(|node| known.contains(&node.socket(BOLT)));
            hit.map_or(Ok(()), |node| Err(format!("{} still knows {}", core.name(), node.name())))
        }
        Case::AllCoresKilled => {
            let answers = join_all(target.cluster.cores().iter().map(|core| target.cluster.role(core))).await;
            if answers.iter().all(Result::is_err) { Ok(()) } else { Err("a core still answers".into()) }
        }
    }
}

/// Members that a core knows of.
async fn known_by(target: &Target, core: &Node) -> Result<Vec<SocketAddr>, GraphError> {
    let rows = target.cluster.client_of(core, QUESTION_LIMIT).await?.ask(cypher("monitoring/members")?).await?;
    let addresses = rows.iter().filter_map(|row| row["addresses"].as_array()).flatten().filter_map(Value::as_str);
    Ok(addresses.filter_map(|address| address.strip_prefix("bolt://")).filter_map(|address| address.parse().ok()).collect())
}

/// The checks of a case.
pub async fn check(target: &Target, trial: &Trial, hit: &[Node]) -> Result<(), ScenarioError> {
    match target.case {
        Case::LeaderIsolated => old_leader_refuses(target, trial, hit).await,
        Case::MajorityLost => survivor_reads(target, trial).await,
        _ => Ok(()),
    }
}

/// A client on the old leader's side writes there, and must not be told that it was done.
async fn old_leader_refuses(target: &Target, trial: &Trial, hit: &[Node]) -> Result<(), ScenarioError> {
    let Some(old) = hit.first() else { return Ok(()) };
    let mut client =
        target.cluster.client_of(old, REFUSAL_LIMIT).await.map_err(|error| ScenarioError::client("reach the old leader", error))?;
    let asked = trial.now_ms();
    match client.run(statement("stray")?, &parameters([("at", asked.into())])).await {
        Ok(_) => {
            let message = format!("{} led before it was cut off, and still acknowledges writes to a client on its side", old.name());
            trial.find(Finding::violation("old-leader-accepts-writes", message));
        }
        Err(error) => trial.note("client", format!("{} answers a write on its side with: {error}", old.name())),
    }
    Ok(())
}

/// Who is left goes on answering reads, through the routing table as an application has it.
async fn survivor_reads(target: &Target, trial: &Trial) -> Result<(), ScenarioError> {
    let access = if target.defect == Some(Defect::ReadsAtWriter) { Access::Write } else { Access::Read };
    let mut driver = driver(&target.cluster, 0, None);
    let mut last = String::new();
    // The first tables may be those of before: a driver learns by failing.
    for _ in 0..target.cluster.cores().len() * 2 {
        match driver.run(access, statement("read_and_say_where")?, &Map::new()).await {
            Ok(answer) => {
                let number = answer.rows.first().and_then(|row| row["number"].as_u64());
                trial.measure("survivor_reads", number.map(|number| number as f64), "values");
                trial.note("client", format!("{} answers reads", answer.server.ip()));
                return Ok(());
            }
            Err(error) => last = error.to_string(),
        }
    }
    trial.find(Finding::violation("survivor-does-not-read", format!("nobody answers reads while the majority is lost: {last}")));
    Ok(())
}
