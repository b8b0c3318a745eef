//! Everything that runs while a cluster is struck: the inserts, further loads, and the watch over who is writable.

use std::time::Duration;

use dora_harness::{
    history::{Operation, Recorder},
    patience::within,
    workload::{Adder, Adds, Client, Invocation, Pace, Rhythm, Running},
};
use futures_util::future::join_all;
use serde_json::json;

use super::{HaTarget, target::Judge};
use crate::{ScenarioError, Trial};

/// Clients that insert side by side.
pub const CLIENTS: usize = 4;
/// Time from one insert of a client to its next, where the target does not say otherwise: forty a second together show a gap of a tenth of a
/// second, and leave two cores room for scenarios side by side.
pub const INSERT_EVERY: Duration = Duration::from_millis(100);
/// An insert without an answer by then is unknown.
const INSERT_LIMIT: Duration = Duration::from_secs(2);
/// How often each node is asked whether it is writable.
const PROBE_EVERY: Duration = Duration::from_millis(200);
/// A node that does not answer by then is not known to be writable.
const PROBE_LIMIT: Duration = Duration::from_secs(1);

/// How many inserts the load offers within a time: where replication is asynchronous, the most that a loss of that window can take away.
pub const fn inserts_within(window_ms: u64) -> u64 {
    CLIENTS as u64 * window_ms.div_ceil(INSERT_EVERY.as_millis() as u64)
}

/// All loads of a trial while they run.
pub struct Loads {
    inserts: Recorder,
    running: Vec<Running>,
    checked: Vec<Recorded>,
    watch: Option<(Recorder, String)>,
}

/// All loads of a trial after they ended.
pub struct Stopped {
    inserts: Recorder,
    /// The further loads.
    pub checked: Vec<Recorded>,
    /// Who was writable when; and the history's file.
    pub watch: Option<(Recorder, String)>,
}

/// A further load's history.
pub struct Recorded {
    /// The load's name.
    pub name: &'static str,
    /// Its file in the bundle.
    pub file: String,
    /// The history.
    pub recorder: Recorder,
    /// What decides it.
    pub judge: Judge,
}

impl Loads {
    /// Starts them.
    pub async fn start(trial: &Trial, target: &dyn HaTarget) -> Result<Self, ScenarioError> {
        let inserts = trial.recorder()?;
        let adders = target.clients(CLIENTS).await?.into_iter().map(|client| Box::new(Adder(client)) as Box<dyn Client>).collect();
        let pace = Pace { rhythm: Rhythm::Closed(target.insert_every()), limit: INSERT_LIMIT };
        let mut running = vec![Running::start(adders, Box::new(Adds::default()), pace, &inserts)];
        let mut checked = Vec::new();
        for load in target.loads().await? {
            let (recorder, file) = trial.further_recorder(load.name)?;
            running.push(Running::start(load.clients, load.generator, load.pace, &recorder));
            checked.push(Recorded { name: load.name, file, recorder, judge: load.judge });
        }
        let watch = match target.probers().await? {
            probers if probers.is_empty() => None,
            probers => {
                let (recorder, file) = trial.further_recorder("writable")?;
                let (names, clients): (Vec<String>, Vec<_>) = probers.into_iter().unzip();
                let ask = move |client: usize| Invocation { f: "probe", value: json!([names[client], null]) };
                let pace = Pace { rhythm: Rhythm::Closed(PROBE_EVERY), limit: PROBE_LIMIT };
                running.push(Running::start(clients, Box::new(ask), pace, &recorder));
                Some((recorder, file))
            }
        };
        Ok(Self { inserts, running, checked, watch })
    }

    /// The history of the inserts.
    pub fn inserts(&self) -> &Recorder {
        &self.inserts
    }

    /// Waits until an insert was acknowledged, and until the watch has found a node writable: what saw nothing before the fault has nothing
    /// to compare with. That it did not within `limit` is told by the histories.
    pub async fn are_served(&self, limit: Duration) {
        let recorders = || [Some(&self.inserts), self.watch.as_ref().map(|(recorder, _)| recorder)].into_iter().flatten();
        let _ = within("service before the fault", limit, PROBE_EVERY, || async {
            for recorder in recorders() {
                let operations = recorder.operations().map_err(|error| error.to_string())?;
                if !operations.iter().any(Operation::is_ok) {
                    return Err("nothing was answered yet".to_owned());
                }
            }
            Ok(())
        })
        .await;
    }

    /// Ends them all; what is under way may finish, and what a load does last is done.
    pub async fn stop(self) -> Result<Stopped, ScenarioError> {
        join_all(self.running.into_iter().map(Running::stop)).await;
        self.inserts.flush()?;
        for recorder in self.checked.iter().map(|load| &load.recorder).chain(self.watch.iter().map(|(recorder, _)| recorder)) {
            recorder.flush()?;
        }
        Ok(Stopped { inserts: self.inserts, checked: self.checked, watch: self.watch })
    }
}

impl Stopped {
    /// The history of the inserts.
    pub fn inserts(&self) -> &Recorder {
        &self.inserts
    }
}
