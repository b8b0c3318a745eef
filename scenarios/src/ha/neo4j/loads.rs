//! Loads beside the inserts: causal sessions, monotonic readers, and reads that have to go on.

use std::time::Duration;

use async_trait::async_trait;
use dora_harness::{
    check::{Answer, Checked, Model, judge, longest_gap},
    database::neo4j::{Access, RoutingDriver},
    history::{Operation, Outcome},
    workload::{Causes, Client, Completion, Generator, Invocation, Monotonic, Pace, Rhythm},
};
use serde_json::{Map, Value};

use super::{
    case::Case,
    clients::{Session, driver, statement},
    defect::Defect,
    target::Target,
};
use crate::{ScenarioError, ha::CheckedLoad};

/// Sessions of the causal load; each has two registers.
const SESSIONS: usize = 3;
/// Registers of the monotonic load, each with a writer of its own.
const WRITERS: usize = 1;
/// Its readers.
const READERS: usize = 2;
const PACE: Pace = Pace { rhythm: Rhythm::Closed(Duration::from_millis(200)), limit: Duration::from_secs(2) };
/// A client at a dead server gives up after its own limit, and the others go on meanwhile: reads are interrupted when all are.
const READS_GAP_MAX: Duration = Duration::from_secs(4);

const CAUSAL: &str = "causal";
const MONOTONIC: &str = "monotonic";

/// The registers that loads need: name of the load, how many.
pub const REGISTERS: [(&str, usize); 2] = [(CAUSAL, 2 * SESSIONS), (MONOTONIC, WRITERS)];

/// The loads of a case.
pub fn loads(target: &Target) -> Result<Vec<CheckedLoad>, ScenarioError> {
    let mut loads = vec![
        sessions(target, CAUSAL, SESSIONS, Box::new(Causes::new(SESSIONS)), Model::Causal)?,
        sessions(target, MONOTONIC, WRITERS + READERS, Box::new(Monotonic::new(WRITERS)), Model::MonotonicReads)?,
    ];
    if target.case == Case::ReplicaLost {
        loads.push(readers(target)?);
    }
    Ok(loads)
}

fn sessions(
    target: &Target,
    name: &'static str,
    count: usize,
    generator: Box<dyn Generator>,
    model: Model,
) -> Result<CheckedLoad, ScenarioError> {
    let clients = (0..count)
        .map(|number| Ok(Box::new(Session::new(&target.cluster, number, name, target.defect)?) as Box<dyn Client>))
        .collect::<Result<_, ScenarioError>>()?;
    Ok(CheckedLoad { name, clients, generator, pace: PACE, judge: Box::new(move |operations| judge(model, operations)) })
}

/// Reads without bookmarks, spread by the routing table.
fn readers(target: &Target) -> Result<CheckedLoad, ScenarioError> {
    let clients = (0..READERS)
        .map(|number| {
            let driver = driver(&target.cluster, number, target.defect);
            let driver = if target.defect == Some(Defect::ReplicasOnly) { driver.only(target.replica_sockets()) } else { driver };
            Ok(Box::new(Reader { driver, question: statement("epoch")? }) as Box<dyn Client>)
        })
        .collect::<Result<_, ScenarioError>>()?;
    let generator = Box::new(|_client: usize| Invocation { f: "read", value: Value::Null });
    Ok(CheckedLoad { name: "reads", clients, generator, pace: PACE, judge: Box::new(reads_go_on) })
}

struct Reader {
    driver: RoutingDriver,
    question: &'static str,
}

#[async_trait]
impl Client for Reader {
    async fn invoke(&mut self, _invocation: &Invocation) -> Completion {
        match self.driver.run(Access::Read, self.question, &Map::new()).await {
            Ok(answer) => Completion::read(answer.server.ip().to_string()),
            Err(error) => Completion::of(Outcome::Fail(error.to_string())),
        }
    }
}

/// No time without an answered read that is longer than [`READS_GAP_MAX`].
fn reads_go_on(operations: &[Operation]) -> Checked {
    let ms = |ns: u64| ns as f64 / 1e6;
    let (from, until) = (operations.first().map(|first| ms(first.invoked)), operations.iter().filter_map(|o| o.completed).max().map(ms));
    let answer = match (from, until) {
        (Some(from), Some(until)) => {
            let gap_ms = longest_gap(operations, from, until);
            if gap_ms <= READS_GAP_MAX.as_secs_f64() * 1e3 {
                Answer::Holds
            } else {
                let failed = operations.iter().find_map(|operation| match &operation.outcome {
                    Outcome::Fail(why) | Outcome::Unknown(why) => Some(why.clone()),
                    Outcome::Ok => None,
                });
                Answer::Violated {
                    finding: "reads-interrupted",
                    message: format!("no read was answered for {:.1} s", gap_ms / 1e3),
                    witness: failed.unwrap_or_default(),
                }
            }
        }
        _ => Answer::Unknown("nothing was read".into()),
    };
    Checked { model: "reads-go-on", operations: operations.len() as u64, answer }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(at_s: u64, outcome: Outcome) -> Operation {
        let at = at_s * 1_000_000_000;
        let (value, returned) = (Value::Null, Value::Null);
        Operation { index: at_s, process: 0, f: "read".into(), value, returned, invoked: at, completed: Some(at + 1_000_000), outcome }
    }

    fn refused() -> Outcome {
        Outcome::Fail("the replica is gone".into())
    }

    #[test]
    fn a_stall_of_one_client_is_no_interruption() {
        let history = [read(0, Outcome::Ok), read(1, refused()), read(2, Outcome::Ok), read(5, Outcome::Ok)];
        assert_eq!(reads_go_on(&history).answer, Answer::Holds);
    }

    #[test]
    fn a_long_time_without_an_answer_is_one() {
        let history = [read(0, Outcome::Ok), read(2, refused()), read(4, refused()), read(6, refused())];
        assert!(
            matches!(reads_go_on(&history).answer, Answer::Violated { finding: "reads-interrupted", witness, .. } if witness.contains("gone"))
        );
    }

    #[test]
    fn nothing_read_is_nothing_shown() {
        assert!(matches!(reads_go_on(&[]).answer, Answer::Unknown(_)));
    }
}
