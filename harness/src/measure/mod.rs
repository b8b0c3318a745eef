//! Latencies, rates and how they change over time.

mod histogram;
mod processor;
mod series;

pub use histogram::LatencyHistogram;
pub use processor::processor_time;
pub use series::{Bucket, Sample, buckets};
