//! The history of one object, laid out so that a configuration is small.
//!
//! Let the completed operations be sorted by their returns. When the search waits at return `k`, all operations that returned
//! before it have taken effect, and none can have that was called after it. What is left to say is which of the operations
//! under way have taken effect. Each gets a bit while it is under way, and that bit is another's later: as many bits as
//! there were operations at one time, not as many as there are operations.

use std::{cmp::Reverse, collections::BinaryHeap, ops::Range};

use hashbrown::HashMap;

use super::model::{Model, Operation};

/// No operation, state or entry.
pub const NONE: u32 = u32::MAX;

/// One operation that can matter.
#[derive(Debug)]
pub struct Item {
    /// Its place in the history that is checked.
    pub index: usize,
    /// The same number as that of any equal operation.
    pub class: u32,
    /// Its bit while it is under way.
    pub bit: u32,
    /// For an operation that never returned: the bit of the equal one called before it. Of two, the search lets the earlier
    /// take effect first, since one can stand in for the other; [`NONE`] for all others.
    pub after: u32,
    /// How many returns lie before its own; [`NONE`] if it never returned.
    pub stage: u32,
    /// For an update, the looks it may enable that run while it does. For a look, the updates that may enable it and run while
    /// it does; empty also where that is not known ([`Item::hopeful`]).
    pub related: Vec<u32>,
    /// An operation that never returned may enable this look at any time, or the model does not tell what does.
    pub hopeful: bool,
}

impl Item {
    const fn new(index: usize, class: u32) -> Self {
        Self { index, class, bit: 0, after: NONE, stage: NONE, related: Vec::new(), hopeful: true }
    }
}

/// The history of one object.
#[derive(Debug)]
pub struct Timeline {
    /// All operations that can matter, by call.
    pub items: Vec<Item>,
    /// The completed operations in order of their returns (numbers of items).
    pub returns: Vec<u32>,
    /// For each return, how many items were called before it or at the same time.
    pub called: Vec<u32>,
    /// For each class, an operation of it (its place in the history).
    pub classes: Vec<usize>,
    /// Bits of completed operations that may change the state: from 0 to here.
    updates: u32,
    /// Bits of completed operations that only look: from `updates` to here. The rest is of operations that never returned.
    looks: u32,
    bits: u32,
}

impl Timeline {
    /// Lays out the operations at `indices` (of one object) of `history`.
    pub fn new<M: Model>(model: &M, history: &[Operation<M::Op>], indices: Vec<usize>) -> Self {
        // Looking without an answer says nothing: it is possible in any state that lets it be asked.
        let mut by_call: Vec<usize> = indices;
        by_call.retain(|&index| history[index].ret.is_some() || !model.only_looks(&history[index].op));
        by_call.sort_by_key(|&index| (history[index].call, index));

        let mut returns: Vec<(u64, u32)> =
            by_call.iter().enumerate().filter_map(|(item, &index)| history[index].ret.map(|ret| (ret, item as u32))).collect();
        returns.sort_unstable();
        let called = returns.iter().map(|(ret, _)| by_call.partition_point(|&index| history[index].call <= *ret) as u32).collect();

        let (class_of, classes) = classes(history, &by_call);
        let items = by_call.iter().zip(class_of).map(|(&index, class)| Item::new(index, class)).collect();
        let returns = returns.into_iter().map(|(_, item)| item).collect();
        let mut timeline = Self { items, returns, called, classes, updates: 0, looks: 0, bits: 0 };
        for (stage, item) in timeline.returns.iter().enumerate() {
            timeline.items[*item as usize].stage = stage as u32;
        }
        timeline.give_bits(model, history);
        if M::KNOWS_CAUSES {
            timeline.relate(model, history);
        }
        timeline
    }

    /// The items called after return `stage - 1` and not after return `stage`.
    pub fn calls(&self, stage: usize) -> Range<usize> {
        let from = if stage == 0 { 0 } else { self.called[stage - 1] };
        from as usize..self.called[stage] as usize
    }

    /// How many bits a configuration has.
    pub const fn bits(&self) -> u32 {
        self.bits
    }

    /// Whether a bit is that of a completed operation that may change the state.
    pub const fn is_update(&self, bit: u32) -> bool {
        bit < self.updates
    }

    /// Whether a bit is that of a completed operation that only looks.
    pub const fn is_look(&self, bit: u32) -> bool {
        self.updates <= bit && bit < self.looks
    }

    /// The bits of completed operations that only look.
    pub const fn looks(&self) -> Range<u32> {
        self.updates..self.looks
    }

    /// Finds which updates may enable which looks that run at the same time.
    fn relate<M: Model>(&mut self, model: &M, history: &[Operation<M::Op>]) {
        let op = |item: &Item| &history[item.index].op;
        let mut lost: Vec<usize> = Vec::new();
        let mut under_way: Vec<usize> = Vec::new();
        for stage in 0..self.returns.len() {
            for called in self.calls(stage) {
                let is_look = self.is_look(self.items[called].bit);
                if self.items[called].stage == NONE {
                    lost.push(called);
                } else if is_look {
                    self.items[called].hopeful = false;
                }
                for other in under_way.iter().copied() {
                    let (change, look) = if is_look { (other, called) } else { (called, other) };
                    if self.is_look(self.items[change].bit) || !self.is_look(self.items[look].bit) {
                        continue;
                    }
                    if model.may_enable(op(&self.items[change]), op(&self.items[look])) {
                        self.items[change].related.push(look as u32);
                        self.items[look].related.push(change as u32);
                    }
                }
                if self.items[called].stage != NONE {
                    under_way.push(called);
                }
            }
            let returned = self.returns[stage] as usize;
            under_way.retain(|item| *item != returned);
            if self.is_look(self.items[returned].bit) {
                let mut lost = lost.iter().map(|item| &self.items[*item]);
                self.items[returned].hopeful = lost.any(|change| model.may_enable(op(change), op(&self.items[returned])));
            }
        }
    }

    fn give_bits<M: Model>(&mut self, model: &M, history: &[Operation<M::Op>]) {
        let looks: Vec<bool> = self.items.iter().map(|item| model.only_looks(&history[item.index].op)).collect();
        let open: Vec<bool> = self.items.iter().map(|item| history[item.index].ret.is_none()).collect();
        let (mut update_bits, mut look_bits, mut open_bits) = (Free::default(), Free::default(), 0);
        let mut last_of_class = vec![NONE; self.classes.len()];
        for stage in 0..self.returns.len() {
            for item in self.calls(stage) {
                self.items[item].bit = if open[item] {
                    let class = self.items[item].class as usize;
                    self.items[item].after = std::mem::replace(&mut last_of_class[class], open_bits);
                    open_bits += 1;
                    open_bits - 1
                } else if looks[item] {
                    look_bits.take()
                } else {
                    update_bits.take()
                };
            }
            let returned = self.returns[stage] as usize;
            if looks[returned] { &mut look_bits } else { &mut update_bits }.give(self.items[returned].bit);
        }
        self.updates = update_bits.made;
        self.looks = self.updates + look_bits.made;
        self.bits = self.looks + open_bits;
        for (item, (look, open)) in self.items.iter_mut().zip(looks.into_iter().zip(open)) {
            if open {
                item.bit += self.looks;
                item.after = if item.after == NONE { NONE } else { item.after + self.looks };
            } else if look {
                item.bit += self.updates;
            }
        }
        // Called after the last return: nothing can depend on it.
        self.items.truncate(self.called.last().map_or(0, |&called| called as usize));
    }
}

/// Bits that are handed out, taken back and handed out again, lowest first.
#[derive(Default)]
struct Free {
    made: u32,
    back: BinaryHeap<Reverse<u32>>,
}

impl Free {
    fn take(&mut self) -> u32 {
        self.back.pop().map_or_else(
            || {
                self.made += 1;
                self.made - 1
            },
            |Reverse(bit)| bit,
        )
    }

    fn give(&mut self, bit: u32) {
        self.back.push(Reverse(bit));
    }
}

/// Numbers equal operations equally.
fn classes<Op: Eq + std::hash::Hash>(history: &[Operation<Op>], by_call: &[usize]) -> (Vec<u32>, Vec<usize>) {
    let mut numbers: HashMap<&Op, u32> = HashMap::new();
    let mut examples = Vec::new();
    let class_of = by_call
        .iter()
        .map(|&index| {
            *numbers.entry(&history[index].op).or_insert_with(|| {
                examples.push(index);
                examples.len() as u32 - 1
            })
        })
        .collect();
    (class_of, examples)
}
