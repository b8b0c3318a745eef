//! How long the remote lags behind in quiet.

use std::time::{Duration, Instant};

use dora_harness::{
    database::influxdb::{InfluxError, datacentres::Datacentres},
    patience::within,
};
use dora_reports::evidence::Finding;

use crate::{
    ScenarioError, Trial,
    ha::influxdb::set::{Set, failed},
};

/// Points that are followed.
const POINTS: u64 = 20;
/// A point that is not in the remote by then does not arrive.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(8);
/// A request of the writer.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);

/// Measures from a point's acknowledgement to its first sight in the remote.
pub async fn measure(trial: &Trial, pair: &Datacentres, bucket: &'static str) -> Result<(), ScenarioError> {
    let set = Set::fresh(bucket, "lag");
    let statement = set.statement().map_err(failed("ask for the followed points"))?;
    let writer = pair.source.application(REQUEST_LIMIT).map_err(failed("make a client"))?;
    let reader = pair.remote.owner().map_err(failed("make a client"))?;
    let mut lags_ms = Vec::new();
    for value in 0..POINTS {
        pair.source.write(&writer, set.point(value)).await.map_err(failed("write a point"))?;
        let acknowledged = Instant::now();
        let arrived = within("a point in the remote", ARRIVAL_LIMIT, Duration::from_millis(2), || async {
            let held = Set::found_in(&reader.query(bucket, &statement).await?);
            if held.contains_key(&value) { Ok(()) } else { Err(InfluxError::Broken("it is not there yet".into())) }
        });
        if arrived.await.is_err() {
            let message =
                format!("a point was not in the remote {} s after it was acknowledged, nothing being broken", ARRIVAL_LIMIT.as_secs());
            trial.find(Finding::violation("replication-lags", message));
            return Ok(());
        }
        lags_ms.push(acknowledged.elapsed().as_secs_f64() * 1e3);
    }
    lags_ms.sort_by(f64::total_cmp);
    trial.measure("lag_median", lags_ms.get(lags_ms.len() / 2).copied(), "ms");
    if trial.measure("lag_max", lags_ms.last().copied(), "ms").met == Some(false) {
        let message = format!("the remote lagged {:.0} ms behind, nothing being broken", lags_ms.last().copied().unwrap_or_default());
        trial.find(Finding::violation("replication-lags", message));
    }
    Ok(())
}
