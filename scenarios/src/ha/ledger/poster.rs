//! The client that posts an event to all databases at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use dora_harness::{
    history::{Outcome, Recorder},
    workload::InsertClient,
};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::timeout;

/// A database that has not answered by then may have the event or not. Shorter than the limit of the whole, so that the answers of the
/// others are recorded.
const STORE_LIMIT: Duration = Duration::from_millis(1_700);
/// Every so many events the planted defect leaves one out.
const SKIPPED_EVERY: u64 = 10;

/// One database of a poster.
pub struct Store {
    /// Its name.
    pub name: &'static str,
    /// Its client.
    pub client: Box<dyn InsertClient>,
    /// A planted defect: says of some events that they were acknowledged, and does not send them.
    pub skips: bool,
}

impl Store {
    async fn post(&mut self, event: u64) -> Outcome {
        if self.skips && event.is_multiple_of(SKIPPED_EVERY) {
            return Outcome::Ok;
        }
        let limit = STORE_LIMIT.as_secs_f64();
        timeout(STORE_LIMIT, self.client.insert(event))
            .await
            .unwrap_or_else(|_elapsed| Outcome::Unknown(format!("no answer within {limit} s")))
    }
}

/// Posts to all of its databases, and records what each of them answered.
pub struct Poster {
    /// The databases.
    pub stores: Vec<Store>,
    /// The ledger's history, in the form of [`dora_harness::check::Model::Ledger`].
    pub recorder: Arc<Recorder>,
    /// Numbers of processes, shared by all posters: a post that was cut off never ends, so each has a process of its own.
    pub processes: Arc<AtomicU32>,
}

#[async_trait]
impl InsertClient for Poster {
    async fn insert(&mut self, event: u64) -> Outcome {
        let process = self.processes.fetch_add(1, Ordering::Relaxed);
        self.recorder.invoke(process, "post", &json!({ "event": event }));
        let answers = join_all(self.stores.iter_mut().map(|store| async { (store.name, store.post(event).await) })).await;
        let outcome = as_a_whole(&answers);
        let stores: serde_json::Map<String, Value> =
            answers.iter().map(|(name, answer)| ((*name).to_owned(), word(answer).into())).collect();
        self.recorder.complete(process, "post", &json!({ "event": event, "stores": stores }), &outcome);
        outcome
    }
}

const fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "ok",
        Outcome::Fail(_) => "fail",
        Outcome::Unknown(_) => "unknown",
    }
}

/// All acknowledged it, none has it, or nobody can say it of all.
fn as_a_whole(answers: &[(&'static str, Outcome)]) -> Outcome {
    let refused = answers.iter().filter(|(_, answer)| matches!(answer, Outcome::Fail(_))).count();
    if answers.iter().all(|(_, answer)| *answer == Outcome::Ok) {
        return Outcome::Ok;
    }
    let told: Vec<String> = answers
        .iter()
        .filter_map(|(name, answer)| match answer {
            Outcome::Ok => None,
            Outcome::Fail(why) | Outcome::Unknown(why) => Some(format!("{name}: {why}")),
        })
        .collect();
    if refused == answers.len() { Outcome::Fail(told.join("; ")) } else { Outcome::Unknown(told.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_acknowledged_by_all_or_by_nobody_or_it_is_open() {
        let fail = || Outcome::Fail("no".into());
        assert_eq!(as_a_whole(&[("a", Outcome::Ok), ("b", Outcome::Ok)]), Outcome::Ok);
        assert_eq!(as_a_whole(&[("a", fail()), ("b", fail())]), Outcome::Fail("a: no; b: no".into()));
        assert_eq!(as_a_whole(&[("a", Outcome::Ok), ("b", fail())]), Outcome::Unknown("b: no".into()));
        assert_eq!(as_a_whole(&[("a", fail()), ("b", Outcome::Unknown("late".into()))]), Outcome::Unknown("a: no; b: late".into()));
    }
}
