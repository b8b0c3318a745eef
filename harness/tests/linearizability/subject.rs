//! What the property tests ask each model.

use std::fmt::Debug;

use dora_harness::check::linearizability::{
    Counter, CounterOp, Keyed, Lock, LockOp, Model, PerKey, Queue, QueueOp, Register, RegisterOp, Set, SetOp, Taken, Text, TextOp, Together,
};
use proptest::{prelude::*, sample::select};

/// A question with all its answers.
#[derive(Debug, Clone)]
pub struct Ask<Op> {
    /// In each state of the object, at least one of them is right.
    pub answers: Vec<Op>,
    /// The question without an answer.
    pub unanswered: Op,
}

/// A model with small questions about it.
pub trait Subject: Model<Op: Clone + Debug + 'static> {
    /// All questions.
    fn asks() -> Vec<Ask<Self::Op>>;

    /// One of them.
    fn ask() -> impl Strategy<Value = Ask<Self::Op>> {
        select(Self::asks())
    }
}

fn ask<Op: Clone>(answers: impl IntoIterator<Item = Op>, unanswered: Op) -> Ask<Op> {
    Ask { answers: answers.into_iter().collect(), unanswered }
}

fn tell<Op: Clone>(op: Op) -> Ask<Op> {
    Ask { answers: vec![op.clone()], unanswered: op }
}

impl Subject for Register<u8> {
    fn asks() -> Vec<Ask<RegisterOp<u8>>> {
        let set = |from, to, set| RegisterOp::CompareAndSet { from, to, set };
        let mut asks = vec![ask((0..3).map(|value| RegisterOp::Read(Some(value))), RegisterOp::Read(None))];
        asks.extend((0..3).map(|value| tell(RegisterOp::Write(value))));
        for (from, to) in [(0, 1), (1, 2), (2, 0), (1, 1)] {
            asks.push(ask([set(from, to, Some(true)), set(from, to, Some(false))], set(from, to, None)));
        }
        asks
    }
}

impl Subject for Text {
    fn asks() -> Vec<Ask<TextOp>> {
        let texts = ["", "a", "b", "aa", "ab", "ba", "bb", "aab", "aba", "baa", "abb", "bab", "bba"];
        let get = ask(texts.map(|text| TextOp::Get(Some(text.into()))), TextOp::Get(None));
        let changes = ["a", "b"].into_iter().flat_map(|text| [tell(TextOp::Append(text.into())), tell(TextOp::Put(text.into()))]);
        // Gets are as frequent as all changes together.
        [get.clone(), get.clone(), get.clone(), get].into_iter().chain(changes).collect()
    }
}

fn keyed() -> Vec<Ask<Keyed<u8, TextOp>>> {
    let under = |key: u8, op: TextOp| Keyed { key, op };
    let texts = Text::asks();
    (0..2)
        .flat_map(|key| {
            let asks = texts.clone().into_iter();
            asks.map(move |text| ask(text.answers.into_iter().map(|op| under(key, op)), under(key, text.unanswered)))
        })
        .collect()
}

impl Subject for PerKey<u8, Text> {
    fn asks() -> Vec<Ask<Keyed<u8, TextOp>>> {
        keyed()
    }
}

impl Subject for Together<u8, Text> {
    fn asks() -> Vec<Ask<Keyed<u8, TextOp>>> {
        keyed()
    }
}

impl Subject for Set<u8> {
    fn asks() -> Vec<Ask<SetOp<u8>>> {
        let contents = (0..8_u8).map(|bits| SetOp::Read(Some((0..3).filter(|element| bits >> element & 1 == 1).collect())));
        let mut asks = vec![ask(contents, SetOp::Read(None)); 2];
        for element in 0..3 {
            for question in [SetOp::Add, SetOp::Remove, SetOp::Contains] {
                let answers = [Some(true), Some(false)].map(|answer| question(element, answer));
                asks.push(ask(answers, question(element, None)));
            }
            asks.push(tell(SetOp::Add(element, None)));
        }
        asks
    }
}

impl Subject for Queue<u8> {
    fn asks() -> Vec<Ask<QueueOp<u8>>> {
        let elements = (0..3).map(Taken::Element).chain([Taken::Nothing]);
        let mut asks = vec![ask(elements.map(QueueOp::Dequeue), QueueOp::Dequeue(Taken::Unknown)); 3];
        asks.extend((0..3).map(|element| tell(QueueOp::Enqueue(element))));
        asks
    }
}

impl Subject for Counter {
    fn asks() -> Vec<Ask<CounterOp>> {
        let mut asks = vec![ask((-8..=16).map(|value| CounterOp::Read(Some(value))), CounterOp::Read(None))];
        for delta in [1, 2, -1] {
            asks.push(tell(CounterOp::Add(delta)));
            asks.push(ask((-8..=16).map(|value| CounterOp::AddAndGet(delta, Some(value))), CounterOp::AddAndGet(delta, None)));
        }
        asks
    }
}

impl Subject for Lock<u8> {
    fn asks() -> Vec<Ask<LockOp<u8>>> {
        (0..3)
            .flat_map(|client| {
                let acquire = [Some(true), Some(false)].map(|answer| LockOp::Acquire(client, answer));
                let release = [Some(true), Some(false)].map(|answer| LockOp::Release(client, answer));
                [ask(acquire, LockOp::Acquire(client, None)), ask(release, LockOp::Release(client, None))]
            })
            .collect()
    }
}
