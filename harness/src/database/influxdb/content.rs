//! The domain's points: written in batches, read back in full.

use std::time::Duration;

use dora_fixtures::{
    Store,
    content::{ContentHasher, Digests},
    dataset::{
        Dataset,
        points::{Measurement, content_row},
    },
};
use futures_util::future::try_join_all;
use serde_json::{Map, json};

use super::{Consistency, Influx, InfluxError, Series, influxql_with};
use crate::{database::Cluster as _, topology::Node};

/// The domain's database.
pub const DATABASE: &str = "dora";
/// Points in one write. The server's log of a write is one record, so many small writes cost one fsync each.
const BATCH: usize = 2_000;
/// A whole measurement is read in one answer.
const READ_LIMIT: Duration = Duration::from_secs(60);

impl Influx {
    /// Writes the domain's points unless they are there already, and returns when every node has them all.
    ///
    /// # Errors
    /// [`InfluxError`].
    pub async fn load_domain(&self, dataset: &Dataset) -> Result<(), InfluxError> {
        self.ensure_domain(DATABASE).await?;
        let nodes = self.nodes();
        let expected = dataset.expected().digests(Store::Influxdb);
        let found = try_join_all(nodes.iter().map(|node| self.digests(node))).await?;
        if found.iter().all(|digests| *digests == expected) {
            return Ok(());
        }
        let application = self.client(&nodes[0], self.application(), READ_LIMIT)?;
        for measurement in Measurement::ALL {
            let mut points = dataset.points(measurement);
            loop {
                let lines: Vec<String> = points.by_ref().take(BATCH).map(|point| point.line()).collect();
                if lines.is_empty() {
                    break;
                }
                application.write(DATABASE, lines.join("\n"), Consistency::All).await?;
            }
        }
        Ok(())
    }

    /// A digest of each of the domain's measurements as this node holds it: a node that has a copy answers from that, without
    /// asking another.
    ///
    /// # Errors
    /// [`InfluxError`].
    pub async fn digests(&self, node: &Node) -> Result<Digests, InfluxError> {
        let application = self.client(node, self.application(), READ_LIMIT)?;
        let mut digests = Digests::new();
        for measurement in Measurement::ALL {
            let statement = influxql_with(&format!("content/{}", measurement.name()), json!({ "database": DATABASE }))?;
            let mut hasher = ContentHasher::new();
            for series in application.query_in(DATABASE, &statement, Some("ns")).await?.series {
                feed(&mut hasher, &series);
            }
            digests.insert(measurement.name().to_owned(), hasher.finish());
        }
        Ok(digests)
    }
}

fn feed(hasher: &mut ContentHasher, series: &Series) {
    for row in &series.values {
        // The first column is the time, always.
        let time_ns = row.first().and_then(serde_json::Value::as_i64).unwrap_or_default();
        let tags = series.tags.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
        let fields: Map<_, _> = series.columns.iter().cloned().zip(row.iter().cloned()).skip(1).collect();
        let (key, row) = content_row(tags, time_ns, fields);
        hasher.add(&key, &row);
    }
}
