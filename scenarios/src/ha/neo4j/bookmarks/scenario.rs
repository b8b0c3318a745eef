//! The scenario and its order of events.

use std::time::Duration;

use dora_reports::evidence::NamedLimit;

use super::{course::Course, freshness, lag};
use crate::{
    Database, Pillar, Sabotage, Scenario, ScenarioError, Trial,
    ha::{
        HaTarget as _,
        neo4j::{case::Case, target::Target},
    },
};

/// `ha/neo4j/bookmarks`.
pub const BOOKMARKS: Scenario = Scenario {
    id: "ha/neo4j/bookmarks",
    title: "Neo4j: a read that carries a bookmark sees the write on every server, or waits for it",
    pillar: Pillar::Ha,
    database: Database::Neo4j,
    clauses: &["HA-NEO-3"],
    goal: "Whoever carries the bookmark of a write sees that write on cores and replica, however far the replica lags; without one the staleness is known.",
    method: &[
        "a session writes at the leader and reads on every server in turn with the write's bookmark; the server that is asked first changes with every round",
        "without a bookmark the same is read until it is seen: how often the first answer is stale, and how long staleness lasts",
        "the replica is frozen, a write is made, a read with and one without its bookmark are sent to the frozen replica, and it is woken up",
        "the replica is cut off from the cores, a write is made; a read without its bookmark answers the old value, one with it waits until the partition is healed",
        "the history of all reads with bookmarks is checked for causal consistency",
    ],
    does_not_show: &["bookmarks of several sessions that one client combines", "clustering of releases newer than 3.3"],
    needs_high_availability: true,
    deadline: Duration::from_secs(240),
    sabotages: &[
        Sabotage { id: "bookmark-dropped", what: "the client drops the bookmark", expects: "cause-not-seen" },
        Sabotage {
            id: "impatient",
            what: "the client gives a server up that has to catch up first, and does not ask again",
            expects: "bookmark-read-not-answered",
        },
    ],
    run: |trial| Box::pin(run(trial)),
};

async fn run(trial: &Trial) -> Result<(), ScenarioError> {
    let catch_up_ms = trial.promise.catch_up_ms_max()? as f64;
    trial.promise_limits(
        format!(
            "no read with a bookmark misses its write on any server; a replica that was cut off answers such a read within {:.0} s",
            catch_up_ms / 1e3
        ),
        vec![NamedLimit::at_most("reads_not_answered", 0.0, "reads"), NamedLimit::at_most("catch_up", catch_up_ms, "ms")],
    );
    let target = Target::of(trial, Case::None).await?;
    target.prepare().await?;
    let mut course = Course::begin(trial, &target).await?;
    if let Some(sabotage) = trial.sabotage {
        trial.note("sabotage", sabotage.what);
    }
    freshness::with_bookmarks(&mut course).await?;
    freshness::without_bookmarks(&mut course).await?;
    lag::by_pauses(&mut course).await?;
    lag::by_partition(&mut course).await?;
    course.judge()
}
