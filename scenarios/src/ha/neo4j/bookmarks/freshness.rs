//! Reads on every server right after a write, while all is well.

use std::time::Duration;

use dora_harness::topology::Node;
use tokio::time::Instant;

use super::course::Course;
use crate::ScenarioError;

/// Sessions that read on all servers in turn.
const SESSIONS: usize = 32;
/// Sessions that read without a bookmark.
const PLAIN: u32 = 24;
/// What is not stale for ever is seen by then.
const VISIBLE_LIMIT: Duration = Duration::from_secs(15);

/// Every session reads on all servers, and each round begins with another one: who is asked first has had the least time to follow.
pub async fn with_bookmarks(course: &mut Course<'_>) -> Result<(), ScenarioError> {
    let members: Vec<Node> = course.target.cluster.members().cloned().collect();
    let mut sessions = Vec::new();
    for member in &members {
        sessions.push(course.session(member).await?);
    }
    let mut longest = Duration::ZERO;
    for round in 0..SESSIONS {
        let written = course.write_marked().await?;
        for offset in 0..members.len() {
            let at = (round + offset) % members.len();
            let started = Instant::now();
            match course.read_marked(&mut sessions[at], &written).await? {
                Ok(_) => longest = longest.max(started.elapsed()),
                Err(error) => {
                    course.not_answered(&members[at], &error);
                    sessions[at] = course.session(&members[at]).await?;
                }
            }
        }
    }
    course.trial.measure("longest_read_with_bookmark", Some(longest.as_secs_f64() * 1e3), "ms");
    course.trial.note("client", format!("{SESSIONS} sessions read on {} servers with the bookmark of their write", members.len()));
    Ok(())
}

/// How often a read without a bookmark is stale, and for how long.
pub async fn without_bookmarks(course: &mut Course<'_>) -> Result<(), ScenarioError> {
    let leader = course.target.leader().await?;
    let others: Vec<Node> = course.target.cluster.members().filter(|member| member.name() != leader.name()).cloned().collect();
    let mut sessions = Vec::new();
    for member in &others {
        sessions.push(course.plain_session(member).await?);
    }
    let (mut stale, mut longest) = (0_u32, Duration::ZERO);
    for round in 0..PLAIN as usize {
        let written = course.write_plain().await?;
        let (at, since) = (round % others.len(), Instant::now());
        let mut is_stale = false;
        while course.read_plain(&mut sessions[at], &written).await?.is_null() {
            is_stale = true;
            if since.elapsed() > VISIBLE_LIMIT {
                return Err(ScenarioError::client("see a write without a bookmark", format!("{} lags for ever", others[at].name())));
            }
        }
        if is_stale {
            stale += 1;
            longest = longest.max(since.elapsed());
        }
    }
    course.trial.measure("stale_without_bookmark", Some(100.0 * f64::from(stale) / f64::from(PLAIN)), "percent");
    course.trial.measure("longest_staleness", Some(longest.as_secs_f64() * 1e3), "ms");
    Ok(())
}
