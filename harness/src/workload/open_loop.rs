//! Queries at a stated rate, whether the database keeps up or not.
//!
//! Latency counts from the moment a query was *due*, so a stall is charged to every query that had to wait for it
//! (Tene, "How NOT to measure latency": coordinated omission).

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use crate::measure::{LatencyHistogram, Sample, as_load};

/// Sends one domain query and checks that the answer is the expected one.
#[async_trait]
pub trait QueryClient: Send {
    /// Query number `sequence` of the load.
    async fn query(&mut self, sequence: u64) -> Result<(), String>;
}

/// How much load, for how long.
#[derive(Debug, Clone, Copy)]
pub struct LoadPlan {
    /// Queries due per second.
    pub rate_per_s: f64,
    /// Time at the start whose queries are sent but not counted.
    pub warm_up: Duration,
    /// Time whose queries are counted.
    pub measure: Duration,
    /// A query that takes longer counts as failed, with this latency.
    pub limit: Duration,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct LoadResult {
    /// Latencies of the counted queries from when they were due, failed ones included.
    pub latency: LatencyHistogram,
    /// Counted queries with the right answer.
    pub ok: u64,
    /// Counted queries without.
    pub failed: u64,
    /// Right answers per second over the measured time.
    pub throughput_per_s: f64,
    /// When each counted query ended and how long it took.
    pub samples: Vec<Sample>,
    /// The first error in the database's words.
    pub first_error: Option<String>,
}

#[derive(Default)]
struct Collected {
    samples: Vec<Sample>,
    first_error: Option<String>,
}

/// Runs the load over the given clients (each has one query under way at most, so their number bounds the concurrency).
/// `origin` is the zero of the samples' times.
pub async fn open_loop(clients: Vec<Box<dyn QueryClient>>, plan: LoadPlan, origin: std::time::Instant) -> LoadResult {
    let start = Instant::now();
    let total = ((plan.warm_up + plan.measure).as_secs_f64() * plan.rate_per_s).ceil() as u64;
    let skipped = (plan.warm_up.as_secs_f64() * plan.rate_per_s).ceil() as u64;
    let next = Arc::new(AtomicU64::new(0));
    let collected = Arc::new(Mutex::new(Collected::default()));
    let mut tasks = JoinSet::new();
    for mut client in clients {
        let (next, collected) = (Arc::clone(&next), Arc::clone(&collected));
        tasks.spawn(as_load(async move {
            loop {
                let sequence = next.fetch_add(1, Ordering::Relaxed);
                if sequence >= total {
                    return;
                }
                let due = start + Duration::from_secs_f64(sequence as f64 / plan.rate_per_s);
                sleep_until(due).await;
                let answer = timeout(plan.limit, client.query(sequence))
                    .await
                    .unwrap_or_else(|_elapsed| Err(format!("no answer within {} ms", plan.limit.as_millis())));
                let latency = due.elapsed();
                if sequence < skipped {
                    continue;
                }
                let mut collected = collected.lock().unwrap_or_else(PoisonError::into_inner);
                collected.samples.push(Sample { ended: origin.elapsed(), latency, ok: answer.is_ok() });
                if let Err(error) = answer {
                    collected.first_error.get_or_insert(error);
                }
            }
        }));
    }
    while tasks.join_next().await.is_some() {}
    let elapsed = start.elapsed().saturating_sub(plan.warm_up).as_secs_f64();
    let Collected { mut samples, first_error } = std::mem::take(&mut *collected.lock().unwrap_or_else(PoisonError::into_inner));
    samples.sort_by_key(|sample| sample.ended);
    let mut latency = LatencyHistogram::new();
    for sample in &samples {
        latency.record(sample.latency);
    }
    let ok = samples.iter().filter(|sample| sample.ok).count() as u64;
    let failed = samples.len() as u64 - ok;
    LoadResult { latency, ok, failed, throughput_per_s: ok as f64 / elapsed.max(1e-9), samples, first_error }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Stalls {
        at: u64,
    }

    #[async_trait]
    impl QueryClient for Stalls {
        async fn query(&mut self, sequence: u64) -> Result<(), String> {
            if sequence == self.at {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_stall_is_charged_to_the_queries_behind_it() {
        let plan = LoadPlan { rate_per_s: 100.0, warm_up: Duration::ZERO, measure: Duration::from_secs(1), limit: Duration::from_secs(5) };
        let result = open_loop(vec![Box::new(Stalls { at: 20 })], plan, std::time::Instant::now()).await;
        assert_eq!(result.ok, 100);
        // One query stalled, but about twenty were due meanwhile: a closed loop would have seen one slow query.
        let slow = result.samples.iter().filter(|sample| sample.latency > Duration::from_millis(50)).count();
        assert!(slow >= 10, "only {slow} queries were charged");
    }
}
