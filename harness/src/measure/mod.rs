//! Latencies, rates and how they change over time.

mod histogram;
mod processor;
mod series;

pub use histogram::LatencyHistogram;
pub(crate) use processor::{as_load, as_ordered};
pub use processor::{load_time, processor_time};
pub use series::{Bucket, Sample, buckets};
