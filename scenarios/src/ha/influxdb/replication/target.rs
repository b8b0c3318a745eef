//! The pair as the driver sees it.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use dora_harness::{
    database::{
        Cluster as _,
        influxdb::{
            InfluxError, PORT,
            datacentres::{BUCKET, Datacentre, Datacentres, TokenClient},
        },
    },
    fault::{Fault, Kill, Together},
    history::Outcome,
    patience::within,
    platform::all_healthy,
    topology::Node,
    workload::InsertClient,
};
use dora_reports::evidence::Finding;

use super::{
    defect::{QUEUE_THROWN_AWAY, plant},
    lag,
};
use crate::{
    ScenarioError, Trial,
    ha::{
        HaTarget, Strike,
        influxdb::{
            clients::{REQUEST_LIMIT, outcome},
            set::{Set, failed},
        },
    },
};

/// From the remote's death to the source's, so that something waits.
const QUEUED_BEFORE: Duration = Duration::from_secs(6);
/// Time from one insert of a client to its next. The engine sends one write after the other, each over a connection of its own, so what
/// waited can only be caught up with if clients leave it time.
const INSERT_EVERY: Duration = Duration::from_millis(200);
/// What is under way when the load ends has been sent by then.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// Who is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// The remote.
    Remote,
    /// The source.
    Source,
    /// The remote, and a little later the source, too.
    Both,
}

/// A pair of datacentres that is struck.
pub struct Replicated {
    pair: Arc<Datacentres>,
    case: Case,
    set: Set,
    acknowledged: Arc<AtomicU64>,
    acknowledged_at_strike: AtomicU64,
}

impl Replicated {
    /// This pair.
    pub fn new(pair: Datacentres, case: Case) -> Self {
        Self {
            pair: Arc::new(pair),
            case,
            set: Set::fresh(BUCKET, "inserts"),
            acknowledged: Arc::default(),
            acknowledged_at_strike: AtomicU64::default(),
        }
    }

    async fn held_by(&self, datacentre: &Datacentre) -> Result<BTreeSet<u64>, InfluxError> {
        let answer = datacentre.owner()?.query(BUCKET, &self.set.statement()?).await?;
        Ok(Set::found_in(&answer).into_keys().collect())
    }
}

/// Writes one point for a value to the source.
struct Inserter {
    pair: Arc<Datacentres>,
    client: TokenClient,
    set: Set,
    acknowledged: Arc<AtomicU64>,
}

#[async_trait]
impl InsertClient for Inserter {
    async fn insert(&mut self, value: u64) -> Outcome {
        let ended = outcome(self.pair.source.write(&self.client, self.set.point(value)).await);
        if ended == Outcome::Ok {
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        ended
    }
}

#[async_trait]
impl HaTarget for Replicated {
    async fn prepare(&self) -> Result<(), ScenarioError> {
        Ok(())
    }

    fn insert_every(&self) -> Duration {
        INSERT_EVERY
    }

    async fn clients(&self, count: usize) -> Result<Vec<Box<dyn InsertClient>>, ScenarioError> {
        let client = || -> Result<Box<dyn InsertClient>, InfluxError> {
            let client = self.pair.source.application(REQUEST_LIMIT)?;
            let (pair, set, acknowledged) = (Arc::clone(&self.pair), self.set.clone(), Arc::clone(&self.acknowledged));
            Ok(Box::new(Inserter { pair, client, set, acknowledged }))
        };
        (0..count).map(|_| client()).collect::<Result<_, _>>().map_err(failed("make a client"))
    }

    async fn strike(&self) -> Result<Strike, ScenarioError> {
        self.acknowledged_at_strike.store(self.acknowledged.load(Ordering::Relaxed), Ordering::Relaxed);
        let kill = |node: &Node, role: &str| Box::new(Kill::new(node.clone(), role, PORT)) as Box<dyn Fault>;
        let (source, remote) = (&self.pair.source.node, &self.pair.remote.node);
        let (fault, hit): (Box<dyn Fault>, Vec<Node>) = match self.case {
            Case::Remote => (kill(remote, "remote datacentre"), vec![remote.clone()]),
            Case::Source => (kill(source, "source datacentre"), vec![source.clone()]),
            Case::Both => {
                let both = Together::new(vec![kill(remote, "remote datacentre"), kill(source, "source datacentre")]);
                (Box::new(both.spaced(QUEUED_BEFORE)), vec![remote.clone(), source.clone()])
            }
        };
        Ok(Strike { fault, hit })
    }

    async fn has_noticed(&self, hit: &[Node]) -> Result<(), String> {
        if self.case == Case::Remote {
            let queue = self.pair.queue().await.map_err(|error| error.to_string())?.ok_or("there is no replication")?;
            return if queue.last_error.is_empty() { Err("the source's last attempt did not fail".into()) } else { Ok(()) };
        }
        // Nobody is left to say anything: that no port answers is the word.
        for node in hit {
            if node.accepts(PORT).await {
                return Err(format!("{} still answers", node.name()));
            }
        }
        Ok(())
    }

    async fn is_redundant(&self, _hit: &[Node]) -> Result<(), String> {
        all_healthy(&self.pair.health().await)
    }

    async fn incomplete(&self, acknowledged: &BTreeSet<u64>) -> Result<Vec<(Node, Vec<u64>)>, ScenarioError> {
        let mut incomplete = Vec::new();
        for datacentre in [&self.pair.source, &self.pair.remote] {
            let held = self.held_by(datacentre).await.map_err(failed("read the set of each datacentre"))?;
            let missing: Vec<u64> = acknowledged.difference(&held).copied().collect();
            if !missing.is_empty() {
                incomplete.push((datacentre.node.clone(), missing));
            }
        }
        Ok(incomplete)
    }

    /// What counts is what the remote has: the source may burn down the next moment.
    async fn present(&self) -> Result<Vec<u64>, ScenarioError> {
        let drained = || async {
            match self.pair.queue().await {
                Ok(Some(queue)) if queue.waiting_bytes > 0 => Err(format!("{} bytes wait", queue.waiting_bytes)),
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        };
        // A queue that does not empty shows in what the remote lacks.
        let _ = within("an empty queue", DRAIN_LIMIT, Duration::from_millis(100), drained).await;
        let held = self.held_by(&self.pair.remote).await.map_err(failed("read the set of the remote"))?;
        Ok(held.into_iter().collect())
    }

    async fn check_during(&self, trial: &Trial, _hit: &[Node]) -> Result<(), ScenarioError> {
        let waiting = self.acknowledged.load(Ordering::Relaxed) - self.acknowledged_at_strike.load(Ordering::Relaxed);
        if self.case != Case::Source {
            trial.measure("acknowledged_without_the_remote", Some(waiting as f64), "operations");
            if waiting == 0 {
                let message = "nothing was acknowledged while the remote was away, so nothing waited for it";
                trial.find(Finding::unconfirmed("nothing-queued", message));
            }
        }
        if self.case == Case::Remote {
            let queue = self.pair.queue().await.map_err(failed("ask for the queue"))?;
            trial.measure("queued", queue.map(|queue| queue.waiting_bytes as f64), "bytes");
        }
        if trial.is_sabotaged_by(QUEUE_THROWN_AWAY) {
            self.pair.make_anew().await.map_err(failed("make the replication anew"))?;
        }
        Ok(())
    }

    async fn check_further(&self, trial: &Trial, _hit: &[Node]) -> Result<(), ScenarioError> {
        lag::measure(trial, &self.pair, BUCKET).await
    }

    async fn sabotage(&self, id: &str) -> Result<(), ScenarioError> {
        plant(&self.pair, id).await
    }

    async fn undo_sabotage(&self, _id: &str) -> Result<(), ScenarioError> {
        Ok(())
    }
}
