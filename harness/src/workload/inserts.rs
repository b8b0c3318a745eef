//! A set of acknowledged inserts: every client writes values that nobody else writes, and remembers what came of each.

use std::time::Duration;

use async_trait::async_trait;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use crate::history::{Outcome, Recorder};

/// Inserts one value through the path that an application uses.
///
/// It may open a new connection for the next value after one failed; it never tries the same value twice, and switches off
/// its driver's own retries.
#[async_trait]
pub trait InsertClient: Send {
    /// Inserts a value. `Ok` only when the database acknowledged it; an error after sending is `Unknown`, not `Fail`.
    async fn insert(&mut self, value: u64) -> Outcome;
}

/// How the inserts are paced.
#[derive(Debug, Clone, Copy)]
pub struct InsertPlan {
    /// Time from one insert of a client to its next.
    pub every: Duration,
    /// An insert that takes longer is cut off and `unknown`.
    pub limit: Duration,
}

impl Default for InsertPlan {
    /// 20 inserts per second and client, 2 s for each.
    fn default() -> Self {
        Self { every: Duration::from_millis(50), limit: Duration::from_secs(2) }
    }
}

/// A running insert workload. [`Inserts::stop`] ends it.
#[derive(Debug)]
pub struct Inserts {
    stop: watch::Sender<bool>,
    clients: JoinSet<()>,
}

impl Inserts {
    /// Starts one task a client; client *i* of *n* inserts *i*, *i + n*, *i + 2n*, …
    pub fn start(clients: Vec<Box<dyn InsertClient>>, plan: InsertPlan, recorder: &Recorder) -> Self {
        let (stop, stopped) = watch::channel(false);
        let stride = clients.len() as u64;
        let mut tasks = JoinSet::new();
        for (index, client) in (0_u32..).zip(clients) {
            tasks.spawn(insert_until_stopped(client, index, stride, plan, recorder.clone(), stopped.clone()));
        }
        Self { stop, clients: tasks }
    }

    /// Lets every client finish the insert that it is at, and waits for that.
    pub async fn stop(mut self) {
        // Nobody listens any more when all clients have ended.
        let _ = self.stop.send(true);
        while self.clients.join_next().await.is_some() {}
    }
}

async fn insert_until_stopped(
    mut client: Box<dyn InsertClient>,
    process: u32,
    stride: u64,
    plan: InsertPlan,
    recorder: Recorder,
    mut stopped: watch::Receiver<bool>,
) {
    let mut value = u64::from(process);
    let mut next = Instant::now();
    while !*stopped.borrow() {
        recorder.invoke(process, "insert", value);
        let outcome = timeout(plan.limit, client.insert(value))
            .await
            .unwrap_or_else(|_elapsed| Outcome::Unknown(format!("no answer within {} ms", plan.limit.as_millis())));
        recorder.complete(process, "insert", value, &outcome);
        value += stride;
        next = (next + plan.every).max(Instant::now());
        tokio::select! {
            () = sleep_until(next) => {}
            // The sender lives as long as the workload; when it goes, so do the clients.
            _ = stopped.changed() => {}
        }
    }
}
