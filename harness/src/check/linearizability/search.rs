//! The search for an order of the operations of one object that explains all answers.
//!
//! Depth first. Where the search stands is a stage (how many returns lie behind it), a state, and the operations under way that
//! have not taken effect. The next return forces its operation to take effect, so this one is tried first; only when that
//! leads nowhere is another one let before it. An operation that only looks takes effect the moment the state allows
//! it: put it first in whatever order explains the rest, and the order still explains everything, since it is possible here and
//! leaves the state alone. So it is never a choice and never undone on its own.

use super::{
    model::{Model, Operation},
    position::{Bounds, Lost, Position},
    states::States,
    timeline::{NONE, Timeline},
    visited::{Bits, Visited, first_from, is_set},
};

/// How a stretch of the search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stretch {
    /// The target is reached.
    Reached,
    /// It cannot be reached.
    Exhausted,
    /// Neither is known yet.
    Open,
}

/// A configuration on the way from the start to where the search is, and what it still has to try.
struct Frame<B> {
    stage: u32,
    state: u32,
    open: B,
    /// The item that made the state; [`NONE`] for the initial one.
    made_by: u32,
    /// How long the order was.
    ordered: u32,
    next: Next,
}

/// The next operation to let take effect.
#[derive(Clone, Copy)]
enum Next {
    /// The one that returns next.
    Forced,
    /// The first with this bit or a higher one.
    From(u32),
}

/// A search for an order of the operations that return in a prefix of a history.
pub struct Search<'a, M: Model, B> {
    pub timeline: Timeline,
    states: States<'a, M>,
    visited: Visited<B>,
    words: usize,
    /// How many returns are to be passed.
    target: u32,
    thorough: bool,
    position: Position,
    path: Vec<Frame<B>>,
    pub longest: Longest,
    /// The highest stage at which a look returns that some way made impossible.
    pub lost: Option<u32>,
}

impl<'a, M: Model, B: Bits> Search<'a, M, B> {
    /// Stands at the beginning and wants to pass all returns.
    pub fn new(model: &'a M, history: &'a [Operation<M::Op>], timeline: Timeline) -> Self {
        let words = timeline.bits().div_ceil(64) as usize;
        let mut search = Self {
            states: States::new(model, history, &timeline),
            visited: Visited::new(&timeline, words),
            words,
            target: 0,
            thorough: false,
            position: Position::new(&timeline),
            path: Vec::new(),
            longest: Longest::default(),
            lost: None,
            timeline,
        };
        search.restart(search.timeline.returns.len() as u32, false);
        search
    }

    /// Goes back to the beginning, to pass `target` returns or else as many as can be.
    ///
    /// Without `thorough`, a way is left when it has lost a look that returns before the target, so how far it would have come is
    /// not known. With it, such a way is left only when the longest order so far has come further than the return of that look. Either
    /// way the longest order is kept from one start to the next.
    pub fn restart(&mut self, target: u32, thorough: bool) {
        self.target = target;
        self.thorough = thorough;
        self.visited.clear();
        self.path.clear();
        self.lost = None;
        self.position = Position::new(&self.timeline);
        self.longest.forget(0);
        let mut open = B::zero(self.words);
        if target > 0 {
            let bounds = self.bounds();
            match self.position.begin(&self.timeline, &mut self.states, bounds, &mut open) {
                Ok(()) => self.enter(0, NONE, open),
                Err(lost) => self.note(lost),
            }
        }
    }

    fn bounds(&self) -> Bounds {
        let hopeless_before = if self.thorough { self.longest.stage + 1 } else { self.target };
        Bounds { target: self.target, hopeless_before }
    }

    /// Wants to pass fewer returns from now on.
    pub fn lower(&mut self, target: u32) {
        self.target = self.target.min(target);
    }

    /// How many returns are to be passed.
    pub const fn target(&self) -> u32 {
        self.target
    }

    /// Keeps the present order if it is the longest, and returns the places of its operations in the history.
    pub fn order(&mut self) -> Vec<usize> {
        self.longest.keep(self.position.stage, &self.position.order);
        self.position.order.iter().map(|&item| self.timeline.items[item as usize].index).collect()
    }

    /// How many configurations and states are kept.
    pub const fn kept(&self) -> usize {
        self.visited.len() + self.states.len()
    }

    /// Searches on, at most so many steps.
    pub fn run(&mut self, steps: u32) -> Stretch {
        for _ in 0..steps {
            if self.position.stage >= self.target {
                return Stretch::Reached;
            }
            if let Some((item, state)) = self.choose() {
                if !self.is_detour(item, state) {
                    self.step(item, state);
                }
                continue;
            }
            self.longest.keep(self.position.stage, &self.position.order);
            self.path.pop();
            let Some(frame) = self.path.last() else { return Stretch::Exhausted };
            let (stage, ordered) = (frame.stage, frame.ordered as usize);
            self.back_to(stage, ordered);
        }
        Stretch::Open
    }

    /// Whether the last thing that took effect is an operation that never returned and that nothing saw, since `item` leaves the same
    /// state without it. Then the way without it is as good.
    fn is_detour(&mut self, item: u32, state: u32) -> bool {
        let [.., before, last] = self.path.as_slice() else { return false };
        let is_unseen = last.ordered == before.ordered + 1 && last.stage == before.stage;
        let Some(&made_by) = self.position.order.last().filter(|_| is_unseen) else { return false };
        let Timeline { items, .. } = &self.timeline;
        items[made_by as usize].stage == NONE && self.states.step(before.state, items[item as usize].class) == state
    }

    /// Lets an operation take effect that leaves `state`, and goes where that leads if it is worth it.
    fn step(&mut self, item: u32, state: u32) {
        let Some(frame) = self.path.last() else { unreachable!("an operation was chosen, so there is a place to stand") };
        let (from, ordered) = (frame.stage, frame.ordered as usize);
        let replaces = (frame.state != state).then_some(frame.made_by);
        let made_by = if replaces.is_some() { item } else { frame.made_by };
        let mut open = frame.open.clone();
        let bounds = self.bounds();
        let applied = self.position.apply((&self.timeline, &mut self.states), (item, state, replaces), bounds, &mut open);
        let reached = self.position.stage;
        match applied {
            Ok(()) if reached >= self.target || self.visited.insert((reached, state), &open) => self.enter(state, made_by, open),
            Ok(()) => self.back_to(from, ordered),
            Err(lost) => {
                // What it has passed, it has passed.
                self.longest.keep(reached, &self.position.order);
                self.note(lost);
                self.back_to(from, ordered);
            }
        }
    }

    fn enter(&mut self, state: u32, made_by: u32, open: B) {
        let ordered = self.position.order.len() as u32;
        self.path.push(Frame { stage: self.position.stage, state, open, made_by, ordered, next: Next::Forced });
    }

    fn note(&mut self, lost: Lost) {
        self.lost = self.lost.max(Some(lost.0));
    }

    fn back_to(&mut self, stage: u32, ordered: usize) {
        self.position.back_to(&self.timeline, stage, ordered);
        self.longest.forget(ordered);
    }

    /// The next operation that can take effect where the search stands, and the state it leaves.
    fn choose(&mut self) -> Option<(u32, u32)> {
        let frame = self.path.last_mut()?;
        let forced = self.timeline.returns[frame.stage as usize];
        let forced_bit = self.timeline.items[forced as usize].bit;
        let mut from = match frame.next {
            Next::Forced => {
                frame.next = Next::From(0);
                // A look that could take effect would have.
                if !self.timeline.is_look(forced_bit) {
                    let state = self.states.step(frame.state, self.timeline.items[forced as usize].class);
                    if state != NONE {
                        return Some((forced, state));
                    }
                }
                0
            }
            Next::From(bit) => bit,
        };
        while let Some(bit) = first_from(&frame.open, from) {
            from = bit + 1;
            if bit == forced_bit || self.timeline.is_look(bit) {
                continue;
            }
            let number = self.position.item(bit);
            let item = &self.timeline.items[number as usize];
            if item.after != NONE && is_set(&frame.open, item.after) {
                continue;
            }
            let state = self.states.step(frame.state, item.class);
            if state != NONE {
                frame.next = Next::From(from);
                return Some((number, state));
            }
        }
        frame.next = Next::From(from);
        None
    }
}

/// The best order so far: the one that passes most returns, of these the longest.
#[derive(Default)]
pub struct Longest {
    /// How many returns it passes.
    pub stage: u32,
    /// Its items.
    pub order: Vec<u32>,
    /// How much of it is also the beginning of the present order, so that it need not be copied again.
    shared: usize,
}

impl Longest {
    fn keep(&mut self, stage: u32, order: &[u32]) {
        if (stage, order.len()) > (self.stage, self.order.len()) {
            self.order.truncate(self.shared);
            self.order.extend_from_slice(&order[self.shared..]);
            self.shared = order.len();
            self.stage = stage;
        }
    }

    fn forget(&mut self, ordered: usize) {
        self.shared = self.shared.min(ordered);
    }
}
