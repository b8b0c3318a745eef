//! A number of places and an order in which they are given.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// Where in the order something stands: lower ranks go first.
pub type Rank = usize;

/// A number of places, given to whoever has the lowest rank, and among equals to whoever came first. What needs many is not passed by by what
/// comes after it and needs few. Clones are handles of the same places.
#[derive(Debug, Clone)]
pub struct Places(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    all: usize,
    /// More than there are, where somebody did not wait.
    taken: usize,
    asked: u64,
    waiting: BTreeMap<(Rank, u64), (usize, oneshot::Sender<Held>)>,
}

/// Places that somebody has; they are free again when this is dropped.
#[derive(Debug)]
pub struct Held {
    places: Places,
    count: usize,
}

impl Places {
    /// So many places, all of them free.
    pub fn new(all: usize) -> Self {
        Self(Arc::new(Mutex::new(State { all, taken: 0, asked: 0, waiting: BTreeMap::new() })))
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.state().taken
    }

    /// Waits for so many places, or for all where there are fewer.
    pub async fn wait(&self, rank: Rank, count: usize) -> Held {
        let coming = {
            let mut state = self.state();
            let (give, coming) = oneshot::channel();
            let (asked, count) = (state.asked, count.min(state.all));
            state.asked += 1;
            state.waiting.insert((rank, asked), (count, give));
            coming
        };
        self.serve();
        match coming.await {
            Ok(held) => held,
            Err(_dropped) => unreachable!("a sender waits until it is served, and the places live as long as this handle"),
        }
    }

    /// Takes so many places, or all where there are fewer, whether they are free or not.
    pub fn take(&self, count: usize) -> Held {
        let mut state = self.state();
        let count = count.min(state.all);
        state.taken += count;
        Held { places: self.clone(), count }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives free places to those who wait.
    fn serve(&self) {
        loop {
            let next = {
                let mut state = self.state();
                let Some(first) = state.waiting.first_entry() else { return };
                let count = first.get().0;
                if state.taken + count > state.all {
                    return;
                }
                state.taken += count;
                state.waiting.pop_first()
            };
            if let Some((_, (count, give))) = next {
                // To whoever does not wait any more it comes back, and its end frees it.
                let _ = give.send(Held { places: self.clone(), count });
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.places.state().taken -= self.count;
        self.places.serve();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{sync::mpsc, time::timeout};

    use super::*;

    #[tokio::test]
    async fn the_lowest_rank_is_next_and_among_equals_the_first() {
        let places = Places::new(1);
        let first = places.wait(9, 1).await;
        let (told, mut order) = mpsc::unbounded_channel();
        for (name, rank) in [("late", 5), ("soon", 1), ("soon after", 1), ("later", 7)] {
            let (places, told) = (places.clone(), told.clone());
            tokio::spawn(async move {
                let _place = places.wait(rank, 1).await;
                told.send(name).unwrap();
            });
            // Each asks before the next one does.
            tokio::task::yield_now().await;
        }
        drop(first);
        let mut seen = Vec::new();
        while seen.len() < 4 {
            seen.push(order.recv().await.unwrap());
        }
        assert_eq!(seen, ["soon", "soon after", "late", "later"]);
        assert_eq!(places.taken(), 0);
    }

    #[tokio::test]
    async fn whoever_stops_waiting_loses_no_place() {
        let places = Places::new(1);
        let held = places.wait(0, 1).await;
        assert!(timeout(Duration::from_millis(20), places.wait(0, 1)).await.is_err());
        drop(held);
        assert!(timeout(Duration::from_millis(200), places.wait(0, 1)).await.is_ok());
        assert_eq!(places.taken(), 0);
    }
}
