//! Latencies, rates and how they change over time.

mod histogram;
mod series;

pub use histogram::LatencyHistogram;
pub use series::{Bucket, Sample, buckets};
