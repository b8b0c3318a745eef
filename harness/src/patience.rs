//! Waiting with a deadline, and the one multiplier that makes slow machines usable.

use std::{fmt::Display, future::Future, sync::OnceLock, time::Duration};

use tokio::time::{Instant, sleep, timeout_at};

/// What was waited for did not come within its deadline.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what} did not happen within {:.1} s (last seen: {last}); set DORA_PATIENCE=2 on a slow machine", after.as_secs_f64())]
pub struct DeadlineError {
    /// What was waited for, as a noun phrase.
    pub what: String,
    /// The deadline, already stretched by the patience factor.
    pub after: Duration,
    /// What the last attempt answered.
    pub last: String,
}

/// `DORA_PATIENCE` is no factor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("DORA_PATIENCE is a factor from 0.1 to 20, such as 2 on a slow machine, and not `{given}`")]
pub struct PatienceError {
    /// What it is.
    pub given: String,
}

/// Whether `DORA_PATIENCE` can be used. Every program that waits asks first, for [`factor`] has no way to refuse.
///
/// # Errors
/// [`PatienceError`].
pub fn check() -> Result<(), PatienceError> {
    given().map(drop)
}

fn given() -> Result<f64, PatienceError> {
    let Some(given) = std::env::var_os("DORA_PATIENCE") else { return Ok(1.0) };
    let factor = given.to_str().and_then(|text| text.parse::<f64>().ok()).filter(|factor| (0.1..=20.0).contains(factor));
    factor.ok_or_else(|| PatienceError { given: given.to_string_lossy().into_owned() })
}

/// The factor from `DORA_PATIENCE`; 1 where it is unset, or where nobody asked [`check`].
///
/// It stretches *waiting* only. An objective is never multiplied by it.
pub fn factor() -> f64 {
    static FACTOR: OnceLock<f64> = OnceLock::new();
    *FACTOR.get_or_init(|| given().unwrap_or(1.0))
}

/// `limit` stretched by the patience factor.
pub fn stretched(limit: Duration) -> Duration {
    limit.mul_f64(factor())
}

/// Calls `attempt` until it answers `Ok`, with `every` between two attempts, at most for `limit` (stretched).
///
/// An attempt that hangs is cut off at the deadline, too.
///
/// # Errors
/// [`DeadlineError`] with the last attempt's error.
pub async fn within<T, E, F, Fut>(what: &str, limit: Duration, every: Duration, mut attempt: F) -> Result<T, DeadlineError>
where
    E: Display,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let after = stretched(limit);
    let deadline = Instant::now() + after;
    let mut last = String::from("no answer yet");
    loop {
        match timeout_at(deadline, attempt()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => last = error.to_string(),
            Err(_elapsed) => {
                return Err(DeadlineError { what: what.to_owned(), after, last });
            }
        }
        if Instant::now() + every >= deadline {
            return Err(DeadlineError { what: what.to_owned(), after, last });
        }
        sleep(every).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_error_is_told() {
        let error = within::<(), _, _, _>("a miracle", Duration::from_millis(30), Duration::from_millis(5), || async { Err("not today") })
            .await
            .unwrap_err();
        assert!(error.to_string().contains("a miracle did not happen"));
        assert_eq!(error.last, "not today");
    }

    #[tokio::test]
    async fn a_hanging_attempt_is_cut_off() {
        let started = Instant::now();
        let outcome = within::<(), String, _, _>("an end", Duration::from_millis(50), Duration::from_millis(5), std::future::pending).await;
        assert!(outcome.is_err());
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}
