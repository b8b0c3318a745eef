//! A client at each node that never moves: what does an old master acknowledge that nobody will keep?

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use dora_harness::{
    check::{Answer, Checked},
    database::redis::{Access, Account, PORT, Replicated, ask},
    fault::Fault,
    history::{Operation, Outcome},
    topology::Node,
    workload::{Client, Completion, Invocation, Pace, Rhythm},
};
use dora_reports::evidence::Finding;
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};

use super::{master::outcome_of, noted::Noted};
use crate::{Trial, ha::CheckedLoad};

/// The list that all of them append to.
pub const LIST: &str = "app:ha:each-node";
/// An isolated or paused master that takes writes for longer than its guard allows.
pub const OLD_MASTER_ACKNOWLEDGES: &str = "old-master-acknowledges";
/// More of what an old master acknowledged is gone than its guard allows.
pub const OLD_MASTER_LOSS: &str = "old-master-loss";
/// Time from one write at a node to the next.
const EVERY: Duration = Duration::from_millis(100);
const LIMIT: Duration = Duration::from_millis(1500);

/// What is expected of the master that was struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// It takes no write later than this after the strike.
    Ceases(Duration),
    /// It goes on after another was promoted: the hazard that this case is there to show.
    GoesOn,
    /// Neither; what it does is measured.
    Anything,
}

/// The watch over what each node acknowledges.
#[derive(Clone)]
pub struct EachNode {
    expected: Expected,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    /// Who was struck, and when (nanoseconds).
    struck: Option<(String, u64)>,
    operations: Vec<Operation>,
}

/// What a struck master acknowledged.
#[derive(Debug, Default, PartialEq)]
struct OldMaster {
    /// The values, from the strike on.
    values: Vec<u64>,
    /// When it acknowledged the last one, in milliseconds from the strike.
    last_ms: f64,
    /// When another node first acknowledged a write, in milliseconds from the strike.
    promoted_ms: Option<f64>,
    /// How many of its writes began after that.
    after_promotion: usize,
}

impl EachNode {
    /// A watch with this expectation.
    pub fn expecting(expected: Expected) -> Self {
        Self { expected, shared: Arc::default() }
    }

    /// The load: one client a node.
    pub fn load(&self, set: &Replicated) -> CheckedLoad {
        let names: Vec<String> = set.servers().iter().map(|node| node.name().to_owned()).collect();
        let mut next = 0_u64;
        let generator = move |client: usize| {
            next += 1;
            Invocation { f: "write", value: json!([names[client], next]) }
        };
        let pinned = |node: &Node| {
            Box::new(Pinned { access: set.access().clone(), address: node.socket(PORT), connection: None }) as Box<dyn Client>
        };
        let (shared, expected) = (Arc::clone(&self.shared), self.expected);
        CheckedLoad {
            name: "each-node",
            clients: set.servers().iter().map(pinned).collect(),
            generator: Box::new(generator),
            pace: Pace { rhythm: Rhythm::Closed(EVERY), limit: LIMIT },
            judge: Box::new(move |operations| {
                let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
                shared.operations = operations.to_vec();
                let answer = shared
                    .old_master()
                    .map_or_else(|| Answer::Unknown("nobody was struck".into()), |(name, old)| decide(&name, &old, expected));
                Checked { model: "old-master", operations: operations.len() as u64, answer }
            }),
        }
    }

    /// Notes who is master when the fault is about to hit.
    pub fn strikes(&self, trial: &Trial, node: &Node) {
        self.lock().struck = Some((node.name().to_owned(), (trial.now_ms() * 1e6) as u64));
    }

    /// The fault as it is to be injected: with the moment noted in which it is there, from which on everything is counted.
    pub fn noting(&self, trial: &Trial, fault: Box<dyn Fault>) -> Box<dyn Fault> {
        let (shared, origin) = (Arc::clone(&self.shared), trial.origin());
        Box::new(Noted::new(fault, move || {
            if let Some((_, since)) = &mut shared.lock().unwrap_or_else(PoisonError::into_inner).struck {
                *since = u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
            }
        }))
    }

    /// Who was master when the fault was about to hit.
    pub fn struck(&self) -> Option<String> {
        self.lock().struck.as_ref().map(|(name, _)| name.clone())
    }

    /// After the load: what the old master acknowledged and what of it is gone. `present`: the list as the new master has it.
    pub fn report(&self, trial: &Trial, present: &BTreeSet<u64>, lost_max: Option<u64>) {
        let Some((name, old)) = self.lock().old_master() else { return };
        let lost = old.values.iter().filter(|value| !present.contains(value)).count() as u64;
        trial.measure("old_master_acknowledged", Some(old.values.len() as f64), "operations");
        trial.measure("old_master_last_acknowledged", Some(old.last_ms), "ms");
        trial.measure("promoted_after", old.promoted_ms, "ms");
        trial.measure("old_master_acknowledged_after_promotion", Some(old.after_promotion as f64), "operations");
        trial.measure("old_master_lost", Some(lost as f64), "operations");
        if let Some(most) = lost_max.filter(|most| lost > *most) {
            let message = format!("{lost} writes that {name} acknowledged after it was struck are gone; {most} are allowed");
            trial.find(Finding::violation(OLD_MASTER_LOSS, message));
        } else if lost > 0 {
            let message = format!(
                "a client that stayed with {name} lost {lost} acknowledged writes, {} of them begun after another master had been promoted",
                old.after_promotion
            );
            trial.find(Finding::note("old-master-loss-measured", message));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn old_master(&self) -> Option<(String, OldMaster)> {
        let (name, since) = self.struck.as_ref()?;
        Some((name.clone(), old_master(&self.operations, name, *since)))
    }
}

fn old_master(operations: &[Operation], struck: &str, since: u64) -> OldMaster {
    let ms = |at: u64| at.saturating_sub(since) as f64 / 1e6;
    let acknowledged = || operations.iter().filter(|operation| operation.is_ok() && operation.completed.is_some_and(|at| at >= since));
    let promoted = acknowledged().filter(|operation| node_of(operation) != Some(struck)).filter_map(|operation| operation.completed).min();
    let mut old = OldMaster { promoted_ms: promoted.map(ms), ..OldMaster::default() };
    for operation in acknowledged().filter(|operation| node_of(operation) == Some(struck)) {
        old.values.extend(operation.value.get(1).and_then(Value::as_u64));
        old.last_ms = old.last_ms.max(ms(operation.completed.unwrap_or(since)));
        old.after_promotion += usize::from(promoted.is_some_and(|promoted| operation.invoked > promoted));
    }
    old
}

fn node_of(operation: &Operation) -> Option<&str> {
    operation.value.get(0)?.as_str()
}

fn decide(name: &str, old: &OldMaster, expected: Expected) -> Answer {
    match expected {
        Expected::Ceases(within) if old.last_ms > within.as_secs_f64() * 1e3 => Answer::Violated {
            finding: OLD_MASTER_ACKNOWLEDGES,
            message: format!(
                "{name} acknowledged a write {:.1} s after it was struck, later than {:.0} s",
                old.last_ms / 1e3,
                within.as_secs_f64()
            ),
            witness: format!("its last acknowledged value is {:?}", old.values.last()),
        },
        // That it ceased within its time is shown by what it took until then: one that took nothing was not reached, or not yet guarded.
        Expected::Ceases(_) if old.values.is_empty() => Answer::Unknown(format!(
            "{name} acknowledged nothing after it was struck, so its guard was not put to the test; repeat it on a quieter machine"
        )),
        Expected::GoesOn if old.after_promotion == 0 => {
            Answer::Unknown(format!("{name} took no write after another master was promoted, so the hazard was not there to be measured"))
        }
        _ => Answer::Holds,
    }
}

/// A client that knows one address.
struct Pinned {
    access: Access,
    address: SocketAddr,
    connection: Option<MultiplexedConnection>,
}

#[async_trait]
impl Client for Pinned {
    async fn invoke(&mut self, invocation: &Invocation) -> Completion {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => match self.access.connect(self.address, Account::App).await {
                Ok(connection) => connection,
                Err(error) => return Completion::of(Outcome::Fail(error.to_string())),
            },
        };
        let value = invocation.value.get(1).map(ToString::to_string).unwrap_or_default();
        match ask::<u64>(&mut connection, &["RPUSH", LIST, &value]).await {
            Ok(_length) => {
                self.connection = Some(connection);
                Completion::of(Outcome::Ok)
            }
            Err(error) => {
                let outcome = outcome_of(&error);
                // A node that declines is asked again over the same connection.
                self.connection = matches!(outcome, Outcome::Fail(_)).then_some(connection);
                Completion::of(outcome)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(node: &str, value: u64, at_ms: u64, outcome: Outcome) -> Operation {
        let (invoked, value) = (at_ms * 1_000_000, json!([node, value]));
        Operation {
            index: invoked,
            process: 0,
            f: "write".into(),
            value: value.clone(),
            returned: value,
            invoked,
            completed: Some(invoked + 1_000_000),
            outcome,
        }
    }

    /// `a` is struck at 1 s and takes writes until 4 s; `b` takes writes from 3 s on.
    fn history() -> Vec<Operation> {
        let mut operations: Vec<Operation> = (0..40).map(|n| write("a", n, n * 100, Outcome::Ok)).collect();
        operations.push(write("b", 90, 2_000, Outcome::Fail("READONLY".into())));
        operations.extend((0..20).map(|n| write("b", 100 + n, 3_000 + n * 100, Outcome::Ok)));
        operations
    }

    #[test]
    fn what_an_old_master_took_after_the_promotion_is_told() {
        let old = old_master(&history(), "a", 1_000_000_000);
        assert_eq!(old.values, (10..40).collect::<Vec<_>>());
        assert_eq!((old.last_ms, old.promoted_ms, old.after_promotion), (2_901.0, Some(2_001.0), 9));
    }

    #[test]
    fn each_expectation_can_fail() {
        let old = old_master(&history(), "a", 1_000_000_000);
        assert!(matches!(
            decide("a", &old, Expected::Ceases(Duration::from_secs(2))),
            Answer::Violated { finding: OLD_MASTER_ACKNOWLEDGES, .. }
        ));
        assert_eq!(decide("a", &old, Expected::Ceases(Duration::from_secs(3))), Answer::Holds);
        assert_eq!(decide("a", &old, Expected::GoesOn), Answer::Holds);
        assert!(matches!(decide("a", &OldMaster::default(), Expected::GoesOn), Answer::Unknown(_)));
        assert!(matches!(decide("a", &OldMaster::default(), Expected::Ceases(Duration::from_secs(3))), Answer::Unknown(_)));
        assert_eq!(decide("a", &OldMaster::default(), Expected::Anything), Answer::Holds);
    }
}
