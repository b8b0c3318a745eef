//! Runs a list of scenarios: one lane a database, lanes side by side, the longest one worked off by two. What needs no part of the platform is
//! for whoever has come to the end of its lane.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use dora_harness::topology::Member;
use dora_reports::evidence::{Planned, ScenarioEvidence};
use futures_util::{
    FutureExt,
    future::{Shared, join_all},
};
use tokio::sync::Mutex as AsyncMutex;

use super::{Session, SessionError};
use crate::{Database, Sabotage, Scenario};

/// A lane that is longer gets a second cluster: with a minute of sustained operation each, this many jobs take some twenty-five minutes.
/// One lane only, because two cores do not carry more.
const LANE_MAX: usize = 15;

/// A scenario to run, with a sabotage when it is a proof.
#[derive(Debug, Clone, Copy)]
pub struct Job {
    /// The scenario.
    pub scenario: &'static Scenario,
    /// The planted defect.
    pub sabotage: Option<&'static Sabotage>,
}

impl Job {
    /// As the evidence names it.
    pub fn planned(&self) -> Planned {
        Planned { scenario: self.scenario.id.to_owned(), sabotage: self.sabotage.map(|sabotage| sabotage.id.to_owned()) }
    }
}

/// A database and its key manager.
const PAIR: usize = 2;

/// How many jobs of its lane the second cluster has to itself at the end, where the first is needed for what comes after the lanes: some
/// three minutes' worth.
const KEPT: usize = 2;

/// The jobs of one database that nobody has begun yet, in their order.
type Lane<'a> = Mutex<VecDeque<&'a Job>>;

/// Those that need no part of the platform, by their database. There is one of a database at a time ([`Session::run`]), so whoever works on
/// one keeps the others of it.
type Free<'a> = BTreeMap<Database, AsyncMutex<VecDeque<&'a Job>>>;

/// Runs all jobs: first those that must be alone, then lane beside lane those of one database one after the other, those of
/// the longest lane on two clusters, and those that need many parts when the lanes of these are through. The second cluster starts before anything else begins, and
/// leaves to the first what needs more than its own part of the platform. Of those that wait for a turn, the one whose lane has the longest way
/// to go is served first, so that the lanes end together. Those that are through take what needs no part.
/// `started` and `ended` are told as it goes. The session of the second cluster is put into `second`, for whoever wants its nodes and logs;
/// returns why there was none.
pub async fn run_all(
    session: &Session,
    second: &mut Option<Session>,
    jobs: &[Job],
    started: &(dyn Fn(&Job) + Sync),
    ended: &(dyn Fn(&Job, ScenarioEvidence) + Sync),
) -> Option<String> {
    let mut lanes: BTreeMap<Database, Lane<'_>> = BTreeMap::new();
    // Among the lanes, each of them would hold all others still until the last one has an end.
    let (alone, jobs): (Vec<&Job>, Vec<&Job>) = jobs.iter().partition(|job| job.scenario.is_exclusive());
    // What needs many parts comes after their lanes: before, it would hold some of them still until the last one has an end. A pair is soon
    // together.
    let (last, jobs): (Vec<&Job>, Vec<&Job>) = jobs.into_iter().partition(|job| job.scenario.members().len() > PAIR);
    let (free_jobs, jobs): (Vec<&Job>, Vec<&Job>) = jobs.into_iter().partition(|job| job.scenario.members().is_empty());
    let one_by_one = async |jobs: Vec<&Job>| {
        for job in jobs {
            run(session, job, started, ended).await;
        }
    };
    one_by_one(alone).await;
    let long = long_lane(&jobs);
    for job in jobs {
        lanes.entry(job.scenario.database).or_default().get_mut().unwrap_or_else(PoisonError::into_inner).push_back(job);
    }
    let mut free: Free<'_> = BTreeMap::new();
    for job in free_jobs {
        free.entry(job.scenario.database).or_default().get_mut().push_back(job);
        // An empty one is through at once.
        lanes.entry(job.scenario.database).or_default();
    }
    for (database, lane) in &mut lanes {
        let count =
            lane.get_mut().unwrap_or_else(PoisonError::into_inner).len() + free.get_mut(database).map_or(0, |jobs| jobs.get_mut().len());
        session.expect(*database, count, if long == Some(*database) { 2 } else { 1 });
    }
    for lane in lanes.values_mut().step_by(2) {
        light_first(lane.get_mut().unwrap_or_else(PoisonError::into_inner));
    }
    let kept = AtomicUsize::new(0);
    let beside = async {
        let database = long?;
        let turn = session.turn_to_start().await;
        let none = |error: SessionError| Some(format!("there is no second {database} part: {error}"));
        let laid = match session.second(database.members()).await {
            Ok(laid) => second.insert(laid),
            Err(error) => return none(error),
        };
        if let Err(error) = laid.start().await {
            laid.keep_logs().await;
            // With it goes what had been started: the first part needs the memory.
            *second = None;
            return none(error);
        }
        kept.store(if last.iter().any(|job| needs(job, database)) { KEPT } else { 0 }, Ordering::Relaxed);
        drop(turn);
        work_off(laid, &lanes[&database], || 0, started, ended).await;
        // A broken one does not come to what was kept for it.
        kept.store(0, Ordering::Relaxed);
        work_off_free(laid, &free, started, ended).await;
        None
    };
    let first = async {
        let lanes: BTreeMap<Database, Shared<_>> = lanes
            .iter()
            .map(|(database, lane)| {
                let kept = || if long == Some(*database) { kept.load(Ordering::Relaxed) } else { 0 };
                (*database, work_off(session, lane, kept, started, ended).boxed_local().shared())
            })
            .collect();
        let through = lanes.values().map(async |lane| {
            lane.clone().await;
            work_off_free(session, &free, started, ended).await;
        });
        let last = last.iter().map(async |job| {
            join_all(lanes.iter().filter(|(database, _)| needs(job, **database)).map(|(_, lane)| lane.clone())).await;
            run(session, job, started, ended).await;
        });
        tokio::join!(join_all(through), join_all(last));
    };
    let (problem, ()) = tokio::join!(beside, first);
    // What broken clusters left over says for itself that it could not run, and why.
    let left = lanes.into_values().map(|lane| lane.into_inner().unwrap_or_else(PoisonError::into_inner));
    one_by_one(left.chain(free.into_values().map(AsyncMutex::into_inner)).flatten().collect()).await;
    problem
}

/// Whether the job needs the part of the platform that lane works on.
fn needs(job: &Job, lane: Database) -> bool {
    job.scenario.members().iter().any(|member| member.name() == lane.name())
}

/// Puts what weighs little first, otherwise in the same order. Every other lane does: where all of them come to what weighs most at the same
/// time, one works and the others wait, with a place that nobody can use.
fn light_first(lane: &mut VecDeque<&Job>) {
    lane.make_contiguous().sort_by_key(|job| job.scenario.weight());
}

/// Takes jobs of the lane, but so many at its end, as long as there are any that fit and the cluster can be used: a broken one must not use up
/// what another can still decide.
async fn work_off(
    session: &Session,
    lane: &Lane<'_>,
    kept: impl Fn() -> usize,
    started: &(dyn Fn(&Job) + Sync),
    ended: &(dyn Fn(&Job, ScenarioEvidence) + Sync),
) {
    let next = || take(&mut lane.lock().unwrap_or_else(PoisonError::into_inner), &session.options().members, kept());
    while session.broken().is_none()
        && let Some(job) = next()
    {
        run(session, job, started, ended).await;
    }
}

/// Takes those that need no part.
async fn work_off_free(
    session: &Session,
    free: &Free<'_>,
    started: &(dyn Fn(&Job) + Sync),
    ended: &(dyn Fn(&Job, ScenarioEvidence) + Sync),
) {
    for jobs in free.values() {
        // Whoever has them already works them off.
        let Ok(mut jobs) = jobs.try_lock() else { continue };
        while session.broken().is_none()
            && let Some(job) = jobs.pop_front()
        {
            run(session, job, started, ended).await;
        }
    }
}

/// One job. Boxed, because a scenario's state is large and this one is awaited in several places of [`run_all`].
async fn run(session: &Session, job: &Job, started: &(dyn Fn(&Job) + Sync), ended: &(dyn Fn(&Job, ScenarioEvidence) + Sync)) {
    let evidence = Box::pin(session.run(job.scenario, job.sabotage, || started(job))).await;
    ended(job, evidence);
}

/// Takes the first job that needs no other parts of the platform than these. So many are kept, but what needs more than the lane's own part is
/// not: only the first cluster has it.
fn take<'a>(lane: &mut VecDeque<&'a Job>, members: &[Member], kept: usize) -> Option<&'a Job> {
    let fits = |job: &&Job| job.scenario.members().iter().all(|member| members.contains(member));
    let own = lane.iter().filter(|job| job.scenario.members().len() <= 1).count();
    let free = |job: &&Job| own > kept || job.scenario.members().len() > 1;
    lane.remove(lane.iter().position(|job| fits(job) && free(job))?)
}

/// The database with the most jobs, if they are too many for one cluster.
fn long_lane(jobs: &[&Job]) -> Option<Database> {
    let count = |database: &Database| jobs.iter().filter(|job| job.scenario.database == *database).count();
    Database::ALL.into_iter().max_by_key(count).filter(|database| count(database) > LANE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Pillar, all};

    #[test]
    fn only_the_longest_lane_gets_a_second_cluster_and_only_when_it_is_long() {
        let jobs: Vec<Job> =
            all().into_iter().filter(|s| s.id.starts_with("ha/")).map(|scenario| Job { scenario, sabotage: None }).collect();
        assert_eq!(long_lane(&jobs.iter().collect::<Vec<_>>()), Some(Database::Postgres));
        let of = |database: Database, count: usize| jobs.iter().filter(move |job| job.scenario.database == database).take(count);
        assert_eq!(long_lane(&of(Database::Postgres, LANE_MAX).collect::<Vec<_>>()), None);
        assert_eq!(long_lane(&[]), None);
    }

    #[test]
    fn what_weighs_little_comes_first_in_its_own_order() {
        let jobs: Vec<Job> = all()
            .into_iter()
            .filter(|scenario| scenario.database == Database::Redis)
            .map(|scenario| Job { scenario, sabotage: None })
            .collect();
        let mut lane: VecDeque<&Job> = jobs.iter().collect();
        light_first(&mut lane);
        assert!(lane.iter().map(|job| job.scenario.weight()).is_sorted());
        let ha = |jobs: &mut dyn Iterator<Item = &'static str>| jobs.filter(|id| id.starts_with("ha/")).collect::<Vec<_>>();
        assert_eq!(ha(&mut lane.iter().map(|job| job.scenario.id)), ha(&mut jobs.iter().map(|job| job.scenario.id)));
    }

    #[test]
    fn what_needs_another_part_waits_for_the_session_that_has_it() {
        let jobs: Vec<Job> = all()
            .into_iter()
            .filter(|scenario| scenario.database == Database::Postgres && scenario.pillar == Pillar::Security)
            .map(|scenario| Job { scenario, sabotage: None })
            .collect();
        let mut lane: VecDeque<&Job> = jobs.iter().collect();
        while take(&mut lane, Database::Postgres.members(), 0).is_some() {}
        assert_eq!(lane.iter().map(|job| job.scenario.id).collect::<Vec<_>>(), ["security/postgres/zones"]);
        let both = [Member::Postgres, Member::Openbao];
        assert!(take(&mut lane, &both, 0).is_some() && take(&mut lane, &both, 0).is_none());
    }

    #[test]
    fn the_last_ones_are_kept_but_not_what_only_the_first_can() {
        let jobs: Vec<Job> = all()
            .into_iter()
            .filter(|scenario| ["ha/postgres/pool", "ha/postgres/switchover", "security/postgres/zones"].contains(&scenario.id))
            .map(|scenario| Job { scenario, sabotage: None })
            .collect();
        let mut lane: VecDeque<&Job> = jobs.iter().collect();
        let mut ids = Vec::new();
        while let Some(job) = take(&mut lane, &[Member::Postgres, Member::Openbao], 1) {
            ids.push(job.scenario.id);
        }
        assert_eq!((ids.len(), lane.len()), (2, 1), "{ids:?}");
        assert!(ids.contains(&"security/postgres/zones") && needs(lane[0], Database::Postgres) && !needs(lane[0], Database::Redis));
    }

    #[test]
    fn what_needs_no_part_is_for_every_session() {
        let free: Vec<&str> = all().iter().filter(|scenario| scenario.members().is_empty()).map(|scenario| scenario.id).collect();
        assert_eq!(
            free,
            [
                "ha/influxdb/replication-remote-down",
                "ha/influxdb/replication-source-down",
                "ha/influxdb/replication-both-down",
                "ha/redis/durability-levels",
                "ha/redis/durability-levels-power-loss",
            ]
        );
        let jobs: Vec<Job> =
            all().into_iter().filter(|scenario| free.contains(&scenario.id)).map(|scenario| Job { scenario, sabotage: None }).collect();
        let mut lane: VecDeque<&Job> = jobs.iter().collect();
        assert!(take(&mut lane, &[Member::Neo4j], 0).is_some() && take(&mut lane, &[], 0).is_some());
    }
}
