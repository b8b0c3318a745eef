//! A log that a majority agrees on.

use std::collections::BTreeSet;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::{schedule::NODES, store::Command};

/// A node that hears of no leader for this long, in microseconds, asks to become one.
const ELECTION_US: std::ops::Range<u64> = 80_000..160_000;

/// One entry of the log.
#[derive(Debug, Clone)]
pub struct Entry {
    pub term: u64,
    /// The request that it carries out.
    pub id: Option<u64>,
    pub command: Command,
}

/// What nodes tell each other. Each message has its sender's term.
#[derive(Debug, Clone)]
pub enum Message {
    /// Asks for a vote; says how far the log goes.
    Canvass {
        term: u64,
        candidate: usize,
        last_term: u64,
        length: usize,
    },
    Vote {
        term: u64,
        from: usize,
        is_granted: bool,
    },
    /// Entries after the first `previous` ones, or none: a sign of life.
    Append {
        term: u64,
        leader: usize,
        previous: usize,
        previous_term: u64,
        entries: Vec<Entry>,
        committed: usize,
    },
    /// How far the sender's log agrees with the leader's, if it does.
    Appended {
        term: u64,
        from: usize,
        matched: Option<usize>,
    },
}

#[derive(Debug)]
enum Role {
    Follower,
    Candidate(BTreeSet<usize>),
    /// How far each node's log is known to agree.
    Leader([usize; NODES]),
}

/// Messages and whom they are for.
pub type Outbox = Vec<(usize, Message)>;

/// A node's part in the agreement.
#[derive(Debug)]
pub struct Replica {
    pub id: usize,
    /// How many nodes must agree: the majority, or fewer with a bug.
    quorum: usize,
    pub term: u64,
    voted_for: Option<usize>,
    pub log: Vec<Entry>,
    pub committed: usize,
    role: Role,
    pub leader: Option<usize>,
    election_at: u64,
}

impl Replica {
    /// The node `first` leads from the start, so that nothing happens before faults do.
    pub fn new(id: usize, first: usize, quorum: usize, random: &mut ChaCha8Rng) -> Self {
        let role = if id == first { Role::Leader([0; NODES]) } else { Role::Follower };
        let log = if id == first { vec![Entry { term: 1, id: None, command: Command::Begin }] } else { Vec::new() };
        let election_at = random.random_range(ELECTION_US);
        Self { id, quorum, term: 1, voted_for: Some(first), log, committed: 0, role, leader: Some(first), election_at }
    }

    pub fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    /// Forgets what is not on disk: all but term, vote and log.
    pub fn crash(&mut self, now: u64, random: &mut ChaCha8Rng) {
        self.role = Role::Follower;
        self.leader = None;
        self.committed = 0;
        self.election_at = now + random.random_range(ELECTION_US);
    }

    /// Time goes on: a leader gives a sign of life, others may want to become one.
    pub fn tick(&mut self, now: u64, random: &mut ChaCha8Rng) -> Outbox {
        if self.is_leader() {
            return self.broadcast();
        }
        if now < self.election_at {
            return Vec::new();
        }
        self.term += 1;
        self.voted_for = Some(self.id);
        self.leader = None;
        self.role = Role::Candidate(BTreeSet::from([self.id]));
        self.election_at = now + random.random_range(ELECTION_US);
        if self.quorum == 1 {
            return self.lead();
        }
        let (last_term, length) = (self.last_term(), self.log.len());
        self.to_others(|_| Message::Canvass { term: self.term, candidate: self.id, last_term, length })
    }

    /// Appends an entry as leader and tells the others.
    pub fn propose(&mut self, id: Option<u64>, command: Command) -> Outbox {
        self.log.push(Entry { term: self.term, id, command });
        self.agree(self.id, self.log.len());
        self.broadcast()
    }

    /// Answers a message.
    pub fn receive(&mut self, message: Message, now: u64, random: &mut ChaCha8Rng) -> Outbox {
        let (Message::Canvass { term, .. } | Message::Vote { term, .. } | Message::Append { term, .. } | Message::Appended { term, .. }) =
            message;
        if term > self.term {
            self.term = term;
            self.voted_for = None;
            self.role = Role::Follower;
            self.leader = None;
        }
        match message {
            Message::Canvass { term, candidate, last_term, length } => {
                let is_current = (last_term, length) >= (self.last_term(), self.log.len());
                let is_granted = term == self.term && is_current && self.voted_for.is_none_or(|node| node == candidate);
                if is_granted {
                    self.voted_for = Some(candidate);
                    self.election_at = now + random.random_range(ELECTION_US);
                }
                vec![(candidate, Message::Vote { term: self.term, from: self.id, is_granted })]
            }
            Message::Vote { term, from, is_granted } => {
                let Role::Candidate(votes) = &mut self.role else { return Vec::new() };
                if is_granted && term == self.term {
                    votes.insert(from);
                }
                if votes.len() >= self.quorum { self.lead() } else { Vec::new() }
            }
            Message::Append { term, leader, previous, previous_term, entries, committed } => {
                if term == self.term {
                    self.role = Role::Follower;
                    self.leader = Some(leader);
                    self.election_at = now + random.random_range(ELECTION_US);
                }
                let agrees = term == self.term && previous <= self.log.len() && self.term_at(previous) == previous_term;
                let matched = agrees.then(|| self.accept(previous, entries, committed));
                vec![(leader, Message::Appended { term: self.term, from: self.id, matched })]
            }
            Message::Appended { term, from, matched } => {
                if term < self.term {
                    return Vec::new();
                }
                match matched {
                    Some(matched) => self.agree(from, matched),
                    // From the beginning: logs are short.
                    None => return self.append_from(from, 0).into_iter().collect(),
                }
                Vec::new()
            }
        }
    }

    fn last_term(&self) -> u64 {
        self.term_at(self.log.len())
    }

    fn term_at(&self, length: usize) -> u64 {
        length.checked_sub(1).and_then(|at| self.log.get(at)).map_or(0, |entry| entry.term)
    }

    fn to_others(&self, message: impl Fn(usize) -> Message) -> Outbox {
        (0..NODES).filter(|node| *node != self.id).map(|node| (node, message(node))).collect()
    }

    fn lead(&mut self) -> Outbox {
        self.role = Role::Leader([0; NODES]);
        self.leader = Some(self.id);
        // What earlier leaders left is only known to be committed when an entry of this term is.
        self.propose(None, Command::Begin)
    }

    fn broadcast(&self) -> Outbox {
        let Role::Leader(matched) = &self.role else { return Vec::new() };
        (0..NODES).filter(|node| *node != self.id).filter_map(|node| self.append_from(node, matched[node])).collect()
    }

    fn append_from(&self, node: usize, previous: usize) -> Option<(usize, Message)> {
        if !self.is_leader() {
            return None;
        }
        let previous = previous.min(self.log.len());
        let (previous_term, entries) = (self.term_at(previous), self.log[previous..].to_vec());
        Some((node, Message::Append { term: self.term, leader: self.id, previous, previous_term, entries, committed: self.committed }))
    }

    /// Takes over a leader's entries; answers how far the logs agree.
    fn accept(&mut self, previous: usize, entries: Vec<Entry>, committed: usize) -> usize {
        let agreed = previous + entries.len();
        for (at, entry) in (previous..).zip(entries) {
            // An entry that is there already stays, and what follows it: an old message may say less than the log.
            if self.log.get(at).is_none_or(|present| present.term != entry.term) {
                self.log.truncate(at);
                self.log.push(entry);
            }
        }
        self.committed = self.committed.max(committed.min(agreed));
        agreed
    }

    fn agree(&mut self, node: usize, length: usize) {
        let (quorum, term) = (self.quorum, self.term);
        let Role::Leader(matched) = &mut self.role else { return };
        matched[node] = matched[node].max(length);
        let mut lengths = *matched;
        lengths.sort_unstable();
        let agreed = lengths[NODES - quorum];
        if agreed > self.committed && self.term_at(agreed) == term {
            self.committed = agreed;
        }
    }
}
