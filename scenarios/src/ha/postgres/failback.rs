//! How an old primary comes back: whether its log went another way than the new primary's, and whether `pg_rewind` took it back to what
//! both have in common.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use dora_fixtures::assets;
use dora_harness::{
    database::postgres::{AccessError, PostgresCluster, connect},
    patience::within,
    topology::Node,
};
use dora_reports::evidence::Finding;
use sqlx::Row as _;
use tokio::time::timeout;

use super::line::CONNECT_LIMIT;
use crate::{ScenarioError, Trial};

/// More of a node's log than it writes while it is away and comes back.
const LOG_LINES: usize = 5_000;
/// Patroni's word that a rewind succeeded.
const REWOUND: &str = "pg_rewind exit code=0";
/// One small question.
const ASK_LIMIT: Duration = Duration::from_secs(3);
const ASK_EVERY: Duration = Duration::from_millis(250);
/// The new primary tells its history by then.
const HISTORY_LIMIT: Duration = Duration::from_secs(15);

/// How far a server's log reached at a moment.
#[derive(Debug, Clone, Copy)]
struct Reach {
    timeline: i64,
    /// From the beginning of the log.
    bytes: i64,
}

/// What is known of the nodes that were hit, each by its name, from the time before they came back.
#[derive(Debug, Default)]
pub struct Failback {
    /// The last rewind of which a node's log told.
    rewound: Mutex<BTreeMap<String, Option<String>>>,
    /// How far the log of a node reached of which nobody heard any more, or why that was not learnt.
    reaches: Mutex<BTreeMap<String, Result<Reach, String>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Failback {
    /// Notes which rewinds are none of the fault's: to be called before it.
    pub async fn note_rewinds(&self, node: &Node) -> Result<(), ScenarioError> {
        let last = rewinds(node).await?.pop();
        lock(&self.rewound).insert(node.name().to_owned(), last);
        Ok(())
    }

    /// Notes how far the log of an old primary reaches: to be called while no other server hears of it. It has `limit` to answer.
    pub async fn note_reach(&self, cluster: &PostgresCluster, node: &Node, limit: Duration) {
        let asked = within("the reach of a log", limit, ASK_EVERY, || reach(cluster, node)).await;
        lock(&self.reaches).insert(node.name().to_owned(), asked.map_err(|error| error.to_string()));
    }

    /// Tells how a node came back, in its own words. Where it is known that its log went on beyond the place where the new primary's
    /// timeline began, it must have been rewound.
    pub async fn judge(&self, trial: &Trial, cluster: &PostgresCluster, primary: &Node, node: &Node) -> Result<(), ScenarioError> {
        let before = lock(&self.rewound).get(node.name()).cloned().flatten();
        let all = rewinds(node).await?;
        let rewinds = since(&all, before.as_deref());
        let beyond = self.beyond(trial, cluster, primary, node).await?;
        if let Some(bytes) = beyond {
            trial.measure("diverged_log", Some(bytes.max(0) as f64), "bytes");
            trial.measure("rewinds", Some(rewinds.len() as f64), "runs");
        }
        match (rewinds.last(), beyond) {
            (Some(line), _) => trial.note("role", format!("{} was rewound to the primary's history: {}", node.name(), line.trim())),
            (None, Some(bytes)) if bytes > 0 => {
                let message = format!(
                    "the log of {} reached {bytes} bytes beyond the place where the new primary's timeline began, and its Patroni tells of no \
                     pg_rewind that succeeded",
                    node.name()
                );
                trial.find(Finding::violation("not-rewound", message));
            }
            (None, _) => trial.note("role", format!("{} had nothing that the primary lacks, and was not rewound", node.name())),
        }
        Ok(())
    }

    /// By how many bytes a node's log reached beyond the end of its timeline, as the primary knows that end; [`None`] where it is not known.
    async fn beyond(&self, trial: &Trial, cluster: &PostgresCluster, primary: &Node, node: &Node) -> Result<Option<i64>, ScenarioError> {
        let asked = lock(&self.reaches).get(node.name()).cloned();
        let reach = match asked {
            Some(Ok(reach)) => reach,
            Some(Err(why)) => {
                trial.note("role", format!("it is not known how far the log of {} reached: {why}", node.name()));
                return Ok(None);
            }
            None => return Ok(None),
        };
        let end = within("the primary's history", HISTORY_LIMIT, ASK_EVERY, || end_of(cluster, primary, reach.timeline)).await?;
        if end.is_none() {
            trial.note("role", format!("{} knows of no end of timeline {}", primary.name(), reach.timeline));
        }
        Ok(end.map(|end| reach.bytes - end))
    }
}

/// What a node's log says of rewinds that succeeded, oldest first.
async fn rewinds(node: &Node) -> Result<Vec<String>, ScenarioError> {
    let lines = node.logs(LOG_LINES).await?;
    Ok(lines.into_iter().filter(|line| line.contains(REWOUND)).collect())
}

/// Those that came after this one. Each line has its time, so no two are equal; one that is no longer among the last lines is older than all.
fn since<'a>(rewinds: &'a [String], before: Option<&str>) -> &'a [String] {
    let from = before.and_then(|last| rewinds.iter().rposition(|line| line == last)).map_or(0, |at| at + 1);
    &rewinds[from..]
}

async fn answered<T>(what: String, ask: impl Future<Output = Result<T, AccessError>>) -> Result<T, ScenarioError> {
    let answer = timeout(ASK_LIMIT, ask).await.unwrap_or(Err(AccessError::Deadline(ASK_LIMIT)));
    answer.map_err(|error| ScenarioError::client(what, error))
}

async fn reach(cluster: &PostgresCluster, node: &Node) -> Result<Reach, ScenarioError> {
    let question = assets::text("schema/postgres/failback/reach.sql")?;
    let ask = async {
        let mut connection = connect(&cluster.superuser_login(node), CONNECT_LIMIT).await?;
        let row = sqlx::query(question).fetch_one(&mut connection).await?;
        Ok::<Reach, AccessError>(Reach { timeline: row.try_get("timeline")?, bytes: row.try_get("bytes")? })
    };
    answered(format!("ask {} how far its log reaches", node.name()), ask).await
}

/// Where a timeline ended in the primary's history, in bytes; [`None`] where that history does not name it.
async fn end_of(cluster: &PostgresCluster, primary: &Node, timeline: i64) -> Result<Option<i64>, ScenarioError> {
    let question = assets::text("schema/postgres/failback/end_of_timeline.sql")?;
    let ask = async {
        let mut connection = connect(&cluster.superuser_login(primary), CONNECT_LIMIT).await?;
        let end = sqlx::query_scalar::<_, i64>(question).bind(timeline).fetch_optional(&mut connection).await?;
        Ok::<Option<i64>, AccessError>(end)
    };
    answered(format!("ask {} for its history", primary.name()), ask).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rewind_of_an_earlier_fault_does_not_count() {
        let lines: Vec<String> = ["10:00 one", "11:00 two", "12:00 three"].map(str::to_owned).to_vec();
        assert_eq!(since(&lines, Some("11:00 two")), ["12:00 three"]);
        assert!(since(&lines, Some("12:00 three")).is_empty());
        assert_eq!(since(&lines, None).len(), 3);
        // So many lines came after it that it is no longer read.
        assert_eq!(since(&lines, Some("09:00 none")).len(), 3);
    }
}
