//! Clients that repeat what was not answered, as the drivers and agents of these databases do, so that a node may be restarted.

use std::{
    fmt::Display,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use tokio::time::sleep;

/// From a failed attempt to the next one.
const PAUSE: Duration = Duration::from_millis(150);

/// Repeats an attempt for as long as such a client would, and counts.
#[derive(Debug)]
pub struct Repeats {
    limit: Duration,
    repeated: AtomicU64,
    requests: AtomicU64,
}

impl Repeats {
    /// No attempt begins later than `limit` after the first one.
    pub fn within(limit: Duration) -> Self {
        Self { limit, repeated: AtomicU64::new(0), requests: AtomicU64::new(0) }
    }

    /// Attempts that were not answered and made again.
    pub fn repeated(&self) -> u64 {
        self.repeated.load(Ordering::Relaxed)
    }

    /// Requests for which one attempt did not suffice.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Attempts until one is answered.
    ///
    /// # Errors
    /// The last attempt's words.
    pub async fn until_answered<F, Fut, E>(&self, mut attempt: F) -> Result<(), String>
    where
        F: FnMut() -> Fut + Send,
        Fut: Future<Output = Result<(), E>> + Send,
        E: Display + Send,
    {
        let end = Instant::now() + self.limit;
        let mut is_first = true;
        loop {
            let Err(error) = attempt().await else { return Ok(()) };
            if Instant::now() + PAUSE >= end {
                return Err(error.to_string());
            }
            self.repeated.fetch_add(1, Ordering::Relaxed);
            if std::mem::take(&mut is_first) {
                self.requests.fetch_add(1, Ordering::Relaxed);
            }
            sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_fails_is_tried_again_and_counted() {
        let repeats = Repeats::within(Duration::from_secs(30));
        let tried = AtomicU64::new(0);
        let outcome =
            repeats.until_answered(|| async { if tried.fetch_add(1, Ordering::Relaxed) < 2 { Err("away") } else { Ok(()) } }).await;
        assert_eq!((outcome, repeats.repeated(), repeats.requests()), (Ok(()), 2, 1));
        assert_eq!(repeats.until_answered(|| async { Ok::<(), String>(()) }).await, Ok(()));
        assert_eq!((repeats.repeated(), repeats.requests()), (2, 1), "what is answered at once is no repetition");
    }

    #[tokio::test]
    async fn who_never_answers_is_given_up_with_the_last_words() {
        let repeats = Repeats::within(Duration::from_millis(100));
        assert_eq!(repeats.until_answered(|| async { Err("away") }).await, Err("away".to_owned()));
        assert_eq!(repeats.repeated(), 0);
    }
}
