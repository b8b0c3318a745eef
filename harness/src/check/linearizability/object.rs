//! Decides the history of one object, and finds its shortest failing prefix if it has one.
//!
//! The search gives a way up as soon as it has lost a look, possibly long before that look returns. That a history fails is
//! then known early, but not at which return. A second, thorough search finds that.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use super::{
    model::{Model, Operation},
    search::{Search, Stretch},
    timeline::Timeline,
    verdict::{Limit, Witness},
    visited::Bits,
};

/// What was found about one object.
pub enum Found {
    /// An order that explains all.
    Order(Vec<usize>),
    /// There is none.
    Witness(Box<Witness>),
    /// There may be one or not, but another object fails earlier.
    Enough,
    /// Nothing in time.
    Limit(Limit),
}

/// What the decisions of one check share.
pub struct Shared {
    /// When to give up.
    pub deadline: Option<Instant>,
    /// How many configurations and states may be kept.
    pub configurations_max: usize,
    /// How many are kept.
    pub configurations: AtomicUsize,
    /// The earliest end of a failing prefix so far. Nobody needs to look further.
    pub failed_at: AtomicU64,
    /// Somebody met the deadline: the others meet it too.
    pub stop: AtomicBool,
}

/// The decision about one object, in stretches.
pub trait Decision: Send {
    /// Goes on, at most so many steps; `None` when it is still open.
    fn proceed(&mut self, steps: u32, shared: &Shared) -> Option<Found>;
}

/// How many steps are made between two looks at the clock: some tens of microseconds with a cheap model.
const STEPS_PER_LOOK: u32 = 256;

/// The decision about the object whose operations are at `indices`, with bits of the width that it needs.
pub fn decision<'a, M: Model>(model: &'a M, history: &'a [Operation<M::Op>], indices: Vec<usize>) -> Box<dyn Decision + 'a> {
    let timeline = Timeline::new(model, history, indices);
    match timeline.bits().div_ceil(64) {
        0 | 1 => Box::new(Object::<M, [u64; 1]>::new(model, history, timeline)),
        2 => Box::new(Object::<M, [u64; 2]>::new(model, history, timeline)),
        3 | 4 => Box::new(Object::<M, [u64; 4]>::new(model, history, timeline)),
        _ => Box::new(Object::<M, Box<[u64]>>::new(model, history, timeline)),
    }
}

struct Object<'a, M: Model, B> {
    history: &'a [Operation<M::Op>],
    search: Search<'a, M, B>,
    /// So many returns are known to be too many.
    fails: Option<u32>,
    /// How much of what is kept is counted already.
    counted: usize,
}

impl<'a, M: Model, B: Bits> Object<'a, M, B> {
    fn new(model: &'a M, history: &'a [Operation<M::Op>], timeline: Timeline) -> Self {
        Self { history, search: Search::new(model, history, timeline), fails: None, counted: 0 }
    }

    fn returned_at(&self, stage: u32) -> u64 {
        let item = self.search.timeline.returns[stage as usize] as usize;
        // Only completed operations are among the returns.
        self.history[self.search.timeline.items[item].index].ret.unwrap_or(u64::MAX)
    }

    /// How many returns are not after the earliest failure known.
    fn relevant(&self, shared: &Shared) -> u32 {
        let failed_at = shared.failed_at.load(Ordering::Relaxed);
        let all = self.search.timeline.returns.len() as u32;
        if failed_at == u64::MAX {
            return all;
        }
        let (mut low, mut high) = (0, all);
        while low < high {
            let middle = low.midpoint(high);
            if self.returned_at(middle) <= failed_at { low = middle + 1 } else { high = middle }
        }
        low
    }

    fn reached(&mut self) -> Found {
        let order = self.search.order();
        let target = self.search.target();
        match self.fails {
            // All returns but the last of a prefix that fails.
            Some(fails) if target + 1 == fails => Found::Witness(Box::new(self.witness(target))),
            None if target as usize == self.search.timeline.returns.len() => Found::Order(order),
            // The target was lowered, because another object fails there.
            _ => Found::Enough,
        }
    }

    fn exhausted(&mut self, shared: &Shared) -> Option<Found> {
        // Every way ends at a return that could not be passed, or lost a look that returns there. That may be after the
        // target, if the target was lowered on the way.
        let passed = self.search.longest.stage;
        let fails = match self.fails {
            None => self.search.lost.map_or(passed, |lost| passed.max(lost)) + 1,
            Some(_) => passed + 1,
        };
        self.fails = Some(fails);
        shared.failed_at.fetch_min(self.returned_at(fails - 1), Ordering::Relaxed);
        if passed + 1 == fails {
            return Some(Found::Witness(Box::new(self.witness(passed))));
        }
        self.search.restart(fails - 1, true);
        None
    }

    fn limit(&mut self, shared: &Shared) -> Option<Limit> {
        let kept = self.search.kept();
        let all = if kept >= self.counted {
            shared.configurations.fetch_add(kept - self.counted, Ordering::Relaxed) + (kept - self.counted)
        } else {
            shared.configurations.fetch_sub(self.counted - kept, Ordering::Relaxed) - (self.counted - kept)
        };
        self.counted = kept;
        if all > shared.configurations_max {
            return Some(Limit::Configurations);
        }
        if shared.stop.load(Ordering::Relaxed) {
            return Some(Limit::Time);
        }
        if shared.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            shared.stop.store(true, Ordering::Relaxed);
            return Some(Limit::Time);
        }
        None
    }

    /// The prefix that ends with return `last` fails.
    fn witness(&self, last: u32) -> Witness {
        let Search { timeline, longest, .. } = &self.search;
        let index = |item: &u32| timeline.items[*item as usize].index;
        let returns = &timeline.returns[..=last as usize];
        let failed = index(&returns[last as usize]);
        let mut is_returned = vec![false; timeline.items.len()];
        for item in returns {
            is_returned[*item as usize] = true;
        }
        let called = 0..timeline.called[last as usize];
        let began = self.history[failed].call;
        let overlaps = |index: &usize| *index != failed && self.history[*index].ret.is_none_or(|ret| ret >= began);
        Witness {
            failed,
            failed_at: self.returned_at(last),
            shortest: longest.stage == last,
            returned: returns.iter().map(index).collect(),
            under_way: called.clone().filter(|item| !is_returned[*item as usize]).map(|item| index(&item)).collect(),
            longest: longest.order.iter().map(index).collect(),
            concurrent: called.map(|item| index(&item)).filter(overlaps).collect(),
        }
    }
}

impl<M: Model, B: Bits> Decision for Object<'_, M, B> {
    fn proceed(&mut self, steps: u32, shared: &Shared) -> Option<Found> {
        let mut found = None;
        for _ in 0..steps.div_ceil(STEPS_PER_LOOK) {
            if let Some(limit) = self.limit(shared) {
                // That it fails may be known, if not how soon.
                found = Some(self.fails.map_or(Found::Limit(limit), |fails| Found::Witness(Box::new(self.witness(fails - 1)))));
                break;
            }
            let relevant = self.relevant(shared);
            if (relevant as usize) < self.search.timeline.returns.len() && self.search.longest.stage >= relevant {
                found = Some(Found::Enough);
                break;
            }
            self.search.lower(relevant);
            found = match self.search.run(STEPS_PER_LOOK) {
                Stretch::Reached => Some(self.reached()),
                Stretch::Exhausted => self.exhausted(shared),
                Stretch::Open => None,
            };
            if found.is_some() {
                break;
            }
        }
        if found.is_some() {
            shared.configurations.fetch_sub(std::mem::take(&mut self.counted), Ordering::Relaxed);
        }
        found
    }
}
