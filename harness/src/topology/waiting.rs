//! Waiting until a node that was started is ready, or has ended.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use super::{Ground, GroundError, Node};
use crate::{patience::within, security::redacted};

/// How often a node that is waited for is asked whether it runs at all.
const ENDED_EVERY: Duration = Duration::from_secs(1);
/// Lines of a running node's log that an error tells.
const LAST_LINES: usize = 12;
/// Those of a node that has ended: why it did stands before what it said while it ended.
const LAST_WORDS: usize = 40;

impl Ground {
    /// Waits until `attempt` succeeds and notes it as the node's (or cluster's) boot phase. A node of that name or cluster whose container
    /// ends meanwhile ends the wait: while a platform starts, nobody starts it again. On failure the error carries the last log lines of
    /// those nodes, without secrets.
    ///
    /// # Errors
    /// [`GroundError::Database`] when a node has ended, or after `limit` (stretched).
    pub async fn wait_ready<T, E, F, Fut>(
        &self,
        who: &str,
        phase: &str,
        waited_for: Option<&str>,
        limit: Duration,
        attempt: F,
    ) -> Result<T, GroundError>
    where
        E: std::fmt::Display,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let what = format!("{who}: {phase}");
        // Boxed: starts are futures in futures in futures, and the compiler's depth limit for them is near.
        let waiting = Box::pin(within(&what, limit, Duration::from_millis(150), attempt));
        let outcome = async {
            tokio::select! {
                biased;
                outcome = waiting => outcome.map_err(|deadline| deadline.to_string()),
                node = self.ended(who) => Err(format!("{what} did not happen, for node {node} has ended")),
            }
        };
        match self.boot().phase(who, phase, waited_for, outcome).await {
            Ok(value) => Ok(value),
            Err(mut reason) => {
                for node in self.nodes_of(who) {
                    let (state, count) = match node.state().await {
                        Ok(state) if state.running => ("running".to_owned(), LAST_LINES),
                        Ok(state) => (format!("ended with {}", state.exit_code), LAST_WORDS),
                        // It was destroyed before, and has nothing to say here.
                        Err(error) if error.is_gone() => continue,
                        Err(error) => (error.to_string(), LAST_LINES),
                    };
                    let lines = redacted(&node.logs(count).await.unwrap_or_default());
                    // Writing to a string cannot fail.
                    let _ = write!(reason, "\n  node {} ({state}), last log lines:\n    {}", node.name(), lines.join("\n    "));
                }
                Err(GroundError::database(who, reason))
            }
        }
    }

    /// Waits until a container of a node of that name or cluster does not run any more, and answers which. An engine without an answer is
    /// asked again: whoever waits beside this has a deadline.
    async fn ended(&self, who: &str) -> String {
        loop {
            tokio::time::sleep(ENDED_EVERY).await;
            for node in self.nodes_of(who) {
                if node.state().await.is_ok_and(|state| !state.running) {
                    return node.name().to_owned();
                }
            }
        }
    }

    /// The nodes of that name or cluster; of those that had a name one after the other, the last.
    fn nodes_of(&self, who: &str) -> Vec<Node> {
        let nodes = self.nodes().into_iter().filter(|node| node.name() == who || node.cluster() == who);
        let newest: BTreeMap<String, Node> = nodes.map(|node| (node.name().to_owned(), node)).collect();
        newest.into_values().collect()
    }
}
