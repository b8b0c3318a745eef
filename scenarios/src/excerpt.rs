//! Pieces of nodes' logs for the report.

use std::time::{Duration, SystemTime};

use dora_harness::{engine::EngineError, security::redacted, topology::Node};
use dora_reports::evidence::{FaultEvidence, Finding, LogExcerpt, ScenarioEvidence, Verdict};
use futures_util::future::join_all;
use tokio::time::timeout;

/// A log that was not read by then is not waited for: the platform's next scenario is.
const READ_LIMIT: Duration = Duration::from_secs(5);
/// What a node wrote just before a fault belongs to it.
const BEFORE: Duration = Duration::from_secs(1);
/// Lines of each node where nobody asked for another number.
const LINES: usize = 15;
/// Nodes of one scenario whose logs are in the report; those of all are in the bundle's `logs`.
const NODES_MAX: usize = 12;
/// Characters of a line; some databases write whole documents into one.
const WIDTH: usize = 400;

/// Lines of a node's log without secrets: the first ones since the fault that struck it, else since the first fault of all, else the last
/// ones. `began` is the zero of the faults' times. [`None`] where its container is gone: then its log is in the bundle's `logs`.
pub(crate) async fn of(node: &Node, faults: &[FaultEvidence], began: SystemTime, count: usize) -> Option<LogExcerpt> {
    let after = |ms: f64| Duration::try_from_secs_f64(ms / 1e3).unwrap_or_default().saturating_sub(BEFORE);
    let since = struck_ms(node.name(), faults).map(|ms| began + after(ms));
    let lines = match timeout(READ_LIMIT, read(node, since, count)).await {
        Ok(Ok(lines)) => redacted(&lines).into_iter().map(|line| line.chars().take(WIDTH).collect::<String>()).collect(),
        Ok(Err(error)) if error.is_gone() => return None,
        Ok(Err(error)) => vec![format!("this log could not be read: {error}")],
        Err(_elapsed) => vec![format!("this log could not be read within {} s", READ_LIMIT.as_secs())],
    };
    Some(LogExcerpt { node: node.name().to_owned(), lines })
}

/// Adds to evidence that is red or undecided which of these nodes the kernel ended for their memory, and an excerpt of each unless it has
/// one; those that were struck go first.
pub(crate) async fn explain(evidence: &mut ScenarioEvidence, mut nodes: Vec<Node>, began: SystemTime) {
    if !matches!(evidence.verdict, Verdict::NotSatisfied | Verdict::Inconclusive) {
        return;
    }
    let ended = join_all(nodes.iter().map(out_of_memory)).await;
    evidence.findings.extend(ended.into_iter().flatten());
    nodes.retain(|node| evidence.log_excerpts.iter().all(|known| known.node != node.name()));
    nodes.sort_by_key(|node| !evidence.faults.iter().any(|fault| strikes(fault, node.name())));
    nodes.truncate(NODES_MAX);
    let excerpts = join_all(nodes.iter().map(|node| of(node, &evidence.faults, began, LINES))).await;
    evidence.log_excerpts.extend(excerpts.into_iter().flatten());
}

/// A node that has ended because it reached its limit. Its own log says nothing of that.
async fn out_of_memory(node: &Node) -> Option<Finding> {
    let state = timeout(READ_LIMIT, node.state()).await.ok()?.ok()?;
    let mebibytes = node.memory_limit_bytes() >> 20;
    (state.oom_killed && !state.running).then(|| {
        let message = format!(
            "the kernel ended {}, which had reached its limit of {mebibytes} MiB of memory (`memory_mib` in fixtures/topology)",
            node.name()
        );
        Finding::note("out-of-memory", message)
    })
}

async fn read(node: &Node, since: Option<SystemTime>, count: usize) -> Result<Vec<String>, EngineError> {
    if let Some(since) = since {
        let lines = node.logs_since(since, count).await?;
        if !lines.is_empty() {
            return Ok(lines);
        }
    }
    node.logs(count).await
}

/// When the fault was ordered whose time counts for this node.
fn struck_ms(node: &str, faults: &[FaultEvidence]) -> Option<f64> {
    faults.iter().find(|fault| strikes(fault, node)).or(faults.first()).map(|fault| fault.injected_ms)
}

/// Whether a fault's target names the node.
fn strikes(fault: &FaultEvidence, node: &str) -> bool {
    fault.target.split([' ', ',']).any(|word| word == node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_looked_at_from_its_own_fault_on_and_the_others_from_the_first() {
        let fault = |target: &str, injected_ms| FaultEvidence { target: target.to_owned(), injected_ms, ..FaultEvidence::default() };
        let faults = [fault("mdb2 (SECONDARY)", 6_000.0), fault("mdb1, mdb3 (PRIMARY)", 9_000.0)];
        for (node, ms) in [("mdb2", 6_000.0), ("mdb1", 9_000.0), ("mdb3", 9_000.0), ("mdb", 6_000.0)] {
            assert_eq!(struck_ms(node, &faults), Some(ms), "{node}");
        }
        assert_eq!(struck_ms("mdb1", &[]), None);
    }
}
