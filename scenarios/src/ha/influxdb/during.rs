//! What holds while the fault lasts.

use std::time::Duration;

use dora_harness::{
    database::{
        Cluster as _,
        influxdb::{Consistency, PORT, influxql, influxql_with},
    },
    history::{Outcome, Recorder},
    patience::within,
    topology::Node,
};
use dora_reports::evidence::Finding;
use futures_util::future::join_all;
use serde_json::json;

use super::{
    clients::outcome,
    set::{Set, failed, others},
    target::{Case, Points},
};
use crate::{ScenarioError, Trial};

/// Longer than the server's own limit for a write, so that its answer is seen and not our impatience.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(8);
/// Writes of one kind.
const ATTEMPTS: u64 = 5;
/// What the databases are called that show that the metadata can be changed.
const MADE: &str = "made_under_a_new_leader";
/// A change of the metadata goes through by then.
const CHANGE_LIMIT: Duration = Duration::from_secs(15);

/// The platform's own word about the fault.
pub async fn has_noticed(points: &Points, hit: &[Node]) -> Result<(), String> {
    let survivors = others(&points.influx.nodes(), hit);
    if survivors.is_empty() {
        // Nobody is left to say anything: that no port answers is the word.
        for node in hit {
            if node.accepts(PORT).await {
                return Err(format!("{} still answers", node.name()));
            }
        }
        return Ok(());
    }
    if points.case == Case::MetaLeaderKilled {
        let leader = new_leader(points, hit).await?;
        return if leader.is_empty() { Err("there is no new leader".into()) } else { Ok(()) };
    }
    // A survivor keeps writes for a node that it cannot reach.
    for node in survivors {
        let waiting = points.influx.waiting_hints(&node).await.map_err(|error| error.to_string())?;
        if !waiting.is_empty() {
            return Ok(());
        }
    }
    Err("no survivor keeps writes for another node".into())
}

/// The leader of the meta nodes that every survivor names, and that is one of them.
async fn new_leader(points: &Points, hit: &[Node]) -> Result<String, String> {
    let survivors = others(&points.influx.nodes(), hit);
    let (mut named, mut silent) = (Vec::new(), Vec::new());
    for node in &survivors {
        let leader = match points.influx.meta_leader(node).await {
            Ok(leader) => leader.ok_or_else(|| format!("{} knows of no leader", node.name()))?,
            Err(error) => {
                // What the others say weighs more.
                silent.push(format!("the meta service of {} is silent: {error}", node.name()));
                continue;
            }
        };
        if !survivors.iter().any(|survivor| survivor.name() == leader.name()) {
            return Err(format!("{} still takes {} for the leader", node.name(), leader.name()));
        }
        named.push(leader.name().to_owned());
    }
    if let Some(why) = silent.pop() {
        return Err(why);
    }
    named.dedup();
    match named.as_slice() {
        [leader] => Ok(leader.clone()),
        _ => Err(format!("the survivors name {}", named.join(" and "))),
    }
}

/// The case's own checks.
pub async fn check(points: &Points, trial: &Trial, hit: &[Node]) -> Result<(), ScenarioError> {
    match points.case {
        Case::Isolated => isolated_refuses(points, trial, hit).await,
        Case::MetaLeaderKilled => metadata_change(points, trial, hit).await,
        Case::TwoLost => survivor_accepts(points, trial, hit).await,
        Case::Killed | Case::Paused | Case::AllKilled => Ok(()),
    }
}

/// Removes the databases that were made while a fault lasted.
pub async fn tidy_up(points: &Points) -> Result<(), ScenarioError> {
    let made = points.influx.databases().await.map_err(failed("list the databases"))?;
    for database in made.iter().filter(|name| name.starts_with(MADE)) {
        points.influx.drop_database(database).await.map_err(failed("remove a database that was made meanwhile"))?;
    }
    Ok(())
}

/// Writes to one node with one consistency, all at the same time, each recorded; how many were acknowledged.
async fn attempts(points: &Points, node: &Node, level: Consistency, set: &Set, history: (&Recorder, u64)) -> Result<u64, ScenarioError> {
    let client = points.influx.client(node, points.influx.application(), ANSWER_LIMIT).map_err(failed("make a client"))?;
    let (recorder, series) = history;
    let write = |attempt: u64| {
        let client = client.clone();
        async move {
            let value = series * ATTEMPTS + attempt;
            // Each is of a process of its own: all are under way at the same time.
            let process = u32::try_from(value).unwrap_or(u32::MAX);
            recorder.invoke(process, level.name(), &value.into());
            let ended = outcome(client.write(set.database, set.point(value), level).await);
            recorder.complete(process, level.name(), &value.into(), &ended);
            u64::from(ended == Outcome::Ok)
        }
    };
    let acknowledged = join_all((0..ATTEMPTS).map(write)).await.into_iter().sum();
    recorder.flush()?;
    Ok(acknowledged)
}

/// A node that no other hears must not claim that a majority has a point.
async fn isolated_refuses(points: &Points, trial: &Trial, hit: &[Node]) -> Result<(), ScenarioError> {
    let Some(node) = hit.first() else { return Ok(()) };
    let habits = points.habits();
    let set = Set::fresh(habits.database, "isolated");
    let (recorder, _file) = trial.further_recorder("isolated")?;
    let acknowledged = attempts(points, node, habits.level, &set, (&recorder, 0)).await?;
    trial.measure("acknowledged_by_the_isolated_node", Some(acknowledged as f64), "operations");
    if acknowledged > 0 {
        let message = format!("{}, cut from all others, acknowledged {acknowledged} of {ATTEMPTS} quorum writes", node.name());
        trial.find(Finding::violation("acknowledged-without-quorum", message));
    }
    Ok(())
}

/// With a new leader the metadata can be changed, and every survivor hears of it.
async fn metadata_change(points: &Points, trial: &Trial, hit: &[Node]) -> Result<(), ScenarioError> {
    let survivors = others(&points.influx.nodes(), hit);
    let database = Set::fresh("", MADE).measurement;
    let create = influxql_with("administration/create_database", json!({ "database": database })).map_err(failed("create a database"))?;
    let question = influxql("monitoring/databases").map_err(failed("list the databases"))?;
    let attempt = || async {
        let leader = new_leader(points, hit).await?;
        let first = survivors.first().ok_or("no node survived")?;
        let owner = points.influx.owner(first).map_err(|error| error.to_string())?;
        owner.query(&create, None).await.map_err(|error| error.to_string())?;
        for node in &survivors {
            let owner = points.influx.owner(node).map_err(|error| error.to_string())?;
            let known = owner.query(question, None).await.map_err(|error| error.to_string())?.first_column();
            if !known.contains(&database) {
                return Err(format!("{} has not heard of the new database", node.name()));
            }
        }
        Ok::<String, String>(leader)
    };
    match within("a change of the metadata", CHANGE_LIMIT, Duration::from_millis(250), attempt).await {
        Ok(leader) => {
            trial.note("role", format!("{leader} leads the meta nodes; a new database is known to every survivor"));
        }
        Err(error) => trial.find(Finding::violation("no-meta-leader", format!("the metadata could not be changed: {}", error.last))),
    }
    Ok(())
}

/// The last node still takes what asks for one copy at most.
async fn survivor_accepts(points: &Points, trial: &Trial, hit: &[Node]) -> Result<(), ScenarioError> {
    let survivors = others(&points.influx.nodes(), hit);
    let Some(node) = survivors.first() else { return Ok(()) };
    let set = Set::fresh(points.habits().database, "survivor");
    let (recorder, _file) = trial.further_recorder("survivor")?;
    for (series, level) in (0..).zip([Consistency::Any, Consistency::One]) {
        let acknowledged = attempts(points, node, level, &set, (&recorder, series)).await?;
        trial.measure(&format!("acknowledged_{}_by_the_survivor", level.name()), Some(acknowledged as f64), "operations");
        if acknowledged < ATTEMPTS {
            let message = format!("{} acknowledged {acknowledged} of {ATTEMPTS} writes with consistency {}", node.name(), level.name());
            trial.find(Finding::violation("level-not-kept", message));
        }
    }
    Ok(())
}
