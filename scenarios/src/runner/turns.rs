//! Who may run when: so many scenarios at work at the same time, some of them alone, few that are heavy.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, Semaphore, SemaphorePermit, watch},
    time::sleep,
};

/// How many scenarios that start a database anew may run at the same time: with five of them two cores and one disk stall everybody's
/// requests for seconds.
const HEAVY_AT_ONCE: usize = 2;
/// A shorter rest is not worth that somebody else begins.
const REST_MIN: Duration = Duration::from_secs(20);

/// Who may run when; sessions side by side share it.
pub(crate) struct Turns {
    /// Held for writing by whoever must run alone.
    quiet: RwLock<()>,
    heavy: Semaphore,
    /// How many scenarios are at work.
    busy: watch::Sender<usize>,
    jobs: usize,
    /// A shorter rest gives no place away.
    rest_min: Duration,
    /// Why none of them begins another scenario.
    given_up: Mutex<Option<String>>,
}

impl Turns {
    /// For `jobs` scenarios at work at the same time.
    pub(super) fn new(jobs: usize) -> Self {
        Self {
            quiet: RwLock::new(()),
            heavy: Semaphore::new(HEAVY_AT_ONCE),
            busy: watch::Sender::new(0),
            jobs: jobs.max(1),
            rest_min: REST_MIN,
            given_up: Mutex::new(None),
        }
    }

    /// Waits until nobody runs who has to be alone, and keeps them out.
    pub(super) async fn beside(&self) -> RwLockReadGuard<'_, ()> {
        self.quiet.read().await
    }

    /// Waits until nobody else runs, and keeps everybody out.
    pub(super) async fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.quiet.write().await
    }

    /// Waits for a place among the heavy ones.
    pub(super) async fn heavy(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.heavy.acquire().await.ok()
    }

    /// Whether one more heavy scenario could begin now.
    pub(super) fn takes_heavy(&self) -> bool {
        self.heavy.available_permits() > 0
    }

    /// Waits until fewer than the wanted number are at work, and begins.
    pub(super) async fn begin(self: &Arc<Self>) -> Turn {
        let mut busy = self.busy.subscribe();
        while !self.busy.send_if_modified(|busy| {
            let free = *busy < self.jobs;
            *busy += usize::from(free);
            free
        }) {
            // The sender lives as long as this.
            let _ = busy.wait_for(|busy| *busy < self.jobs).await;
        }
        Turn { turns: Arc::clone(self) }
    }

    /// Nobody begins another scenario. The first reason stays.
    pub(super) fn give_up(&self, reason: String) {
        self.given_up.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
    }

    /// Why nobody begins another scenario, if so.
    pub(super) fn given_up(&self) -> Option<String> {
        self.given_up.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A scenario's place among those at work.
pub(crate) struct Turn {
    turns: Arc<Turns>,
}

impl Turn {
    /// Waits, and lets another scenario begin meanwhile if it is long: while survivors only carry their load, a machine has room for more.
    /// It comes back on time even if then more are at work than wanted, because what it waited for would go on without it.
    pub(crate) async fn rest(&self, time: Duration) {
        let _resting = (time >= self.turns.rest_min).then(|| Resting::of(&self.turns));
        sleep(time).await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.busy.send_modify(|busy| *busy -= 1);
    }
}

/// A turn that does not count for as long as this lives, however it ends.
struct Resting<'a>(&'a Turns);

impl<'a> Resting<'a> {
    fn of(turns: &'a Turns) -> Self {
        turns.busy.send_modify(|busy| *busy -= 1);
        Self(turns)
    }
}

impl Drop for Resting<'_> {
    fn drop(&mut self) {
        self.0.busy.send_modify(|busy| *busy += 1);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_millis(100);
    const LONG: Duration = Duration::from_millis(300);

    fn one_at_a_time() -> Arc<Turns> {
        Arc::new(Turns { rest_min: LONG, ..Turns::new(1) })
    }

    #[tokio::test]
    async fn a_long_rest_lets_another_begin_and_whoever_rested_comes_back_on_time() {
        let turns = one_at_a_time();
        let first = turns.begin().await;
        assert!(timeout(SOON, turns.begin()).await.is_err(), "one at a time");
        let (second, ()) = tokio::join!(timeout(SOON, turns.begin()), first.rest(LONG));
        let second = second.expect("the first one rests");
        assert_eq!(*turns.busy.borrow(), 2, "it came back although the second is at work");
        drop(first);
        assert!(timeout(SOON, turns.begin()).await.is_err(), "the second is still at work");
        drop(second);
        assert!(timeout(SOON, turns.begin()).await.is_ok());
    }

    #[tokio::test]
    async fn neither_a_short_rest_nor_one_that_is_cut_off_gives_a_place_away() {
        let turns = one_at_a_time();
        let first = turns.begin().await;
        let (second, ()) = tokio::join!(timeout(LONG, turns.begin()), first.rest(LONG / 2));
        assert!(second.is_err());
        assert!(timeout(SOON, first.rest(LONG)).await.is_err());
        assert_eq!(*turns.busy.borrow(), 1, "it is at work again");
    }
}
