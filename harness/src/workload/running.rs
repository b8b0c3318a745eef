//! Clients at work: each carries out one operation after the other and records it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{Client, Completion, Generator, Invocation};
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
            let process = u32::try_from(number).unwrap_or(u32::MAX);
            let worker = Worker { client, number, process, count, generator: Arc::clone(&generator), pace, recorder: recorder.clone() };
            tasks.spawn(as_load(worker.work(stopped.clone())));
        }
        Self { stop, clients: tasks }
    }

    /// Lets every client finish the operation that it is at, at most the pace's limit, and do what its generator has [last](Generator::last).
    pub async fn stop(mut self) {
        // Nobody listens any more when all clients have ended.
        let _ = self.stop.send(true);
        while self.clients.join_next().await.is_some() {}
    }
}

struct Worker {
    client: Box<dyn Client>,
    number: usize,
    /// As whom its operations are recorded.
    process: u32,
    count: usize,
    generator: Arc<Mutex<Box<dyn Generator>>>,
    pace: Pace,
    recorder: Recorder,
}

impl Worker {
    async fn work(mut self, mut stopped: watch::Receiver<bool>) {
        let mut next = Instant::now();
        while !*stopped.borrow() {
            let invocation = self.thinks().next(self.number);
            self.carry_out(&invocation).await;
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
        let mut before = None;
        loop {
            let last = self.thinks().last(self.number, before.as_ref());
            let Some((after, invocation)) = last else { return };
            sleep(after).await;
            before = Some(self.carry_out(&invocation).await);
        }
    }

    fn thinks(&self) -> MutexGuard<'_, Box<dyn Generator>> {
        self.generator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn carry_out(&mut self, invocation: &Invocation) -> Completion {
        self.recorder.invoke(self.process, invocation.f, &invocation.value);
        let completion = timeout(self.pace.limit, self.client.invoke(invocation))
            .await
            .unwrap_or_else(|_elapsed| Completion::of(Outcome::Unknown(format!("no answer within {} ms", self.pace.limit.as_millis()))));
        let value = completion.value.as_ref().unwrap_or(&invocation.value);
        self.recorder.complete(self.process, invocation.f, value, &completion.outcome);
        if matches!(completion.outcome, Outcome::Unknown(_)) {
            // The operation may still take effect: for a checker its process is at it for ever, so the client goes on under
            // another number (as in Jepsen's histories).
            self.process = self.process.saturating_add(u32::try_from(self.count).unwrap_or(u32::MAX));
        }
        completion
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;

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

    struct Counts(u64);

    #[async_trait]
    impl Client for Counts {
        async fn invoke(&mut self, _invocation: &Invocation) -> Completion {
            self.0 += 1;
            Completion::read(self.0)
        }
    }

    /// Counts once more when the load has ended.
    struct OneMore;

    impl Generator for OneMore {
        fn next(&mut self, _client: usize) -> Invocation {
            Invocation { f: "count", value: 0.into() }
        }

        fn last(&mut self, _client: usize, before: Option<&Completion>) -> Option<(Duration, Invocation)> {
            before.is_none().then(|| (Duration::from_millis(20), Invocation { f: "last", value: 0.into() }))
        }
    }

    #[tokio::test]
    async fn what_comes_last_is_done_once_by_each_client_after_its_time() {
        let recorder = Recorder::new(std::time::Instant::now(), None).unwrap();
        let clients: Vec<Box<dyn Client>> = vec![Box::new(Counts(0)), Box::new(Counts(0))];
        let pace = Pace { rhythm: Rhythm::Closed(Duration::from_millis(5)), ..Pace::default() };
        let running = Running::start(clients, Box::new(OneMore), pace, &recorder);
        tokio::time::sleep(Duration::from_millis(30)).await;
        running.stop().await;
        let operations = recorder.operations().unwrap();
        for process in 0..2 {
            let of: Vec<_> = operations.iter().filter(|operation| operation.process == process).collect();
            let [.., before, last] = of.as_slice() else { panic!("{of:?}") };
            assert_eq!((&*before.f, &*last.f), ("count", "last"));
            assert!(last.invoked >= before.completed.unwrap() + 20_000_000, "{last:?}");
        }
    }
}
