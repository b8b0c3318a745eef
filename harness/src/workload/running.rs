//! Clients at work: each carries out one operation after the other and records it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use super::{Client, Completion, Generator};
use crate::{
    history::{Outcome, Recorder},
    measure::as_load,
};

/// When a client begins its next operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rhythm {
    /// Closed loop: this long after it began the last one, or when that one has ended, whichever is later.
    Closed(Duration),
    /// Open loop: at fixed moments this far apart; what a slow answer made late is made up for at once.
    Open(Duration),
}

/// How operations are paced.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// When the next begins.
    pub rhythm: Rhythm,
    /// An operation that takes longer is cut off and `unknown`.
    pub limit: Duration,
}

impl Default for Pace {
    /// 20 operations per second and client in a closed loop, 2 s for each.
    fn default() -> Self {
        Self { rhythm: Rhythm::Closed(Duration::from_millis(50)), limit: Duration::from_secs(2) }
    }
}

/// A workload that runs. [`Running::stop`] ends it.
#[derive(Debug)]
pub struct Running {
    stop: watch::Sender<bool>,
    clients: JoinSet<()>,
}

impl Running {
    /// Starts one task a client.
    pub fn start(clients: Vec<Box<dyn Client>>, generator: Box<dyn Generator>, pace: Pace, recorder: &Recorder) -> Self {
        let (stop, stopped) = watch::channel(false);
        let generator = Arc::new(Mutex::new(generator));
        let count = clients.len();
        let mut tasks = JoinSet::new();
        for (number, client) in clients.into_iter().enumerate() {
            let worker = Worker { client, number, count, generator: Arc::clone(&generator), pace, recorder: recorder.clone() };
            tasks.spawn(as_load(worker.work(stopped.clone())));
        }
        Self { stop, clients: tasks }
    }

    /// Lets every client finish the operation that it is at, and waits for that: at most the pace's limit.
    pub async fn stop(mut self) {
        // Nobody listens any more when all clients have ended.
        let _ = self.stop.send(true);
        while self.clients.join_next().await.is_some() {}
    }
}

struct Worker {
    client: Box<dyn Client>,
    number: usize,
    count: usize,
    generator: Arc<Mutex<Box<dyn Generator>>>,
    pace: Pace,
    recorder: Recorder,
}

impl Worker {
    async fn work(mut self, mut stopped: watch::Receiver<bool>) {
        let mut process = u32::try_from(self.number).unwrap_or(u32::MAX);
        let mut next = Instant::now();
        while !*stopped.borrow() {
            let invocation = self.generator.lock().unwrap_or_else(PoisonError::into_inner).next(self.number);
            self.recorder.invoke(process, invocation.f, &invocation.value);
            let Completion { outcome, value } =
                timeout(self.pace.limit, self.client.invoke(&invocation)).await.unwrap_or_else(|_elapsed| {
                    Completion::of(Outcome::Unknown(format!("no answer within {} ms", self.pace.limit.as_millis())))
                });
            self.recorder.complete(process, invocation.f, value.as_ref().unwrap_or(&invocation.value), &outcome);
            if matches!(outcome, Outcome::Unknown(_)) {
                // The operation may still take effect: for a checker its process is at it for ever, so the client goes on under
                // another number (as in Jepsen's histories).
                process = process.saturating_add(u32::try_from(self.count).unwrap_or(u32::MAX));
            }
            next = match self.pace.rhythm {
                Rhythm::Closed(every) => (next + every).max(Instant::now()),
                Rhythm::Open(every) => next + every,
            };
            tokio::select! {
                () = sleep_until(next) => {}
                // The sender lives as long as the workload; when it goes, so do the clients.
                _ = stopped.changed() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::workload::Invocation;

    struct Forgets;

    #[async_trait]
    impl Client for Forgets {
        async fn invoke(&mut self, _invocation: &Invocation) -> Completion {
            Completion::of(Outcome::Unknown("the answer was lost".into()))
        }
    }

    #[tokio::test]
    async fn a_process_ends_with_an_operation_that_nobody_knows_of() {
        let recorder = Recorder::new(std::time::Instant::now(), None).unwrap();
        let clients: Vec<Box<dyn Client>> = vec![Box::new(Forgets), Box::new(Forgets)];
        let pace = Pace { rhythm: Rhythm::Closed(Duration::from_millis(5)), ..Pace::default() };
        let running = Running::start(clients, Box::new(|_| Invocation { f: "add", value: 1.into() }), pace, &recorder);
        tokio::time::sleep(Duration::from_millis(60)).await;
        running.stop().await;
        let mut processes: Vec<u32> = recorder.operations().unwrap().iter().map(|operation| operation.process).collect();
        let count = processes.len();
        processes.sort_unstable();
        processes.dedup();
        assert!(count > 4 && processes.len() == count, "{processes:?}");
    }
}
