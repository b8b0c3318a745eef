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
    workload::{Client, Completion, Generator, Invocation, Pace, Rhythm},
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
/// How often a node is read when the load has ended, at most: until then it may still take in what it missed.
const LAST_READS_MAX: usize = 5;

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
    let readers = read.iter().map(|node| Reader { node: node.name().to_owned(), last_reads: 0 }).collect();
    let generator = Batches { next: 0, readers };
    let judge = move |operations: &[dora_harness::history::Operation]| {
        let (away, excused) = (struck.away(), struck.batches_at_kills());
        BatchReads { points: POINTS, settled_after: SETTLED_AFTER, away, excused }.judge(operations)
    };
    let pace = Pace { rhythm: Rhythm::Closed(EVERY), limit: LIMIT };
    Ok(CheckedLoad { name: "batches", clients, generator: Box::new(generator), pace, judge: Box::new(judge) })
}

/// Batches for the writers, questions for the readers.
struct Batches {
    next: u64,
    readers: Vec<Reader>,
}

struct Reader {
    node: String,
    /// How often its node was read after the load had ended.
    last_reads: usize,
}

impl Reader {
    fn read(&self) -> Invocation {
        Invocation { f: "read", value: json!([self.node, null]) }
    }
}

impl Generator for Batches {
    fn next(&mut self, client: usize) -> Invocation {
        match client.checked_sub(WRITERS) {
            None => {
                self.next += 1;
                Invocation { f: "write", value: (self.next - 1).into() }
            }
            Some(reader) => self.readers[reader].read(),
        }
    }

    /// What a node held in part is decided by a read that finds nothing in part, or finds the same so much later.
    fn last(&mut self, client: usize, before: Option<&Completion>) -> Option<(Duration, Invocation)> {
        let reader = &mut self.readers[client.checked_sub(WRITERS)?];
        let is_whole = before.and_then(|read| read.value.as_ref()).is_some_and(|value| value[1][1].as_array().is_some_and(Vec::is_empty));
        if is_whole || reader.last_reads == LAST_READS_MAX {
            return None;
        }
        reader.last_reads += 1;
        Some((SETTLED_AFTER, reader.read()))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn batches() -> Batches {
        Batches { next: 0, readers: vec![Reader { node: "idb1".into(), last_reads: 0 }] }
    }

    fn found(part: &[(u64, u64)]) -> Completion {
        let found = part.iter().copied().chain([(0, POINTS)]).collect();
        Completion::read(json!(["idb1", batches_read(&found, POINTS)]))
    }

    #[test]
    fn a_node_is_read_once_more_when_the_load_has_ended_and_nobody_writes() {
        let mut batches = batches();
        assert!(batches.last(0, None).is_none(), "a writer");
        let (after, read) = batches.last(WRITERS, None).expect("a reader");
        assert_eq!((after, read), (SETTLED_AFTER, batches.next(WRITERS)));
        assert!(batches.last(WRITERS, Some(&found(&[]))).is_none());
    }

    #[test]
    fn what_is_there_in_part_or_was_not_answered_is_asked_again_but_not_for_ever() {
        let mut batches = batches();
        let unanswered = Completion::of(Outcome::Unknown("time-out".into()));
        let answers = [unanswered, found(&[(7, 1)])];
        let asked = answers.iter().cycle().take_while(|answer| batches.last(WRITERS, Some(answer)).is_some()).take(100).count();
        assert_eq!(asked, LAST_READS_MAX);
    }
}
