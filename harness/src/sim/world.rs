//! A simulation from its beginning to its end.

use rand::RngExt as _;

use super::{
    Bug, Fault,
    client::{Client, Load},
    network::Network,
    node::{Answers, Handled, Node, Request},
    replication::{Message, Outbox},
    schedule::NODES,
    transaction::Commit,
};
use crate::{
    history::{Event, Outcome},
    workload::{Completion, Invocation},
};

/// Time between two ticks of a node, in microseconds.
const TICK_US: u64 = 10_000;
/// A client that has no answer by then does not know, in microseconds.
const LIMIT_US: u64 = 150_000;
/// From the end of an operation to the client's next, in microseconds.
const THINK_US: std::ops::Range<u64> = 1_000..20_000;
/// From a transaction's reads to its end, in microseconds.
const COMMIT_US: std::ops::Range<u64> = 500..6_000;
/// After all faults are healed, before everything is read, in microseconds: some elections.
const SETTLE_US: u64 = 1_000_000;
/// Attempts to read everything, at most.
const LAST_READS_MAX: u32 = 20;

/// What is simulated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// All chance comes from it.
    pub seed: u64,
    /// What is wrong with the store.
    pub bug: Option<Bug>,
    /// Which faults strike.
    pub faults: Vec<Fault>,
    /// How many clients there are.
    pub clients: usize,
    /// How long they work, in simulated milliseconds.
    pub millis: u64,
}

enum Happening {
    Tick(usize),
    Crash(usize),
    Message { from: usize, to: usize, message: Message },
    Request { node: usize, client: usize, request: Request, is_forwarded: bool },
    Commit { node: usize, client: usize, id: u64, commit: Commit, term: u64 },
    Answer { client: usize, id: u64, completion: Completion },
    Work(usize),
}

/// Runs a plan; the same plan is the same history.
pub fn simulate(plan: &Plan, load: Load) -> Vec<Event> {
    let mut world = World::new(plan, load);
    while let Some(happening) = world.network.next() {
        if world.is_over {
            break;
        }
        world.happen(happening);
    }
    world.history
}

struct World<'a> {
    plan: &'a Plan,
    load: Load,
    network: Network<Happening>,
    nodes: Vec<Node>,
    clients: Vec<Client>,
    /// Whose request each is, by number.
    asked_by: Vec<usize>,
    history: Vec<Event>,
    last_reads: u32,
    is_over: bool,
}

impl<'a> World<'a> {
    fn new(plan: &'a Plan, load: Load) -> Self {
        let mut network = Network::new(plan.seed, &plan.faults);
        let first = network.random.random_range(0..NODES);
        let nodes = (0..NODES).map(|id| Node::new(id, first, plan.bug, &mut network.random)).collect();
        for node in 0..NODES {
            network.after(node as u64, Happening::Tick(node));
        }
        for (at, node) in network.crashes() {
            network.after(at, Happening::Crash(node));
        }
        for client in 0..plan.clients {
            let think = network.random.random_range(THINK_US);
            network.after(think, Happening::Work(client));
        }
        let clients = (0..plan.clients).map(Client::new).collect();
        Self { plan, load, network, nodes, clients, asked_by: Vec::new(), history: Vec::new(), last_reads: 0, is_over: plan.clients == 0 }
    }

    fn happen(&mut self, happening: Happening) {
        let node = match &happening {
            Happening::Tick(node)
            | Happening::Request { node, .. }
            | Happening::Commit { node, .. }
            | Happening::Message { to: node, .. } => Some(*node),
            Happening::Crash(_) | Happening::Answer { .. } | Happening::Work(_) => None,
        };
        if let Some(rest) = node.filter(|node| !self.network.is_down(*node)).and_then(|node| self.network.paused_for(node)) {
            return self.network.after(rest, happening);
        }
        let is_down = node.is_some_and(|node| self.network.is_down(node));
        let now = self.network.now();
        match happening {
            Happening::Tick(node) => {
                self.network.after(TICK_US, Happening::Tick(node));
                if !is_down {
                    let outbox = self.nodes[node].tick(now, &mut self.network.random);
                    self.after_step(node, outbox);
                }
            }
            Happening::Crash(node) => self.nodes[node].crash(now, &mut self.network.random),
            Happening::Message { from, to, message } => {
                if !is_down && self.network.is_linked(from, to) {
                    let outbox = self.nodes[to].receive(message, now, &mut self.network.random);
                    self.after_step(to, outbox);
                }
            }
            Happening::Request { client, request, .. } if is_down => {
                let completion = Completion::of(Outcome::Fail("the node refuses connections".into()));
                self.network.send(Happening::Answer { client, id: request.id, completion });
            }
            Happening::Request { node, client, request, is_forwarded } => self.request(node, client, request, is_forwarded),
            Happening::Commit { node, client, id, commit, term } => {
                if !is_down {
                    match self.nodes[node].commit(id, commit, term, now) {
                        Ok(outbox) => self.after_step(node, outbox),
                        Err(completion) => self.network.send(Happening::Answer { client, id, completion }),
                    }
                }
            }
            Happening::Answer { client, id, completion } => {
                let is_last_read = self.last_reads > 0 && completion.outcome == Outcome::Ok;
                if self.clients[client].end(id, completion, self.plan.clients, now, &mut self.history) {
                    self.is_over = is_last_read;
                    let think = self.network.random.random_range(THINK_US);
                    self.network.after(think, Happening::Work(client));
                }
            }
            Happening::Work(client) => self.work(client),
        }
    }

    fn request(&mut self, node: usize, client: usize, mut request: Request, is_forwarded: bool) {
        if !is_forwarded {
            request.stamp = self.network.clock(node);
        }
        match self.nodes[node].request(&request, self.network.now()) {
            Handled::Answer(completion) => self.network.send(Happening::Answer { client, id: request.id, completion }),
            Handled::Forward(leader) if !is_forwarded && self.network.is_linked(node, leader) => {
                self.network.send(Happening::Request { node: leader, client, request, is_forwarded: true });
            }
            Handled::Forward(_) => {
                let completion = Completion::of(Outcome::Fail("no node is known to lead".into()));
                self.network.send(Happening::Answer { client, id: request.id, completion });
            }
            Handled::CommitLater(commit, term) => {
                let delay = self.network.random.random_range(COMMIT_US);
                self.network.after(delay, Happening::Commit { node, client, id: request.id, commit, term });
            }
            Handled::Proposed(outbox, answer) => {
                if let Some(completion) = answer {
                    self.network.send(Happening::Answer { client, id: request.id, completion });
                }
                self.after_step(node, outbox);
            }
        }
    }

    /// Sends what a node has to say, and applies what it knows to be agreed.
    fn after_step(&mut self, node: usize, outbox: Outbox) {
        for (to, message) in outbox {
            if self.network.is_linked(node, to) {
                self.network.send(Happening::Message { from: node, to, message });
            }
        }
        let answers: Answers = self.nodes[node].apply();
        for (id, completion) in answers {
            let client = self.asked_by[id as usize];
            self.network.send(Happening::Answer { client, id, completion });
        }
    }

    /// A client's next operation. When the time is over, only the first client goes on, to read everything.
    fn work(&mut self, client: usize) {
        let (now, end) = (self.network.now(), self.plan.millis * 1_000);
        let invocation = if now < end {
            self.load.generator.next(client)
        } else if client == 0 && self.load.reads_last && self.last_reads < LAST_READS_MAX {
            if now < end + SETTLE_US {
                return self.network.after(end + SETTLE_US - now, Happening::Work(0));
            }
            self.last_reads += 1;
            Invocation { f: "read", value: serde_json::Value::Null }
        } else {
            // What is under way has ended long before.
            self.is_over = now > end + SETTLE_US;
            if client == 0 {
                self.network.after(SETTLE_US, Happening::Work(0));
            }
            return;
        };
        let id = self.asked_by.len() as u64;
        self.asked_by.push(client);
        let lacks_token = self.clients[client].lacks_token(&invocation);
        let (f, value) = self.clients[client].begin(&invocation, self.load.whole, id, now, &mut self.history);
        if lacks_token {
            return self.network.after(0, Happening::Answer { client, id, completion: Completion::of(Outcome::Fail("no token".into())) });
        }
        let roams = self.plan.bug == Some(Bug::NonMonotonicRead) && f == "read";
        let node = if roams { self.network.random.random_range(0..NODES) } else { self.clients[client].node };
        self.network.send(Happening::Request { node, client, request: Request { id, f, value, stamp: 0 }, is_forwarded: false });
        let limit = Completion::of(Outcome::Unknown(format!("no answer within {} ms", LIMIT_US / 1_000)));
        self.network.after(LIMIT_US, Happening::Answer { client, id, completion: limit });
    }
}
