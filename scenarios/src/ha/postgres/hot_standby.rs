//! Standbys that can be read.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use dora_fixtures::assets;
use dora_harness::{
    check::durability,
    database::postgres::{AccessError, PostgresCluster, SERVER_PORT, connect},
    fault::{Firewall, Pause, firewall::Rule, firewall::Verdict, inject},
    history::Recorder,
    patience::{stretched, within},
    topology::Node,
    workload::{Adder, Adds, Client, Pace, Running},
};
use dora_reports::evidence::{Finding, NamedLimit};
use tokio::time::sleep;

use super::{
    super::judge,
    defects::Defects,
    frame::{FRAME, LOAD},
    inserts::inserters,
    line::{CONNECT_LIMIT, was_refused},
    sabotage,
    target::{cluster_of, healthy, run_script, values_on},
};
use crate::{Scenario, ScenarioError, Trial, defect::under_defect};

/// Reads, refuses writes, lags measurably, catches up.
pub const HOT_STANDBY: Scenario = Scenario {
    id: "ha/postgres/hot-standby",
    title: "PostgreSQL: standbys answer reads, refuse writes, and catch up after a pause",
    clauses: &["HA-PG-1"],
    goal: "Every standby can be read while it follows, takes no write, and has everything again soon after it slept.",
    method: &[
        LOAD,
        "each standby is asked over SQL: it has to hold rows that were inserted just before, and to refuse an insert with 25006",
        "its lag is sampled: the age of the newest transaction that it has applied",
        "the asynchronous standby sleeps for some seconds under load; the time from its waking to the last row acknowledged until then is measured",
        "in the end both standbys hold every acknowledged row",
    ],
    does_not_show: &[
        "conflicts between long reads on a standby and the changes that it applies",
        "a standby that was away for longer than the log is kept",
    ],
    sabotages: &[sabotage::STANDBY_WRITABLE, sabotage::STANDBY_NOT_FED],
    run: |trial| Box::pin(watch_standbys(trial)),
    ..FRAME
};

const CLIENTS: usize = 4;
/// What is inserted before the standbys are asked, and while the lag is sampled.
const WARM_UP: Duration = Duration::from_secs(3);
/// How often the lag of each standby is asked.
const SAMPLES: u32 = 12;
const SAMPLE_EVERY: Duration = Duration::from_millis(250);
/// How long the standby sleeps.
const SLEEP: Duration = Duration::from_secs(8);
const CONFIRM_LIMIT: Duration = Duration::from_secs(10);
/// How long beyond the objective is waited, so that a late one is measured.
const BEYOND: Duration = Duration::from_secs(5);

fn failed(what: &'static str) -> impl Fn(String) -> ScenarioError {
    move |reason| ScenarioError::client(what, reason)
}

async fn watch_standbys(trial: &Trial) -> Result<(), ScenarioError> {
    let limit = Duration::from_millis(trial.promise.catch_up_ms_max()?);
    trial.promise_limits(
        format!("every standby answers reads and refuses writes, and has everything within {:.0} s after a pause", limit.as_secs_f64()),
        vec![
            NamedLimit::at_most("catch_up", limit.as_secs_f64() * 1e3, "ms"),
            NamedLimit::at_most("writes_accepted", 0.0, "standbys"),
            NamedLimit::at_most("acknowledged_lost", 0.0, "operations"),
        ],
    );
    let cluster = cluster_of(trial).await?;
    healthy(&cluster).await?;
    run_script(&cluster, "schema/postgres/inserts/prepare.sql").await?;
    let primary = cluster.find_primary().await.map_err(failed("find the primary"))?;
    let sleeper = cluster.standbys(false).await.map_err(failed("find the asynchronous standby"))?.remove(0);
    let defect = StandbyDefect::of(&cluster, &primary, &sleeper);
    let work = Box::pin(under_load(trial, &cluster, &primary, &sleeper, limit));
    under_defect(trial, |id| defect.plant(id), |_id| defect.remove(), work).await
}

async fn under_load(
    trial: &Trial,
    cluster: &Arc<PostgresCluster>,
    primary: &Node,
    sleeper: &Node,
    limit: Duration,
) -> Result<(), ScenarioError> {
    let recorder = trial.recorder()?;
    let adders = inserters(cluster, CLIENTS)?.into_iter().map(|client| Box::new(Adder(client)) as Box<dyn Client>).collect();
    let running = Running::start(adders, Box::new(Adds::default()), Pace::default(), &recorder);
    let outcome = observe(trial, cluster, primary, sleeper, limit, &recorder).await;
    running.stop().await;
    recorder.flush()?;
    outcome?;
    let operations = recorder.operations()?;
    let present = values_on(&cluster.application_login(primary.socket(SERVER_PORT))).await?;
    // A row that a writable standby took is told as such.
    let present: Vec<u64> = present.into_iter().filter(|value| *value != u64::MAX).collect();
    let result = durability(&operations, &present);
    trial.operations(&operations, &result);
    if trial.measure("acknowledged_lost", Some(result.lost.len() as f64), "operations").met == Some(false) {
        trial.find(Finding::violation("acknowledged-writes-lost", format!("{} acknowledged writes are not there", result.lost.len())));
    }
    judge::unexpected(trial, &result);
    Ok(())
}

async fn observe(
    trial: &Trial,
    cluster: &PostgresCluster,
    primary: &Node,
    sleeper: &Node,
    limit: Duration,
    recorder: &Recorder,
) -> Result<(), ScenarioError> {
    sleep(WARM_UP).await;
    let standbys: Vec<&Node> = cluster.servers().iter().filter(|server| server.name() != primary.name()).collect();
    let mut accepted = 0.0;
    for standby in &standbys {
        if accepts_write(cluster, standby).await? {
            accepted += 1.0;
            trial.find(Finding::violation("standby-accepted-write", format!("{} took an insert", standby.name())));
        }
    }
    trial.measure("writes_accepted", Some(accepted), "standbys");
    for standby in &standbys {
        if accepted > 0.0 || !holds_all(trial, cluster, standby, recorder, limit).await? {
            // What is wrong is told; the rest would only wait.
            return Ok(());
        }
    }
    let mut worst: f64 = 0.0;
    for _sample in 0..SAMPLES {
        for standby in &standbys {
            worst = worst.max(lag_ms(cluster, standby).await?);
        }
        sleep(SAMPLE_EVERY).await;
    }
    trial.measure("lag_max", Some(worst), "ms");
    let caught_up = sleep_and_catch_up(trial, cluster, sleeper, recorder, limit).await?;
    trial.measure("catch_up", caught_up, "ms");
    for standby in &standbys {
        holds_all(trial, cluster, standby, recorder, limit).await?;
    }
    Ok(())
}

/// The pause; how long the standby took after it, [`None`] when it did not catch up.
async fn sleep_and_catch_up(
    trial: &Trial,
    cluster: &PostgresCluster,
    sleeper: &Node,
    recorder: &Recorder,
    limit: Duration,
) -> Result<Option<f64>, ScenarioError> {
    let fault = Pause::new(sleeper.clone(), "asynchronous standby", SERVER_PORT);
    let confirmed = match inject(fault, trial.origin()).await?.confirm(CONFIRM_LIMIT).await {
        Ok(confirmed) => confirmed,
        Err(unconfirmed) => {
            trial.fault(&unconfirmed.heal().await?.confirm(CONFIRM_LIMIT).await);
            trial.find(Finding::unconfirmed("fault-unconfirmed", format!("no probe saw {} sleep", sleeper.name())));
            return Ok(None);
        }
    };
    trial.note("fault", format!("{} sleeps", sleeper.name()));
    sleep(SLEEP).await;
    let woken_ms = trial.now_ms();
    let healed = confirmed.heal().await?;
    let record = healed.confirm(CONFIRM_LIMIT).await;
    trial.fault(&record);
    holds_all(trial, cluster, sleeper, recorder, limit).await.map(|held| held.then(|| trial.now_ms() - woken_ms))
}

/// Waits until a standby holds everything that is acknowledged now; otherwise that is a finding.
async fn holds_all(
    trial: &Trial,
    cluster: &PostgresCluster,
    standby: &Node,
    recorder: &Recorder,
    limit: Duration,
) -> Result<bool, ScenarioError> {
    let operations = recorder.operations()?;
    let acknowledged: BTreeSet<u64> =
        operations.iter().filter(|operation| operation.is_ok()).filter_map(dora_harness::history::Operation::number).collect();
    if acknowledged.is_empty() {
        trial.find(Finding::unconfirmed("no-load", "no insert was acknowledged, so there is nothing to hold"));
        return Ok(false);
    }
    let login = cluster.application_login(standby.socket(SERVER_PORT));
    let whole = within("every acknowledged row", stretched(limit + BEYOND), Duration::from_millis(100), || async {
        let held: BTreeSet<u64> = values_on(&login).await.map_err(|error| error.to_string())?.into_iter().collect();
        let missing = acknowledged.difference(&held).count();
        if missing == 0 { Ok(()) } else { Err(format!("{missing} of {} acknowledged rows are missing", acknowledged.len())) }
    });
    match whole.await {
        Ok(()) => Ok(true),
        Err(deadline) => {
            trial.find(Finding::violation("standby-behind", format!("{}: {}", standby.name(), deadline.last)));
            Ok(false)
        }
    }
}

async fn accepts_write(cluster: &PostgresCluster, standby: &Node) -> Result<bool, ScenarioError> {
    let error = |error: AccessError| ScenarioError::client(format!("try a write on {}", standby.name()), error);
    let statement = assets::text("schema/postgres/standby/attempt.sql")?;
    let mut connection = connect(&cluster.application_login(standby.socket(SERVER_PORT)), CONNECT_LIMIT).await.map_err(error)?;
    match sqlx::query(statement).execute(&mut connection).await {
        Ok(_taken) => Ok(true),
        Err(refusal) if was_refused(&refusal) => Ok(false),
        Err(other) => Err(error(other.into())),
    }
}

async fn lag_ms(cluster: &PostgresCluster, standby: &Node) -> Result<f64, ScenarioError> {
    let question = assets::text("schema/postgres/standby/lag.sql")?;
    let ask = async {
        let mut connection = connect(&cluster.application_login(standby.socket(SERVER_PORT)), CONNECT_LIMIT).await?;
        Ok::<f64, AccessError>(sqlx::query_scalar(question).fetch_one(&mut connection).await?)
    };
    ask.await.map_err(|error| ScenarioError::client(format!("ask {} for its lag", standby.name()), error))
}

/// This scenario's own defects, which concern one standby.
struct StandbyDefect<'a> {
    cluster: &'a Arc<PostgresCluster>,
    standby: &'a Node,
    /// Between the primary and this standby.
    cut: Firewall,
}

impl<'a> StandbyDefect<'a> {
    fn of(cluster: &'a Arc<PostgresCluster>, primary: &Node, standby: &'a Node) -> Self {
        let rules = || vec![Rule::peer(primary.address(), Verdict::Drop)];
        Self { cluster, standby, cut: Firewall::with(rules(), rules()) }
    }

    async fn plant(&self, id: &str) -> Result<(), ScenarioError> {
        if id == sabotage::STANDBY_NOT_FED.id {
            self.cut.put(self.standby).await?;
        }
        if id == sabotage::STANDBY_WRITABLE.id {
            self.cluster.freeze_patroni(self.standby, true).await?;
            self.cluster.promote_past_patroni(self.standby).await.map_err(failed("promote a standby"))?;
        }
        Ok(())
    }

    /// Also what is planted by half, or not at all.
    async fn remove(&self) -> Result<(), ScenarioError> {
        self.cut.remove(self.standby).await?;
        // Defects of the whole cluster are none of this scenario's, but the way back to health is the same; frozen Patronis go on in it.
        Defects::new(Arc::clone(self.cluster)).remove().await?;
        healthy(self.cluster).await
    }
}
