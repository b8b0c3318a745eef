//! What the harness itself costs, and how much of that is the load that it puts on the platform.

use std::{
    cell::Cell,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll},
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

/// The processor time of all loads of this process so far, in nanoseconds.
static LOADS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Whether this thread is at a load's work.
    static AT_LOAD: Cell<bool> = const { Cell::new(false) };
}

/// The length of a tick in `/proc/PID/stat`: 100 a second for every program, whatever the kernel's own clock (proc(5), `USER_HZ`).
const TICK: Duration = Duration::from_millis(10);
/// User and system time are the fields 14 and 15; what follows the program's name begins with field 3.
const USER_AFTER_NAME: usize = 14 - 3;

/// The processor time of this process so far, all its threads together; [`None`] where the kernel does not tell.
pub fn processor_time() -> Option<Duration> {
    parse(&std::fs::read_to_string("/proc/self/stat").ok()?)
}

/// The part of [`processor_time`] that the clients of the loads took. What drivers do in tasks of their own is not in it, so what is left for
/// the harness is the most that it can have taken.
pub fn load_time() -> Duration {
    Duration::from_nanos(LOADS.load(Ordering::Relaxed))
}

/// The same work, counted as that of a load.
pub(crate) fn as_load<W: Future>(work: W) -> AsLoad<W> {
    AsLoad(Box::pin(work))
}

/// The same work for a task of its own: counted as that of a load where it is a load that asks for it.
pub(crate) fn as_ordered<W: Future>(work: W) -> impl Future<Output = W::Output> {
    let by_load = AT_LOAD.get();
    async move { if by_load { as_load(work).await } else { work.await } }
}

/// See [`as_load`].
pub(crate) struct AsLoad<W>(Pin<Box<W>>);

impl<W: Future> Future for AsLoad<W> {
    type Output = W::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<W::Output> {
        let _counted = Counted::begin();
        self.0.as_mut().poll(context)
    }
}

/// Counts what this thread does until it is dropped, also where that panics.
struct Counted {
    /// [`None`] inside another one, which counts it already.
    since: Option<u64>,
}

impl Counted {
    fn begin() -> Self {
        Self { since: (!AT_LOAD.replace(true)).then(thread_ns) }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(since) = self.since {
            LOADS.fetch_add(thread_ns().saturating_sub(since), Ordering::Relaxed);
            AT_LOAD.set(false);
        }
    }
}

/// The processor time of this thread so far.
fn thread_ns() -> u64 {
    // A clock that began with the thread is never before its zero.
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default().as_nanos() as u64
}

/// The name is in parentheses and may hold anything, blanks and parentheses among it.
fn parse(stat: &str) -> Option<Duration> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let ticks: Vec<u32> = after_name.split_whitespace().skip(USER_AFTER_NAME).take(2).filter_map(|field| field.parse().ok()).collect();
    match ticks.as_slice() {
        [user, system] => Some(TICK * (user + system)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_time_count() {
        let stat = "7 (a) name) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 100 1000 200";
        assert_eq!(parse(stat), Some(Duration::from_secs(3)));
        assert_eq!(parse("7 (name) S 1"), None);
    }

    #[tokio::test]
    async fn only_the_work_of_a_load_counts_as_one() {
        // Tests run side by side in one process, so the sum can be compared in one direction only.
        let spin = |time: Duration| async move {
            let until = thread_ns() + u64::try_from(time.as_nanos()).unwrap();
            while thread_ns() < until {}
        };
        let before = load_time();
        as_load(spin(Duration::from_millis(20))).await;
        assert!(load_time() >= before + Duration::from_millis(20));
        assert!(load_time() <= processor_time().unwrap() + 2 * TICK);
        let before = load_time();
        as_load(async { tokio::spawn(as_ordered(spin(Duration::from_millis(20)))).await }).await.unwrap();
        assert!(load_time() >= before + Duration::from_millis(20), "a load ordered it");
    }

    #[test]
    fn work_is_seen() {
        let before = processor_time().unwrap();
        let mut sum = 0_u64;
        while processor_time().unwrap() < before + 2 * TICK {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
    }
}
