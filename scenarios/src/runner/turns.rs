//! Who may run when: so much work at the same time as the machine carries, and some of it alone.

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::available_parallelism,
    time::{Duration, Instant},
};

use dora_harness::places::{Held, Places, Rank};
use tokio::{
    sync::{RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{sleep, timeout},
};

use crate::{Database, Scenario};

/// A shorter rest is not worth that somebody else begins.
const REST_MIN: Duration = Duration::from_secs(20);
/// Whoever rested comes back after this time even where there is no place: what it watches goes on.
pub(super) const BACK_LIMIT: Duration = Duration::from_secs(30);

/// With more tasks than this at each core, healthy databases miss their objectives: nothing new begins. The cores have no idle moment then, so
/// nothing is lost by it.
const LOAD_PER_CORE_MAX: f64 = 8.0;
/// With so few scenarios at work the machine is busy by something else, and waiting for them does not help.
const FEW: usize = 2;
/// Nor does it when they keep it busy for longer.
const CALM_LIMIT: Duration = Duration::from_secs(120);
/// The kernel's own average is over a minute and tells too late; this many looks, so far apart, make one.
const LOOKS: u32 = 8;
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// What begins shows in the machine's load only after a while.
const APART: Duration = Duration::from_secs(3);

/// What a scenario takes as long as none of its lane has ended.
const ASSUMED: Duration = Duration::from_secs(60);

/// Whoever rested is served before whoever is new, and of those the start of a cluster first, because others work on it.
const BACK: Rank = 0;
pub(super) const START: Rank = 1;
/// Then whoever has the longest way to go: its lane's time in seconds is taken off. The run ends with the last lane, so all should end
/// together.
const NEW: Rank = Rank::MAX;

/// Who may run when; sessions side by side share it.
pub(crate) struct Turns {
    /// Held for writing by whoever must run alone.
    quiet: RwLock<()>,
    places: Places,
    /// A shorter rest gives no place away.
    rest_min: Duration,
    /// One at a time waits for the machine.
    entry: Places,
    /// What the lanes still have before them.
    ahead: Mutex<BTreeMap<Database, Ahead>>,
    /// How many have begun and not ended, those that rest among them: their load goes on.
    at_work: AtomicUsize,
    /// The load of the machine above which nothing new begins while some are at work, and for how long at most.
    load_max: f64,
    calm_limit: Duration,
    /// Why none of them begins another scenario.
    given_up: Mutex<Option<String>>,
}

impl Turns {
    /// For so much work at the same time: see [`crate::Scenario::weight`].
    pub(super) fn new(jobs: usize) -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self {
            quiet: RwLock::new(()),
            places: Places::new(jobs.max(1)),
            rest_min: REST_MIN,
            entry: Places::new(1),
            ahead: Mutex::default(),
            at_work: AtomicUsize::new(0),
            load_max: LOAD_PER_CORE_MAX * cores as f64,
            calm_limit: CALM_LIMIT,
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

    /// So many scenarios of this database are yet to come, worked off on so many clusters.
    pub(super) fn expect(&self, database: Database, count: usize, clusters: usize) {
        self.ahead().insert(database, Ahead { left: count, clusters, ended: 0, took: Duration::ZERO });
    }

    /// Begins a scenario in its turn.
    pub(super) async fn begin_with(self: &Arc<Self>, scenario: &Scenario) -> Turn {
        let database = scenario.database;
        let way = self.ahead().get(&database).map_or(Duration::ZERO, Ahead::time);
        self.enter(NEW - way.as_secs() as Rank, scenario.weight(), Some(database)).await
    }

    /// Begins what is no scenario in its turn.
    pub(super) async fn begin(self: &Arc<Self>, rank: Rank, weight: usize) -> Turn {
        self.enter(rank, weight, None).await
    }

    /// Waits for as many places as work of this weight takes, or for all where there are fewer, then for the machine if it is overloaded, and
    /// begins.
    async fn enter(self: &Arc<Self>, rank: Rank, weight: usize, database: Option<Database>) -> Turn {
        let held = self.places.wait(rank, weight).await;
        let _entry = self.entry.wait(rank, 1).await;
        // However busy it still is then.
        let _ = timeout(self.calm_limit, self.calm()).await;
        self.at_work.fetch_add(1, Ordering::Relaxed);
        Turn { turns: Arc::clone(self), weight, held: Mutex::new(Some(held)), database, began: Instant::now() }
    }

    fn ahead(&self) -> MutexGuard<'_, BTreeMap<Database, Ahead>> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while many are at work and keep the machine busy.
    async fn calm(&self) {
        let mut waited = false;
        while self.at_work.load(Ordering::Relaxed) >= FEW && load().await.is_some_and(|load| load > self.load_max) {
            waited = true;
        }
        if waited {
            sleep(APART).await;
        }
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

/// Tasks that run or wait to, on average over two seconds; [`None`] where the kernel does not tell.
async fn load() -> Option<f64> {
    let mut sum = 0;
    for _ in 0..LOOKS {
        sleep(LOOK_EVERY).await;
        sum += runnable(&fs::read_to_string("/proc/loadavg").ok()?)?;
    }
    Some(f64::from(sum) / f64::from(LOOKS))
}

/// The fourth word is `runnable/all`, and who looks is one of the runnable.
fn runnable(words: &str) -> Option<u32> {
    words.split(' ').nth(3)?.split_once('/')?.0.parse().ok()
}

/// What a lane still has before it, and how long it took for what it has behind it.
struct Ahead {
    left: usize,
    clusters: usize,
    ended: u32,
    took: Duration,
}

impl Ahead {
    /// How long the rest will take, going by what has been.
    fn time(&self) -> Duration {
        let each = (ASSUMED + self.took) / (1 + self.ended);
        each.mul_f64(self.left as f64 / self.clusters as f64)
    }
}

/// A scenario at work.
pub(crate) struct Turn {
    turns: Arc<Turns>,
    weight: usize,
    /// Whose lane it belongs to; none if it is no scenario.
    database: Option<Database>,
    began: Instant,
    /// [`None`] while it rests, or was cut off in a rest.
    held: Mutex<Option<Held>>,
}

impl Turn {
    /// Waits, and lets others begin meanwhile if it is long: while survivors only carry their load, a machine has room for more. Then it
    /// waits for its places again, before whoever is new, but only for [`BACK_LIMIT`].
    pub(crate) async fn rest(&self, time: Duration) {
        let Turns { places, rest_min, .. } = &*self.turns;
        if time < *rest_min {
            return sleep(time).await;
        }
        self.hold(None);
        sleep(time).await;
        let back = timeout(BACK_LIMIT, places.wait(BACK, self.weight)).await;
        self.hold(Some(back.unwrap_or_else(|_elapsed| places.take(self.weight))));
    }

    fn hold(&self, held: Option<Held>) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = held;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.at_work.fetch_sub(1, Ordering::Relaxed);
        let mut ahead = self.turns.ahead();
        if let Some(lane) = self.database.and_then(|database| ahead.get_mut(&database)) {
            lane.left = lane.left.saturating_sub(1);
            lane.ended += 1;
            lane.took += self.began.elapsed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(100);
    const LONG: Duration = Duration::from_millis(300);

    fn places(jobs: usize) -> Arc<Turns> {
        Arc::new(Turns { rest_min: LONG, calm_limit: Duration::ZERO, ..Turns::new(jobs) })
    }

    #[tokio::test]
    async fn a_busy_machine_is_waited_for_but_not_for_ever() {
        let turns = Arc::new(Turns { load_max: -1.0, calm_limit: LONG, ..Turns::new(3) });
        let few = timeout(SOON, async { (turns.begin(NEW, 1).await, turns.begin(NEW, 1).await) }).await.expect("two do not wait");
        let mut third = Box::pin(turns.begin(NEW, 1));
        assert!(timeout(SOON, &mut third).await.is_err(), "the machine is taken for busy");
        let third = timeout(2 * LONG, third).await.expect("after its limit it begins all the same");
        drop((few, third));
        assert!(timeout(SOON, turns.begin(NEW, 1)).await.is_ok(), "nobody is at work any more");
    }

    #[test]
    fn the_kernel_tells_how_many_are_runnable() {
        assert_eq!(runnable("13.39 19.74 23.49 38/2892 10845\n"), Some(38));
        assert_eq!(runnable("13.39 19.74"), None);
    }

    #[tokio::test]
    async fn a_long_rest_lets_another_begin_and_whoever_rested_is_the_next_one() {
        let turns = places(1);
        let first = turns.begin(NEW, 1).await;
        assert!(timeout(SOON, turns.begin(NEW, 1)).await.is_err(), "one at a time");
        let mut third = Box::pin(turns.begin(NEW, 1));
        let others = async {
            let second = timeout(SOON, turns.begin(NEW, 1)).await.expect("the first one rests");
            assert!(timeout(2 * LONG, &mut third).await.is_err(), "the second is at work");
            drop(second);
            assert!(timeout(SOON, &mut third).await.is_err(), "the first came back before the third");
        };
        tokio::join!(others, first.rest(LONG));
        drop(first);
        assert!(timeout(SOON, third).await.is_ok());
    }

    #[tokio::test]
    async fn neither_a_short_rest_nor_one_that_is_cut_off_leaves_places_taken_twice() {
        let turns = places(1);
        let first = turns.begin(NEW, 1).await;
        let (second, ()) = tokio::join!(timeout(LONG, turns.begin(NEW, 1)), first.rest(LONG / 2));
        assert!(second.is_err());
        assert!(timeout(SOON, first.rest(LONG)).await.is_err());
        drop(first);
        assert_eq!(turns.places.taken(), 0);
    }

    #[tokio::test]
    async fn what_needs_more_than_there_is_takes_all_and_is_not_passed_by() {
        let turns = places(2);
        let light = turns.begin(NEW, 1).await;
        let mut heavy = Box::pin(turns.begin(NEW, 3));
        assert!(timeout(SOON, &mut heavy).await.is_err());
        let mut late = Box::pin(turns.begin(NEW, 1));
        assert!(timeout(SOON, &mut late).await.is_err(), "there is a place, and somebody waits for two");
        drop(light);
        let heavy = timeout(SOON, heavy).await.expect("all places are free");
        assert!(timeout(SOON, &mut late).await.is_err());
        drop(heavy);
        assert!(timeout(SOON, late).await.is_ok());
    }

    #[tokio::test]
    async fn the_longest_way_goes_first_and_what_has_ended_tells_how_long_it_is() {
        let turns = places(1);
        turns.expect(Database::Postgres, 6, 2);
        turns.expect(Database::Redis, 4, 1);
        let of = |database| crate::all().into_iter().find(|scenario| scenario.database == database && scenario.weight() == 1).unwrap();
        let first = turns.begin(NEW, 1).await;
        let mut postgres = Box::pin(turns.begin_with(of(Database::Postgres)));
        assert!(timeout(SOON, &mut postgres).await.is_err());
        let mut redis = Box::pin(turns.begin_with(of(Database::Redis)));
        assert!(timeout(SOON, &mut redis).await.is_err());
        drop(first);
        let redis = timeout(SOON, redis).await.expect("four on one cluster take longer than six on two, and go before who came first");
        assert!(timeout(SOON, &mut postgres).await.is_err());
        drop(redis);
        drop(timeout(SOON, postgres).await.expect("it is the next one"));
        let way = |database| turns.ahead()[&database].time().as_secs();
        assert_eq!((way(Database::Postgres), way(Database::Redis)), (75, 90), "each took no time, and one of so long was assumed");
    }

    #[tokio::test]
    async fn whoever_does_not_wait_any_more_keeps_no_place() {
        let turns = places(1);
        let first = turns.begin(NEW, 1).await;
        assert!(timeout(SOON, turns.begin(NEW, 1)).await.is_err());
        drop(first);
        assert_eq!(turns.places.taken(), 0);
    }
}
