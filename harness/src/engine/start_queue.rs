//! Who is created next: the engine does a few containers at a time, so what others wait for longest must not wait itself.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// Where in the order of starts something stands: lower ranks go first.
pub(crate) type Rank = usize;

/// A number of slots, given to whoever has the lowest rank, and among equals to whoever came first. Clones are handles of the same queue.
#[derive(Debug, Clone)]
pub(super) struct StartQueue(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    free: usize,
    asked: u64,
    waiting: BTreeMap<(Rank, u64), oneshot::Sender<Slot>>,
}

/// A slot of a [`StartQueue`]; the next one has it when this is dropped.
#[derive(Debug)]
pub(super) struct Slot(StartQueue);

impl StartQueue {
    pub(super) fn new(slots: usize) -> Self {
        Self(Arc::new(Mutex::new(State { free: slots, asked: 0, waiting: BTreeMap::new() })))
    }

    /// Waits for a slot.
    pub(super) async fn slot(&self, rank: Rank) -> Slot {
        let coming = {
            let mut state = self.state();
            if let Some(left) = state.free.checked_sub(1) {
                state.free = left;
                return Slot(self.clone());
            }
            let (give, coming) = oneshot::channel();
            let asked = state.asked;
            state.asked += 1;
            state.waiting.insert((rank, asked), give);
            coming
        };
        match coming.await {
            Ok(slot) => slot,
            Err(_dropped) => {
                unreachable!("a sender stays in the queue until it is given a slot, and the queue lives as long as this handle")
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let next = {
            let mut state = self.0.state();
            let next = state.waiting.pop_first();
            state.free += usize::from(next.is_none());
            next
        };
        if let Some((_, give)) = next {
            // To whoever does not wait any more it comes back as an error, whose end gives it to the one after.
            let _ = give.send(Slot(self.0.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{sync::mpsc, time::timeout};

    use super::*;

    #[tokio::test]
    async fn the_lowest_rank_is_next_and_among_equals_the_first() {
        let queue = StartQueue::new(1);
        let first = queue.slot(9).await;
        let (told, mut order) = mpsc::unbounded_channel();
        for (name, rank) in [("late", 5), ("soon", 1), ("soon after", 1), ("later", 7)] {
            let (queue, told) = (queue.clone(), told.clone());
            tokio::spawn(async move {
                let _slot = queue.slot(rank).await;
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
        assert_eq!(queue.state().free, 1);
    }

    #[tokio::test]
    async fn whoever_stops_waiting_loses_no_slot() {
        let queue = StartQueue::new(1);
        let held = queue.slot(0).await;
        assert!(timeout(Duration::from_millis(20), queue.slot(0)).await.is_err());
        drop(held);
        assert!(timeout(Duration::from_millis(200), queue.slot(0)).await.is_ok());
        assert_eq!(queue.state().free, 1);
    }
}
