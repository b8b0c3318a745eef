//! A text that is got, put and appended to: one entry of a key-value store.

use std::sync::Arc;

use super::{
    Model,
    digest::{self, Digested},
};

/// One entry, empty at first; with [`PerKey`](super::combine::PerKey) a key-value store.
#[derive(Debug, Clone, Copy, Default)]
pub struct Text;

/// An operation on an entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TextOp {
    /// What was found, the empty text where there is no entry; `None`: it was not answered.
    Get(Option<String>),
    /// Replaces the text.
    Put(String),
    /// Adds to its end.
    Append(String),
}

impl Text {
    fn hold(text: &str) -> Digested<Arc<str>> {
        Digested { digest: digest::of(&text), value: text.into() }
    }
}

impl Model for Text {
    type Op = TextOp;
    type State = Digested<Arc<str>>;
    type Key = ();

    fn initial(&self) -> Self::State {
        Self::hold("")
    }

    fn step(&self, state: &Self::State, op: &TextOp) -> Option<Self::State> {
        match op {
            TextOp::Get(found) => found.as_deref().is_none_or(|found| found == &*state.value).then(|| state.clone()),
            TextOp::Put(text) => Some(Self::hold(text)),
            TextOp::Append(text) => Some(Self::hold(&[&*state.value, text].concat())),
        }
    }

    fn only_looks(&self, op: &TextOp) -> bool {
        match op {
            TextOp::Get(_) => true,
            TextOp::Append(text) => text.is_empty(),
            TextOp::Put(_) => false,
        }
    }

    const KNOWS_CAUSES: bool = true;

    fn may_enable(&self, change: &TextOp, look: &TextOp) -> bool {
        match (change, look) {
            (TextOp::Put(text), TextOp::Get(Some(found))) => text == found,
            (TextOp::Append(text), TextOp::Get(Some(found))) => found.ends_with(text),
            // All else is possible in every state.
            _ => false,
        }
    }

    fn key(&self, _: &TextOp) {}
}
