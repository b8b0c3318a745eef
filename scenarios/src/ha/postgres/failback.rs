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
    /// timeline began, it must have been rewound; where it was asked for that and nothing was learnt, a missing rewind decides nothing.
    pub async fn judge(&self, trial: &Trial, cluster: &PostgresCluster, primary: &Node, node: &Node) -> Result<(), ScenarioError> {
        let before = lock(&self.rewound).get(node.name()).cloned().flatten();
        let all = rewinds(node).await?;
        let rewinds = since(&all, before.as_deref());
        let beyond = self.beyond(cluster, primary, node).await?;
        if let Beyond::Bytes(bytes) = beyond {
            trial.measure("diverged_log", Some(bytes.max(0) as f64), "bytes");
            trial.measure("rewinds", Some(rewinds.len() as f64), "runs");
        }
        match came_back(node.name(), rewinds.last().map(String::as_str), &beyond) {
            Ok(how) => trial.note("role", how),
            Err(finding) => trial.find(finding),
        }
        Ok(())
    }

    /// How far a node's log reached beyond the end of its timeline, as the primary knows that end.
    async fn beyond(&self, cluster: &PostgresCluster, primary: &Node, node: &Node) -> Result<Beyond, ScenarioError> {
        let asked = lock(&self.reaches).get(node.name()).cloned();
        let reach = match asked {
            Some(Ok(reach)) => reach,
            Some(Err(why)) => return Ok(Beyond::Unknown(format!("it did not say how far its log reached: {why}"))),
            None => return Ok(Beyond::NotAsked),
        };
        let end = within("the primary's history", HISTORY_LIMIT, ASK_EVERY, || end_of(cluster, primary, reach.timeline)).await?;
        let unknown = || Beyond::Unknown(format!("{} knows of no end of timeline {}", primary.name(), reach.timeline));
        Ok(end.map_or_else(unknown, |end| Beyond::Bytes(reach.bytes - end)))
    }
}

/// By how much a node's log reached beyond the place where the new primary's timeline began.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Beyond {
    /// Nobody asked: whether it is rewound is not a part of the scenario.
    NotAsked,
    /// It was asked for and not learnt.
    Unknown(String),
    /// By so many bytes; it ended before that place where they are negative.
    Bytes(i64),
}

/// How a node came back, or what is wrong with it, from the last rewind that its log tells of and how far its log had reached.
fn came_back(node: &str, rewind: Option<&str>, beyond: &Beyond) -> Result<String, Finding> {
    match (rewind, beyond) {
        (Some(line), _) => Ok(format!("{node} was rewound to the primary's history: {}", line.trim())),
        (None, Beyond::Bytes(bytes)) if *bytes > 0 => {
            let message = format!(
                "the log of {node} reached {bytes} bytes beyond the place where the new primary's timeline began, and its Patroni tells of no \
                 pg_rewind that succeeded"
            );
            Err(Finding::violation("not-rewound", message))
        }
        (None, Beyond::Bytes(_)) => Ok(format!("{node} had nothing that the primary lacks, and was not rewound")),
        (None, Beyond::Unknown(why)) => {
            let message = format!("it is not known whether {node} had to be rewound, and its Patroni tells of no pg_rewind: {why}");
            Err(Finding::unconfirmed("rewind-undecided", message))
        }
        (None, Beyond::NotAsked) => Ok(format!("{node} was not rewound")),
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
    use dora_reports::evidence::Severity;

    use super::*;

    #[test]
    fn a_rewind_that_is_missing_is_red_only_where_it_was_needed_and_green_only_where_it_was_not() {
        let seen = |rewind, beyond: Beyond| came_back("pg1", rewind, &beyond).map_err(|finding| (finding.severity, finding.id));
        assert_eq!(seen(None, Beyond::Bytes(1)), Err((Severity::Violation, "not-rewound".to_owned())));
        let unknown = || Beyond::Unknown("no answer".to_owned());
        assert_eq!(seen(None, unknown()), Err((Severity::Unconfirmed, "rewind-undecided".to_owned())));
        assert!(seen(None, Beyond::Bytes(0)).is_ok() && seen(None, Beyond::Bytes(-8)).is_ok() && seen(None, Beyond::NotAsked).is_ok());
        for beyond in [Beyond::Bytes(1), unknown(), Beyond::NotAsked] {
            assert!(seen(Some("12:00 pg_rewind exit code=0"), beyond).unwrap().contains("was rewound"));
        }
    }

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
