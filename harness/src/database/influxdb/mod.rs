//! InfluxDB: the cluster (0.11.1, meta and data nodes behind mutual TLS), the single node (1.8), and two datacentres (2.7).

mod answer;
mod client;
mod content;
pub mod datacentres;
mod deployment;
mod form;
mod membership;
mod part;
mod start;
mod statement;

pub use answer::{Answer, Series};
pub use client::{Access, Consistency, InfluxClient, InfluxError};
pub use content::DATABASE;
pub use deployment::{Influx, PORT, Passwords};
pub use form::Form;
pub use part::InfluxdbPart;
pub use start::Seed;
pub use statement::{influxql, influxql_with};
