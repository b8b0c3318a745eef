//! Where a search stands in a history, and how it goes on and back.
//!
//! A look is lost when the state does not allow it and every operation that may enable it ([`Model::may_enable`]) has taken
//! effect: what made it possible is overwritten, and nothing will do so again before it returns. The search need not go on from
//! there. It asks only about looks that the last operation, or the one whose state that replaced, may have enabled.

use super::{
    model::Model,
    states::States,
    timeline::{Item, NONE, Timeline},
    visited::{Bits, bits_of, clear, first_from, is_set, set},
};

/// The returns passed and the operations that have taken effect.
pub struct Position {
    /// How many returns have been passed.
    pub stage: u32,
    /// The items that have taken effect, in their order.
    pub order: Vec<u32>,
    /// Which item has a bit here.
    item_of: Vec<u32>,
}

/// A look that can never take effect any more, by the stage at which it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost(pub u32);

/// So many calls ahead a look is not asked about.
const FAR: u32 = 64;

/// How far a search goes.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// How many returns it wants to pass.
    pub target: u32,
    /// It does not go on where a look is lost that returns at an earlier stage than this.
    pub hopeless_before: u32,
}

impl Position {
    /// Before the first call.
    pub fn new(timeline: &Timeline) -> Self {
        Self { stage: 0, order: Vec::new(), item_of: vec![NONE; timeline.bits() as usize] }
    }

    /// The item that has this bit here.
    pub fn item(&self, bit: u32) -> u32 {
        self.item_of[bit as usize]
    }

    /// Lets `item` take effect, which leaves `state`, and whatever follows without a choice. `replaces`: the item that made the
    /// state before, if this is another one. `Err`: then a look can never take effect that the bounds want.
    pub fn apply<M: Model, B: Bits>(
        &mut self,
        (timeline, states): (&Timeline, &mut States<'_, M>),
        (item, state, replaces): (u32, u32, Option<u32>),
        bounds: Bounds,
        open: &mut B,
    ) -> Result<(), Lost> {
        clear(open, timeline.items[item as usize].bit);
        self.order.push(item);
        if let Some(replaced) = replaces {
            self.look(timeline, states, state, open);
            self.still_possible(timeline, &timeline.items[item as usize].related, bounds.hopeless_before, open)?;
            let before = timeline.items.get(replaced as usize).map_or(&[][..], |replaced| &replaced.related);
            self.still_to_come(timeline, states, (state, before), bounds.hopeless_before, open)?;
        }
        self.pass(timeline, states, state, bounds, open)
    }

    /// Lets the operations be called that are called before the first return.
    pub fn begin<M: Model, B: Bits>(
        &mut self,
        timeline: &Timeline,
        states: &mut States<'_, M>,
        bounds: Bounds,
        open: &mut B,
    ) -> Result<(), Lost> {
        self.call(timeline, states, 0, bounds, open)?;
        self.pass(timeline, states, 0, bounds, open)
    }

    /// Undoes what was done since the search was at `stage` with an order of this length.
    pub fn back_to(&mut self, timeline: &Timeline, stage: u32, ordered: usize) {
        self.order.truncate(ordered);
        while self.stage > stage {
            self.stage -= 1;
            // The bit may have been another's since.
            let returned = timeline.returns[self.stage as usize];
            self.item_of[timeline.items[returned as usize].bit as usize] = returned;
        }
    }

    /// Lets every look under way take effect that `state` allows.
    fn look<M: Model, B: Bits>(&mut self, timeline: &Timeline, states: &mut States<'_, M>, state: u32, open: &mut B) {
        let mut from = timeline.looks().start;
        while let Some(bit) = first_from(open, from).filter(|bit| timeline.is_look(*bit)) {
            from = bit + 1;
            let item = self.item(bit);
            if states.step(state, timeline.items[item as usize].class) != NONE {
                clear(open, bit);
                self.order.push(item);
            }
        }
    }

    /// Goes past the returns of all operations that have taken effect, but not past the target.
    fn pass<M: Model, B: Bits>(
        &mut self,
        timeline: &Timeline,
        states: &mut States<'_, M>,
        state: u32,
        bounds: Bounds,
        open: &mut B,
    ) -> Result<(), Lost> {
        while self.stage < bounds.target {
            let returning = timeline.returns[self.stage as usize];
            if is_set(open, timeline.items[returning as usize].bit) {
                break;
            }
            self.stage += 1;
            if self.stage < bounds.target {
                self.call(timeline, states, state, bounds, open)?;
            }
        }
        Ok(())
    }

    /// Lets the operations be called that are called before the next return.
    fn call<M: Model, B: Bits>(
        &mut self,
        timeline: &Timeline,
        states: &mut States<'_, M>,
        state: u32,
        bounds: Bounds,
        open: &mut B,
    ) -> Result<(), Lost> {
        for number in timeline.calls(self.stage as usize) {
            let item = &timeline.items[number];
            self.item_of[item.bit as usize] = number as u32;
            if timeline.is_look(item.bit) && states.step(state, item.class) != NONE {
                self.order.push(number as u32);
            } else {
                set(open, item.bit);
            }
        }
        for number in timeline.calls(self.stage as usize) {
            if timeline.is_look(timeline.items[number].bit) {
                self.still_possible(timeline, &[number as u32], bounds.hopeless_before, open)?;
            }
        }
        Ok(())
    }

    /// Whether each of these looks is yet to be called, or has taken effect, or something that may enable it has not.
    fn still_possible<B: Bits>(&self, timeline: &Timeline, looks: &[u32], hopeless_before: u32, open: &B) -> Result<(), Lost> {
        for &number in looks {
            let look = &timeline.items[number as usize];
            let matters = look.stage < hopeless_before && !look.hopeful && self.is_open(timeline, number, open);
            if matters && !self.has_cause(timeline, look, open) {
                return Err(Lost(look.stage));
            }
        }
        Ok(())
    }

    /// Whether each of these looks is called already, or possible in `state`, or something that may enable it has not taken effect.
    fn still_to_come<M: Model, B: Bits>(
        &self,
        timeline: &Timeline,
        states: &mut States<'_, M>,
        (state, looks): (u32, &[u32]),
        hopeless_before: u32,
        open: &B,
    ) -> Result<(), Lost> {
        let called = timeline.called[self.stage as usize];
        for &number in looks {
            let look = &timeline.items[number as usize];
            let matters = number >= called && look.stage < hopeless_before && !look.hopeful;
            // Far away, much can happen before: not worth the search.
            if !matters || number - called > FAR || states.step(state, look.class) != NONE || self.has_cause(timeline, look, open) {
                continue;
            }
            // What returns before the look is called is not related to it, and may still leave it a state that it wants.
            let mut earlier = (called..number).chain(bits_of(open).map(|bit| self.item(bit))).map(|item| &timeline.items[item as usize]);
            if !earlier.any(|item| !timeline.is_look(item.bit) && states.may_enable(item.class, look.class)) {
                return Err(Lost(look.stage));
            }
        }
        Ok(())
    }

    fn has_cause<B: Bits>(&self, timeline: &Timeline, look: &Item, open: &B) -> bool {
        let called = timeline.called[self.stage as usize];
        look.related.iter().any(|&change| change >= called || self.is_open(timeline, change, open))
    }

    fn is_open<B: Bits>(&self, timeline: &Timeline, item: u32, open: &B) -> bool {
        let bit = timeline.items[item as usize].bit;
        self.item(bit) == item && is_set(open, bit)
    }
}
