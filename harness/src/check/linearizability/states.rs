//! Every state and every step of the model, computed once.
//!
//! A search comes through the same states over and over. Here each is kept once and named by a number, so that
//! configurations are compared by numbers, and the model is asked once for each pair of a state and an operation.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use super::{
    model::{Model, Operation},
    timeline::{NONE, Timeline},
};

/// The states seen so far and the steps between them.
pub struct States<'a, M: Model> {
    model: &'a M,
    history: &'a [Operation<M::Op>],
    classes: Vec<usize>,
    values: Vec<M::State>,
    by_value: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// From a state (upper half) and a class of operations (lower half) to the next state; [`NONE`] where the step is impossible.
    steps: HashMap<u64, u32>,
}

impl<'a, M: Model> States<'a, M> {
    /// Knows the initial state, which is number 0.
    pub fn new(model: &'a M, history: &'a [Operation<M::Op>], timeline: &Timeline) -> Self {
        let mut states = Self {
            model,
            history,
            classes: timeline.classes.clone(),
            values: Vec::new(),
            by_value: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            steps: HashMap::new(),
        };
        states.number(model.initial());
        states
    }

    /// The state after an operation of this class, or [`NONE`].
    pub fn step(&mut self, state: u32, class: u32) -> u32 {
        let key = u64::from(state) << 32 | u64::from(class);
        if let Some(&next) = self.steps.get(&key) {
            return next;
        }
        let op = &self.history[self.classes[class as usize]].op;
        let next = match self.model.step(&self.values[state as usize], op) {
            None => NONE,
            Some(_) if self.model.only_looks(op) => state,
            Some(next) => self.number(next),
        };
        self.steps.insert(key, next);
        next
    }

    /// Whether a change may enable a look (both classes).
    pub fn may_enable(&self, change: u32, look: u32) -> bool {
        let op = |class: u32| &self.history[self.classes[class as usize]].op;
        self.model.may_enable(op(change), op(look))
    }

    /// How many states are kept.
    pub const fn len(&self) -> usize {
        self.values.len()
    }

    fn number(&mut self, state: M::State) -> u32 {
        let Self { values, by_value, hasher, .. } = self;
        let hash = hasher.hash_one(&state);
        if let Some(&known) = by_value.find(hash, |&known| values[known as usize] == state) {
            return known;
        }
        let number = values.len() as u32;
        values.push(state);
        by_value.insert_unique(hash, number, |&known| hasher.hash_one(&values[known as usize]));
        number
    }
}
