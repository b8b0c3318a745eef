//! Latency and throughput over time.

use std::time::Duration;

/// One finished operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When it ended, from the origin.
    pub ended: Duration,
    /// How long it took.
    pub latency: Duration,
    /// Whether it succeeded.
    pub ok: bool,
}

/// The operations that ended within one stretch of time.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    /// Its start, in milliseconds from the origin.
    pub start_ms: f64,
    /// Successes per second.
    pub throughput_per_s: f64,
    /// Median latency of the successes in milliseconds.
    pub p50_ms: Option<f64>,
    /// 99th percentile of the successes in milliseconds.
    pub p99_ms: Option<f64>,
    /// Failures and unknowns.
    pub failed: u64,
}

/// Cuts samples into stretches of `width`, from the first sample to the last; a stretch without any is a bucket, too.
pub fn buckets(samples: &[Sample], width: Duration) -> Vec<Bucket> {
    let index = |at: Duration| (at.as_nanos() / width.as_nanos().max(1)) as usize;
    let (Some(first), Some(last)) = (samples.iter().map(|s| index(s.ended)).min(), samples.iter().map(|s| index(s.ended)).max()) else {
        return Vec::new();
    };
    let mut cells = vec![(Vec::new(), 0_u64); last - first + 1];
    for sample in samples {
        let (latencies, failed) = &mut cells[index(sample.ended) - first];
        if sample.ok {
            latencies.push(sample.latency);
        } else {
            *failed += 1;
        }
    }
    cells
        .into_iter()
        .enumerate()
        .map(|(offset, (mut latencies, failed))| {
            latencies.sort_unstable();
            Bucket {
                start_ms: (first + offset) as f64 * width.as_secs_f64() * 1e3,
                throughput_per_s: latencies.len() as f64 / width.as_secs_f64(),
                p50_ms: quantile_ms(&latencies, 0.5),
                p99_ms: quantile_ms(&latencies, 0.99),
                failed,
            }
        })
        .collect()
}

/// The least of the sorted latencies that the share `quantile` (above 0, at most 1) of them does not exceed. Few lie in one bucket: a
/// histogram of the whole range for each of hundreds would cost a hundred times as much.
fn quantile_ms(sorted: &[Duration], quantile: f64) -> Option<f64> {
    let rank = (quantile * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).map(|latency| latency.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_an_empty_bucket_and_not_a_missing_one() {
        let sample = |ms, ok| Sample { ended: Duration::from_millis(ms), latency: Duration::from_millis(2), ok };
        let buckets = buckets(&[sample(100, true), sample(2_100, true), sample(2_200, false)], Duration::from_secs(1));
        assert_eq!(buckets.len(), 3);
        assert_eq!((buckets[1].throughput_per_s, buckets[1].p50_ms), (0.0, None));
        assert_eq!(buckets[2].failed, 1);
        assert_eq!(buckets[2].p50_ms, Some(2.0));
    }

    #[test]
    fn a_quantile_is_the_nearest_rank() {
        let latencies: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(quantile_ms(&latencies, 0.5), Some(100.0));
        assert_eq!(quantile_ms(&latencies, 0.99), Some(198.0));
        assert_eq!(quantile_ms(&latencies[..1], 0.99), Some(1.0));
        assert_eq!(quantile_ms(&[], 0.5), None);
    }
}
