//! Latency and throughput over time.

use std::time::Duration;

use super::LatencyHistogram;

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
    let mut cells = vec![(LatencyHistogram::new(), 0_u64); last - first + 1];
    for sample in samples {
        let (histogram, failed) = &mut cells[index(sample.ended) - first];
        if sample.ok {
            histogram.record(sample.latency);
        } else {
            *failed += 1;
        }
    }
    cells
        .iter()
        .enumerate()
        .map(|(offset, (histogram, failed))| Bucket {
            start_ms: (first + offset) as f64 * width.as_secs_f64() * 1e3,
            throughput_per_s: histogram.count() as f64 / width.as_secs_f64(),
            p50_ms: histogram.quantile_ms(0.5),
            p99_ms: histogram.quantile_ms(0.99),
            failed: *failed,
        })
        .collect()
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
    }
}
