//! The cluster as the driver of outages sees it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use dora_fixtures::assets;
use dora_harness::{
    database::{
        Cluster as _,
        postgres::{AccessError, Login, PostgresCluster, SERVER_PORT, connect},
    },
    patience::within,
    platform::all_healthy,
    topology::Node,
    workload::InsertClient,
};
use dora_reports::evidence::Finding;
use futures_util::future::try_join_all;
use tokio::time::timeout;

use super::{
    super::{CheckedLoad, Course, HaTarget, NodeProber, Service, Strike, lacking, outage},
    case::Case,
    crowd,
    cut::Cut,
    defects::{Defects, asynchronous},
    failback::Failback,
    inserts::inserters,
    loads::{self, checked_loads},
    probe::probers,
    sabotage, settings,
    transactions::Bracket,
};
use crate::{ScenarioError, Trial};

/// Preparing and reading the set.
const STATEMENT_LIMIT: Duration = Duration::from_secs(20);
/// Connecting for that: nothing is measured by it.
const READ_CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Redundancy before the fault, and after a sabotage was undone.
const HEALTHY_LIMIT: Duration = Duration::from_mins(1);
/// A server that restarts itself as a standby answers again by then.
const STEPPED_DOWN_LIMIT: Duration = Duration::from_secs(10);
/// A follower that streams has everything after this.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(15);
/// For a primary that is about to be killed: without synchronous replication each second more is a second's loss more.
const REACH_LIMIT: Duration = Duration::from_secs(2);
/// For one that steps down meanwhile, and is restarted for it.
const DEMOTED_REACH_LIMIT: Duration = Duration::from_secs(15);

/// How long the standbys hear nothing of a primary before it is killed.
const CUT_OFF_FOR: Duration = Duration::from_secs(3);
/// The same under the sabotage that makes it longer than the loss that is allowed.
const CUT_OFF_LONG: Duration = Duration::from_secs(9);

/// The cluster of the platform.
pub async fn cluster_of(trial: &Trial) -> Result<Arc<PostgresCluster>, ScenarioError> {
    trial.platform().postgres.cluster().await.ok_or_else(|| ScenarioError::Missing("there is no PostgreSQL cluster".to_owned()))
}

/// An outage to carry out.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    case: Case,
    course: Course,
    settings: Option<&'static str>,
    beside: Beside,
}

/// What works beside the inserts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nothing,
    Checked,
    Crowd,
}

impl Plan {
    /// Inserts alone, with the settings that the cluster was started with.
    pub const fn of(case: Case, course: Course) -> Self {
        Self { case, course, settings: None, beside: Beside::Nothing }
    }

    /// With other settings, which are taken back whatever happens.
    pub const fn with_settings(self, settings: &'static str) -> Self {
        Self { settings: Some(settings), ..self }
    }

    /// With the loads whose histories a checker decides.
    pub const fn with_checked_loads(self) -> Self {
        Self { beside: Beside::Checked, ..self }
    }

    /// With more clients than the server has room for.
    pub const fn with_crowd(self) -> Self {
        Self { beside: Beside::Crowd, ..self }
    }

    /// Carries it out.
    pub async fn carry_out(self, trial: &Trial) -> Result<(), ScenarioError> {
        let target = self.target(trial).await?;
        let outcome = outage(trial, &target, self.course).await;
        if self.settings.is_some() {
            settings::restore(&target.cluster).await?;
        }
        outcome
    }

    async fn target(self, trial: &Trial) -> Result<PostgresHa, ScenarioError> {
        let cluster = cluster_of(trial).await?;
        let defects = Defects::new(Arc::clone(&cluster));
        Ok(PostgresHa {
            cluster,
            plan: self,
            defects,
            failback: Failback::default(),
            origin: trial.origin(),
            cut: Mutex::default(),
            crowd_served: crowd::Served::default(),
        })
    }
}

/// The trial's cluster, whose primary will be killed: for a scenario over several databases.
pub async fn primary_killed(trial: &Trial) -> Result<Box<dyn HaTarget>, ScenarioError> {
    Ok(Box::new(Plan::of(Case::PrimaryKilled, Course::returns()).target(trial).await?))
}

/// Waits until every node has its role.
pub async fn healthy(cluster: &PostgresCluster) -> Result<(), ScenarioError> {
    within("every node's role", HEALTHY_LIMIT, Duration::from_millis(250), || async { all_healthy(&cluster.health().await) }).await?;
    Ok(())
}

/// Runs a script of several statements on the primary.
pub async fn run_script(cluster: &PostgresCluster, path: &str) -> Result<(), ScenarioError> {
    let failed = |reason: String| ScenarioError::client(format!("run {path}"), reason);
    // On a busy machine an answer may come too late; what is asked for is preparation, not yet measured.
    let mut connection =
        within("a connection to the primary", HEALTHY_LIMIT, Duration::from_millis(250), || cluster.primary_connection()).await?;
    timeout(STATEMENT_LIMIT, sqlx::raw_sql(assets::text(path)?).execute(&mut connection))
        .await
        .map_err(|_elapsed| failed(AccessError::Deadline(STATEMENT_LIMIT).to_string()))?
        .map_err(|error| failed(error.to_string()))?;
    Ok(())
}

/// The inserted values that a server (or whoever the pooler leads to) holds.
pub async fn values_on(login: &Login) -> Result<Vec<u64>, ScenarioError> {
    let question = assets::text("schema/postgres/inserts/present.sql")?;
    let read = async {
        let mut connection = connect(login, READ_CONNECT_LIMIT).await?;
        Ok::<Vec<i64>, AccessError>(sqlx::query_scalar(question).fetch_all(&mut connection).await?)
    };
    let values = timeout(STATEMENT_LIMIT, read)
        .await
        .map_err(|_elapsed| ScenarioError::client("read the inserted values", AccessError::Deadline(STATEMENT_LIMIT)))?
        .map_err(|error| ScenarioError::client("read the inserted values", error))?;
    // Inserted as non-negative numbers; anything else is reported as a phantom.
    Ok(values.into_iter().map(|value| u64::try_from(value).unwrap_or(u64::MAX)).collect())
}

struct PostgresHa {
    cluster: Arc<PostgresCluster>,
    plan: Plan,
    defects: Defects,
    failback: Failback,
    /// The zero of the trial's times.
    origin: Instant,
    /// What was cut before the fault.
    cut: Mutex<Option<Cut>>,
    crowd_served: crowd::Served,
}

impl PostgresHa {
    /// Without etcd nobody may be primary when the leadership has expired.
    async fn check_stepped_down(&self, trial: &Trial) {
        // A server that is just restarting gives no answer.
        let told = within("an answer of every server", STEPPED_DOWN_LIMIT, Duration::from_millis(500), || async {
            let standing = self.cluster.standing().await;
            let primary = standing.only_primary();
            match &primary {
                Err(roles) if standing.primaries.is_empty() && !standing.silent.is_empty() => Err(roles.clone()),
                _ => Ok((standing, primary)),
            }
        });
        let (standing, primary) = match told.await {
            Ok(told) => told,
            Err(late) => {
                trial.find(Finding::unconfirmed("step-down-not-seen", late.last));
                return;
            }
        };
        match primary {
            Ok(primary) => {
                let message = format!("{} is still primary although its leadership could not be renewed and has expired", primary.name());
                trial.find(Finding::violation("not-stepped-down", message));
            }
            Err(roles) if !standing.primaries.is_empty() => trial.find(Finding::violation("not-stepped-down", roles)),
            Err(roles) => trial.note("role", roles),
        }
    }

    /// Cuts the primary off from its standbys before it is killed.
    async fn cut_off(&self) -> Result<(), ScenarioError> {
        let primary = self.cluster.find_primary().await.map_err(|reason| ScenarioError::client("find the primary", reason))?;
        let lasting = if self.defects.has(&sabotage::CUT_OFF_LONGER) { CUT_OFF_LONG } else { CUT_OFF_FOR };
        let cut = Cut::make(&self.cluster, &primary, lasting, self.origin).await?;
        *self.cut.lock().unwrap_or_else(PoisonError::into_inner) = Some(cut);
        Ok(())
    }

    fn bracket(&self) -> Bracket {
        let planted = [&sabotage::NO_TRANSACTIONS, &sabotage::LISTS_WITHOUT_TRANSACTIONS];
        if planted.into_iter().any(|sabotage| self.defects.has(sabotage)) { Bracket::Nothing } else { Bracket::Transaction }
    }
}

#[async_trait]
impl HaTarget for PostgresHa {
    async fn prepare(&self) -> Result<(), ScenarioError> {
        healthy(&self.cluster).await?;
        for path in ["schema/postgres/inserts/prepare.sql", "schema/postgres/probe/prepare.sql"].into_iter().chain(loads::PREPARED) {
            run_script(&self.cluster, path).await?;
        }
        match self.plan.settings {
            Some(settings::ASYNCHRONOUS) => asynchronous(&self.cluster).await,
            Some(settings) => settings::change(&self.cluster, settings).await,
            None => Ok(()),
        }
    }

    async fn clients(&self, count: usize) -> Result<Vec<Box<dyn InsertClient>>, ScenarioError> {
        inserters(&self.cluster, count)
    }

    async fn loads(&self) -> Result<Vec<CheckedLoad>, ScenarioError> {
        match self.plan.beside {
            Beside::Nothing => Ok(Vec::new()),
            Beside::Checked => checked_loads(&self.cluster, self.bracket()),
            Beside::Crowd => Ok(vec![crowd::load(&self.cluster, &self.crowd_served)?]),
        }
    }

    async fn probers(&self) -> Result<Vec<NodeProber>, ScenarioError> {
        probers(&self.cluster)
    }

    async fn strike(&self) -> Result<Strike, ScenarioError> {
        self.defects.plant_with_fault().await?;
        if self.plan.case == Case::CutOffPrimaryKilled {
            // It may take its time, and the loss that the cut makes possible grows with every second.
            let primary = self.cluster.find_primary().await.map_err(|reason| ScenarioError::client("find the primary", reason))?;
            self.failback.note_rewinds(&primary).await?;
            self.cut_off().await?;
        }
        let strike = self.plan.case.strike(&self.cluster, self.defects.has(&sabotage::ALL_DISKS_LIE)).await?;
        for node in &strike.hit {
            if self.plan.case == Case::CutOffPrimaryKilled {
                self.failback.note_reach(&self.cluster, node, REACH_LIMIT).await;
            } else {
                self.failback.note_rewinds(node).await?;
            }
        }
        Ok(strike)
    }

    async fn has_noticed(&self, hit: &[Node]) -> Result<(), String> {
        self.plan.case.has_noticed(&self.cluster, hit).await
    }

    async fn is_redundant(&self, _hit: &[Node]) -> Result<(), String> {
        if self.cluster.is_synchronous().await? {
            return all_healthy(&self.cluster.health().await);
        }
        // Where nobody is waited for, nobody has to be synchronous.
        let streaming = self.cluster.followers().await?.iter().filter(|follower| follower.streams).count();
        let others = self.cluster.servers().len() - 1;
        if streaming == others { Ok(()) } else { Err(format!("{streaming} of {others} standbys stream")) }
    }

    async fn present(&self) -> Result<Vec<u64>, ScenarioError> {
        let primary = self.cluster.find_primary().await.map_err(|reason| ScenarioError::client("find the primary", reason))?;
        values_on(&self.cluster.application_login(primary.socket(SERVER_PORT))).await
    }

    async fn incomplete(&self, acknowledged: &BTreeSet<u64>) -> Result<Vec<(Node, Vec<u64>)>, ScenarioError> {
        if self.defects.has(&sabotage::UNLOGGED) {
            // No standby answers for an unlogged table.
            return Ok(Vec::new());
        }
        let primary = self.cluster.find_primary().await.map_err(|reason| ScenarioError::client("find the primary", reason))?;
        let held_by = |server: Node| async move {
            let held = values_on(&self.cluster.application_login(server.socket(SERVER_PORT))).await?;
            Ok::<_, ScenarioError>((server, BTreeSet::from_iter(held)))
        };
        // The primary first: what it holds by then has to reach the others.
        let (_, leading) = held_by(primary.clone()).await?;
        let standbys = self.cluster.servers().iter().filter(|server| server.name() != primary.name()).cloned();
        Ok(lacking(acknowledged, &leading, try_join_all(standbys.map(held_by)).await?))
    }

    async fn check_during(&self, trial: &Trial, hit: &[Node]) -> Result<(), ScenarioError> {
        if self.plan.case == Case::PrimaryIsolated {
            for node in hit {
                self.failback.note_reach(&self.cluster, node, DEMOTED_REACH_LIMIT).await;
            }
        }
        if self.plan.case == Case::EtcdMajorityLost && matches!(self.plan.course.service, Service::Ceases(_)) {
            self.check_stepped_down(trial).await;
        }
        match self.plan.beside {
            Beside::Crowd => crowd::count_connections(trial, &self.cluster).await,
            Beside::Nothing | Beside::Checked => Ok(()),
        }
    }

    async fn check_further(&self, trial: &Trial, hit: &[Node]) -> Result<(), ScenarioError> {
        let cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(cut) = cut {
            cut.tell(trial).await;
        }
        if self.plan.beside == Beside::Crowd {
            trial.measure("clients_served", self.crowd_served.get().map(|count| *count as f64), "clients");
        }
        let standing = self.cluster.standing().await;
        let primary = match standing.only_primary() {
            Ok(primary) => primary,
            Err(reason) if !standing.primaries.is_empty() => {
                trial.find(Finding::violation("two-primaries", reason));
                return Ok(());
            }
            Err(reason) => return Err(ScenarioError::client("find the primary", reason)),
        };
        let expected: BTreeSet<u64> = values_on(&self.cluster.application_login(primary.socket(SERVER_PORT))).await?.into_iter().collect();
        let is_server = |node: &&Node| self.cluster.servers().iter().any(|server| server.name() == node.name());
        for victim in hit.iter().filter(is_server) {
            let returned = self.cluster.application_login(victim.socket(SERVER_PORT));
            let equal = within("the returned node's rows", CATCH_UP_LIMIT, Duration::from_millis(250), || async {
                let held: BTreeSet<u64> = values_on(&returned).await.map_err(|error| error.to_string())?.into_iter().collect();
                if held == expected { Ok(()) } else { Err(format!("{} of {} values", held.len(), expected.len())) }
            });
            match equal.await {
                Ok(()) => {
                    trial.note("role", format!("{} holds all {} values itself", victim.name(), expected.len()));
                    self.failback.judge(trial, &self.cluster, &primary, victim).await?;
                }
                Err(deadline) => {
                    trial.find(Finding::violation("returned-node-incomplete", format!("{} holds {}", victim.name(), deadline.last)));
                }
            }
        }
        Ok(())
    }

    async fn sabotage(&self, id: &str) -> Result<(), ScenarioError> {
        self.defects.plant(id).await
    }

    async fn undo_sabotage(&self, _id: &str) -> Result<(), ScenarioError> {
        self.defects.remove().await?;
        healthy(&self.cluster).await
    }
}
