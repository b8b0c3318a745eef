//! How an application writes: to one node after the other, away from one that failed, with a stated consistency.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_harness::{
    database::influxdb::{Consistency, Influx, InfluxClient, InfluxError},
    history::Outcome,
    topology::Node,
    workload::InsertClient,
};
use tokio::time::Instant;

use super::{set::Set, struck::Struck};

/// One request of a client; the workload cuts an insert off a little later.
pub const REQUEST_LIMIT: Duration = Duration::from_millis(1_800);
/// A node that failed is left alone for this long, as a load balancer would do; the next attempt may find it back.
const AVOID: Duration = Duration::from_secs(1);

/// Writes to the nodes in turn; it has its own connections and never tries the same write twice.
pub struct Writer {
    /// Each node's client, and until when it is left alone.
    connections: Vec<(InfluxClient, Option<Instant>)>,
    next: usize,
    level: Consistency,
}

impl Writer {
    /// A writer that begins with node number `first` (modulo their number).
    pub fn new(influx: &Influx, nodes: &[Node], first: usize, level: Consistency) -> Result<Self, InfluxError> {
        let connect = |node| Ok((influx.client(node, influx.application(), REQUEST_LIMIT)?, None));
        Ok(Self { connections: nodes.iter().map(connect).collect::<Result<_, InfluxError>>()?, next: first, level })
    }

    /// The next node in turn that is not left alone; the next in turn when all are.
    fn choose(&mut self) -> usize {
        let (count, now) = (self.connections.len(), Instant::now());
        let usable = |at: &usize| self.connections[*at].1.is_none_or(|until| until <= now);
        let turn = (0..count).map(|step| (self.next + step) % count).find(usable).unwrap_or(self.next % count);
        self.next = turn + 1;
        turn
    }

    /// Writes these lines in one request.
    pub async fn write(&mut self, database: &str, lines: String) -> Outcome {
        let turn = self.choose();
        // Set before and lifted after, so that an attempt that the workload cuts off counts as a failure, too.
        self.connections[turn].1 = Some(Instant::now() + REQUEST_LIMIT + AVOID);
        let answer = self.connections[turn].0.write(database, lines, self.level).await;
        self.connections[turn].1 = answer.is_err().then(|| Instant::now() + AVOID);
        outcome(answer)
    }
}

/// What a write's answer says about it.
pub fn outcome(answer: Result<(), InfluxError>) -> Outcome {
    match answer {
        Ok(()) => Outcome::Ok,
        Err(InfluxError::Refused { status, text }) if status < 500 => Outcome::Fail(format!("{status}: {text}")),
        Err(error @ (InfluxError::Connect(_) | InfluxError::Setup(_))) => Outcome::Fail(error.to_string()),
        // A 5xx says that too few copies answered, not that none has it.
        Err(error) => Outcome::Unknown(error.to_string()),
    }
}

/// Inserts one point for a value.
pub struct Inserter {
    /// How it writes.
    pub writer: Writer,
    /// Where to.
    pub set: Set,
    /// Told what is offered.
    pub struck: Arc<Struck>,
}

#[async_trait]
impl InsertClient for Inserter {
    async fn insert(&mut self, value: u64) -> Outcome {
        self.struck.offer_insert(value);
        self.writer.write(self.set.database, self.set.point(value)).await
    }
}
