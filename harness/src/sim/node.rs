//! A node: what it does with requests, and with what was agreed.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use super::{
    Bug,
    replication::{Message, Outbox, Replica},
    schedule::NODES,
    store::{Cell, Command, Store},
    transaction::{Commit, begin, is_transaction},
};
use crate::{history::Outcome, workload::Completion};

/// After this long, in microseconds, a command is slow to commit.
const SLOW_US: u64 = 12_000;

/// An operation on its way.
#[derive(Debug, Clone)]
pub struct Request {
    pub id: u64,
    pub f: &'static str,
    pub value: Value,
    /// By the clock of the node that the client asked, in microseconds.
    pub stamp: i64,
}

/// What a node does with a request at once.
pub enum Handled {
    /// Answers it.
    Answer(Completion),
    /// Hands it to the leader.
    Forward(usize),
    /// Has read for it, and commits it a little later.
    CommitLater(Commit, u64),
    /// Has put it into the log.
    Proposed(Outbox, Option<Completion>),
}

/// Answers to requests, by their numbers.
pub type Answers = Vec<(u64, Completion)>;

/// One of the nodes.
pub struct Node {
    pub replica: Replica,
    bug: Option<Bug>,
    store: Store,
    applied: usize,
    /// Requests in the log that wait for an answer: at which length of the log, since when, whether they were put there twice.
    waiting: BTreeMap<u64, (usize, u64, bool)>,
    /// What transactions want to write.
    uncommitted: BTreeMap<u64, Vec<(String, Value)>>,
}

impl Node {
    pub fn new(id: usize, first: usize, bug: Option<Bug>, random: &mut ChaCha8Rng) -> Self {
        let quorum = if bug == Some(Bug::SplitBrain) { 1 } else { NODES / 2 + 1 };
        let replica = Replica::new(id, first, quorum, random);
        Self { replica, bug, store: Store::new(bug), applied: 0, waiting: BTreeMap::new(), uncommitted: BTreeMap::new() }
    }

    pub fn crash(&mut self, now: u64, random: &mut ChaCha8Rng) {
        self.replica.crash(now, random);
        self.store = Store::new(self.bug);
        self.applied = 0;
        self.waiting.clear();
        self.uncommitted.clear();
    }

    pub fn request(&mut self, request: &Request, now: u64) -> Handled {
        let Request { id, f, ref value, stamp } = *request;
        let reads_here = matches!(self.bug, Some(Bug::StaleRead | Bug::NonMonotonicRead));
        let is_read = f == "read" || f == "txn" && !is_transaction(f, value);
        if reads_here && is_read {
            return Handled::Answer(Completion::read(self.store.read(value)));
        }
        if !self.replica.is_leader() {
            return match self.replica.leader {
                Some(leader) if f != "probe" => Handled::Forward(leader),
                _ => Handled::Answer(refused("this node does not lead")),
            };
        }
        if is_transaction(f, value) || f == "txn" && self.bug == Some(Bug::DirtyRead) {
            return match begin(f, value, &|key| self.see(key)) {
                Ok(commit) => {
                    self.uncommitted.insert(id, commit.writes.clone());
                    Handled::CommitLater(commit, self.replica.term)
                }
                Err(end) => Handled::Answer(end),
            };
        }
        let outbox = self.propose(id, Command::Direct { f, value: value.clone(), stamp }, now);
        let is_early = self.bug == Some(Bug::LostAcknowledgedWrite) && matches!(f, "add" | "write");
        let answer = is_early.then(|| {
            self.waiting.remove(&id);
            Completion::of(Outcome::Ok)
        });
        Handled::Proposed(outbox, answer)
    }

    /// The end of a transaction that has read in a term.
    pub fn commit(&mut self, id: u64, commit: Commit, term: u64, now: u64) -> Result<Outbox, Completion> {
        if self.replica.is_leader() && self.replica.term == term {
            return Ok(self.propose(id, Command::Commit(commit), now));
        }
        self.uncommitted.remove(&id);
        Err(refused("another node leads by now"))
    }

    pub fn tick(&mut self, now: u64, random: &mut ChaCha8Rng) -> Outbox {
        let mut outbox = Vec::new();
        if self.bug == Some(Bug::DuplicateApply) && self.replica.is_leader() {
            for (id, (length, since, is_twice)) in &mut self.waiting {
                if !*is_twice && *length > self.replica.committed && *since + SLOW_US < now {
                    *is_twice = true;
                    let command = self.replica.log[*length - 1].command.clone();
                    outbox = self.replica.propose(Some(*id), command);
                }
            }
        }
        outbox.extend(self.replica.tick(now, random));
        outbox
    }

    pub fn receive(&mut self, message: Message, now: u64, random: &mut ChaCha8Rng) -> Outbox {
        let was_leader = self.replica.is_leader();
        let outbox = self.replica.receive(message, now, random);
        if was_leader && !self.replica.is_leader() {
            // Whether another leader keeps what is in the log is not known here: clients wait in vain.
            self.waiting.clear();
            self.uncommitted.clear();
        }
        outbox
    }

    /// Applies what has been agreed since; the leader answers.
    pub fn apply(&mut self) -> Answers {
        let mut answers = Vec::new();
        // With a bug, a log that was committed may be replaced: the state follows the log from its beginning.
        if self.applied > self.replica.committed.min(self.replica.log.len()) {
            self.store = Store::new(self.bug);
            self.applied = 0;
        }
        while self.applied < self.replica.committed.min(self.replica.log.len()) {
            let entry = &self.replica.log[self.applied];
            let completion = self.store.apply(&entry.command, self.replica.id, entry.term);
            self.applied += 1;
            if let Some(id) = entry.id {
                self.uncommitted.remove(&id);
                if self.waiting.remove(&id).is_some() {
                    answers.push((id, completion));
                }
            }
        }
        answers
    }

    fn propose(&mut self, id: u64, command: Command, now: u64) -> Outbox {
        self.waiting.insert(id, (self.replica.log.len() + 1, now, false));
        self.replica.propose(Some(id), command)
    }

    fn see(&self, key: &str) -> Cell {
        let mut cell = self.store.get(key);
        if self.bug == Some(Bug::DirtyRead)
            && let Some((_, value)) = self.uncommitted.values().flatten().rfind(|(written, _)| written == key)
        {
            cell.value = value.clone();
        }
        cell
    }
}

fn refused(why: &str) -> Completion {
    Completion::of(Outcome::Fail(why.into()))
}
