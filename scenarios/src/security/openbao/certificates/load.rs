//! Requests that go on while certificates change: each on a connection of its own, so that each sees the certificate of its moment.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use super::target::CertificateTarget;

/// Clients side by side.
const CLIENTS: usize = 3;
/// A client's pause between two requests.
const PAUSE: Duration = Duration::from_millis(80);

/// What the load saw.
#[derive(Debug, Default)]
pub struct Load {
    ended: AtomicBool,
    succeeded: AtomicU64,
    failed: AtomicU64,
    longest_ms: AtomicU64,
    first_failure: Mutex<Option<String>>,
}

impl Load {
    /// Requests until [`Load::end`].
    pub async fn run(&self, target: &dyn CertificateTarget) {
        join_all((0..CLIENTS).map(|_| self.client(target))).await;
    }

    /// Ends it; a request under way is counted yet.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Requests that were answered.
    pub fn succeeded(&self) -> u64 {
        self.succeeded.load(Ordering::Relaxed)
    }

    /// Requests that were not.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// How long the longest one took that was answered, in milliseconds.
    pub fn longest_ms(&self) -> u64 {
        self.longest_ms.load(Ordering::Relaxed)
    }

    /// Why the first one failed.
    pub fn first_failure(&self) -> Option<String> {
        self.first_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn client(&self, target: &dyn CertificateTarget) {
        while !self.ended.load(Ordering::Relaxed) {
            let begun = Instant::now();
            match timeout(target.request_limit(), target.request()).await.unwrap_or_else(|_elapsed| Err("no answer in time".into())) {
                Ok(()) => {
                    self.succeeded.fetch_add(1, Ordering::Relaxed);
                    self.longest_ms.fetch_max(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
                }
                Err(error) => {
                    self.failed.fetch_add(1, Ordering::Relaxed);
                    self.first_failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            }
            sleep(PAUSE).await;
        }
    }
}
