//! Time-series batches as a load: several points in one request, and reads of every node beside them.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_harness::{
    check::{BatchReads, batches_read},
    database::{
        Cluster as _,
        influxdb::{Consistency, Influx, InfluxClient, InfluxError},
    },
    history::Outcome,
    topology::Node,
    workload::{Client, Completion, Invocation, Pace, Rhythm},
};
use serde_json::json;

use super::{
    clients::{REQUEST_LIMIT, Writer},
    set::Set,
    struck::Struck,
};
use crate::ha::CheckedLoad;

/// Points of one batch, each of another series.
const POINTS: u64 = 4;
/// Clients that write.
const WRITERS: usize = 6;
/// Time from one operation of a client to its next.
const EVERY: Duration = Duration::from_secs(1);
/// An operation without an answer by then is unknown.
const LIMIT: Duration = Duration::from_secs(2);
/// A batch that was acknowledged is on every node that was not away within this time. The engine promises no moment; it writes to all
/// copies at once and answers when enough have it, and a copy that failed is tried again after a second.
const SETTLED_AFTER: Duration = Duration::from_secs(5);

/// How batches are written.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// The consistency that is asked for.
    pub level: Consistency,
    /// Whether the client leaves a point out of every batch, which is a defect of the client.
    pub cut: bool,
}

/// The load. `struck` is told by whoever strikes.
pub fn load(
    influx: &Influx,
    nodes: &[Node],
    database: &'static str,
    manner: Manner,
    struck: Arc<Struck>,
) -> Result<CheckedLoad, InfluxError> {
    let set = Set::fresh(database, "batches");
    let mut clients: Vec<Box<dyn Client>> = Vec::new();
    for first in 0..WRITERS {
        let writer = Writer::new(influx, nodes, first, manner.level)?;
        clients.push(Box::new(BatchWriter { writer, set: set.clone(), cut: manner.cut, struck: Arc::clone(&struck) }));
    }
    let read = influx.nodes();
    for node in &read {
        let client = influx.client(node, influx.application(), REQUEST_LIMIT)?;
        clients.push(Box::new(BatchReader { client, set: set.clone() }));
    }
    let names: Vec<String> = read.iter().map(|node| node.name().to_owned()).collect();
    let mut next = 0_u64;
    let generator = move |client: usize| match client.checked_sub(WRITERS) {
        None => {
            next += 1;
            Invocation { f: "write", value: (next - 1).into() }
        }
        Some(reader) => Invocation { f: "read", value: json!([names[reader], null]) },
    };
    let judge = move |operations: &[dora_harness::history::Operation]| {
        let (away, excused) = (struck.away(), struck.batches_at_kills());
        BatchReads { points: POINTS, settled_after: SETTLED_AFTER, away, excused }.judge(operations)
    };
    let pace = Pace { rhythm: Rhythm::Closed(EVERY), limit: LIMIT };
    Ok(CheckedLoad { name: "batches", clients, generator: Box::new(generator), pace, judge: Box::new(judge) })
}

struct BatchWriter {
    writer: Writer,
    set: Set,
    cut: bool,
    struck: Arc<Struck>,
}

#[async_trait]
impl Client for BatchWriter {
    async fn invoke(&mut self, invocation: &Invocation) -> Completion {
        let Some(number) = invocation.value.as_u64() else {
            return Completion::of(Outcome::Fail(format!("{} is no batch's number", invocation.value)));
        };
        self.struck.offer_batch(number);
        let points = if self.cut { POINTS - 1 } else { POINTS };
        Completion::of(self.writer.write(self.set.database, self.set.points(number, points)).await)
    }
}

struct BatchReader {
    client: InfluxClient,
    set: Set,
}

#[async_trait]
impl Client for BatchReader {
    async fn invoke(&mut self, invocation: &Invocation) -> Completion {
        match self.set.held_by(&self.client).await {
            Ok(found) => Completion::read(json!([invocation.value.get(0), batches_read(&found, POINTS)])),
            // A read changes nothing, so one that failed surely had no effect.
            Err(error) => Completion::of(Outcome::Fail(error.to_string())),
        }
    }
}
