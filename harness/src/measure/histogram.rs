//! High dynamic range histogram of latencies.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Latencies from 1 µs to 10 min with three significant digits.
#[derive(Debug, Clone)]
pub struct LatencyHistogram(Histogram<u64>);

const MAX_US: u64 = 600_000_000;

impl LatencyHistogram {
    /// An empty one.
    ///
    /// # Panics
    /// Never: the bounds are constants that the library accepts (a test calls it).
    pub fn new() -> Self {
        Self(Histogram::new_with_bounds(1, MAX_US, 3).expect("the bounds are constants within the library's limits"))
    }

    /// Adds one latency; beyond the range it counts as the nearest end.
    pub fn record(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(MAX_US);
        self.0.saturating_record(us.clamp(1, MAX_US));
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that the share `quantile` (0 to 1) does not exceed, in milliseconds; [`None`] when there is none.
    pub fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(quantile) as f64 / 1e3)
    }

    /// The largest, in milliseconds.
    pub fn max_ms(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.max() as f64 / 1e3)
    }
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_what_was_recorded() {
        let mut histogram = LatencyHistogram::new();
        assert_eq!(histogram.quantile_ms(0.5), None);
        for ms in 1..=100 {
            histogram.record(Duration::from_millis(ms));
        }
        assert!((histogram.quantile_ms(0.5).unwrap() - 50.0).abs() < 0.1);
        assert!((histogram.max_ms().unwrap() - 100.0).abs() < 0.1);
    }
}
