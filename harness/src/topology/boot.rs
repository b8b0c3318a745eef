//! The boot timeline: which node did what when, and who waited for whom.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use serde::Serialize;

/// One phase of one node's boot.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BootSpan {
    /// The node or cluster.
    pub node: String,
    /// What it did: `pod`, `start`, `ready`, or a phase of its own.
    pub phase: String,
    /// Milliseconds from the run's start.
    pub start_ms: f64,
    /// Milliseconds from the run's start.
    pub end_ms: f64,
    /// Whom or what the phase waited for, if anyone.
    pub waited_for: Option<String>,
}

/// Collects spans from everything that boots at the same time.
#[derive(Debug, Clone)]
pub struct BootLog {
    origin: Instant,
    spans: Arc<Mutex<Vec<BootSpan>>>,
}

impl BootLog {
    /// An empty log; its time starts now.
    pub fn new() -> Self {
        Self { origin: Instant::now(), spans: Arc::default() }
    }

    /// The zero of its times.
    pub fn origin(&self) -> Instant {
        self.origin
    }

    /// Milliseconds since its zero.
    pub fn now_ms(&self) -> f64 {
        self.origin.elapsed().as_secs_f64() * 1e3
    }

    /// Runs a phase and notes how long it took, also when it fails or is cut off.
    pub async fn phase<T>(&self, node: &str, phase: &str, waited_for: Option<&str>, work: impl Future<Output = T>) -> T {
        let start_ms = self.now_ms();
        let span = BootSpan {
            node: node.to_owned(),
            phase: phase.to_owned(),
            start_ms,
            end_ms: start_ms,
            waited_for: waited_for.map(ToOwned::to_owned),
        };
        let _noted = OpenSpan { log: self, span };
        work.await
    }

    /// What was noted so far, by start.
    pub fn spans(&self) -> Vec<BootSpan> {
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner).clone();
        spans.sort_by(|a, b| a.start_ms.total_cmp(&b.start_ms));
        spans
    }
}

/// A phase under way. Where one node does not come up, the others' phases are dropped, and tell what they had waited for.
struct OpenSpan<'a> {
    log: &'a BootLog,
    span: BootSpan,
}

impl Drop for OpenSpan<'_> {
    fn drop(&mut self) {
        self.span.end_ms = self.log.now_ms();
        self.log.spans.lock().unwrap_or_else(PoisonError::into_inner).push(self.span.clone());
    }
}

impl Default for BootLog {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_phase_that_is_cut_off_is_noted() {
        let boot = BootLog::new();
        let endless = boot.phase("pg2", "has its role", Some("pg1"), std::future::pending::<()>());
        let failed = boot.phase("pg1", "has its role", None, async { Err::<(), _>("it ended") });
        let outcome = tokio::select! {
            biased;
            () = endless => Ok(()),
            outcome = failed => outcome,
        };
        assert_eq!(outcome, Err("it ended"));
        let spans = boot.spans();
        let mut noted: Vec<_> = spans.iter().map(|span| (span.node.as_str(), span.waited_for.as_deref())).collect();
        noted.sort_unstable();
        assert_eq!(noted, [("pg1", None), ("pg2", Some("pg1"))]);
        assert!(spans.iter().all(|span| span.end_ms >= span.start_ms));
    }
}
