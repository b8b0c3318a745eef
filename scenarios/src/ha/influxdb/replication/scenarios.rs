//! The scenarios.

use std::time::Duration;

use dora_harness::database::influxdb::datacentres::Datacentres;
use futures_util::future::BoxFuture;

use super::{
    defect::{QUEUE_IN_MEMORY, QUEUE_THROWN_AWAY, REPLICATION_OFF, SOURCE_IN_MEMORY, TOKEN_WITHDRAWN},
    target::{Case, Replicated},
};
use crate::{
    Database, Pillar, Sabotage, Scenario, ScenarioError, Trial,
    ha::{Course, outage},
};

const DEADLINE: Duration = Duration::from_secs(300);
/// What was under way when the source was seen dead ends within three seconds, and it stays away for longer.
const SOURCE_AWAY: Course = Course::ceases(Duration::from_secs(3), Duration::from_secs(8));

const SETUP: &str = "start two datacentres of one node each, TLS 1.3 only; the source replicates its bucket to the remote with a token that may write that bucket only";
const LOAD: &str = "four clients write points to the source, twenty each second together, each point of a time of its own";
const BOTH_READ: &str = "read every point from the source and from the remote, each on its own: both must have all that was acknowledged";
const LAG: &str = "write twenty points one after the other and look in the remote until it has each: the lag in quiet";
const NUDGE: &str = "a queue that empties by itself: after a restart of the source, or after many failed attempts, the engine sends only once a new point is \
                     written (otherwise up to fifteen minutes later), so here clients go on writing after the healing";
const DISTANCE: &str = "the way between two sites: both nodes are on one machine";
const DISK: &str = "the loss of the source's disk: what was acknowledged and not sent yet would be gone with it";
const FULL: &str = "a queue that is full: the engine acknowledges writes then, too, and does not send them; it has to be watched, and sized for the longest outage";

const OFF: Sabotage = Sabotage { id: REPLICATION_OFF, what: "the replication is removed", expects: "acknowledged-writes-lost" };

fn run(trial: &Trial, case: Case, course: Course) -> BoxFuture<'_, Result<(), ScenarioError>> {
    Box::pin(async move {
        Datacentres::remove_all(trial.ground()).await?;
        let outcome = async {
            let pair = Datacentres::start(trial.ground()).await?;
            outage(trial, &Replicated::new(pair, case), course).await
        };
        let outcome = outcome.await;
        Datacentres::remove_all(trial.ground()).await?;
        outcome
    })
}

/// The remote is away.
pub const REMOTE_DOWN: Scenario = Scenario {
    id: "ha/influxdb/replication-remote-down",
    title: "InfluxDB's queue keeps what the remote datacentre misses",
    pillar: Pillar::Ha,
    database: Database::Influxdb,
    clauses: &["HA-IDB-2"],
    goal: "find out whether the source goes on acknowledging while the remote is dead, and whether the remote has everything when it is back",
    method: &[SETUP, LOAD, "kill the remote with SIGKILL, go on, start it again", BOTH_READ, LAG],
    does_not_show: &[NUDGE, DISTANCE, DISK, FULL],
    needs_high_availability: true,
    deadline: DEADLINE,
    sabotages: &[
        Sabotage {
            id: QUEUE_THROWN_AWAY,
            what: "the replication is removed and made again while the remote is away, as if it were stuck",
            expects: "acknowledged-writes-lost",
        },
        Sabotage {
            id: TOKEN_WITHDRAWN,
            what: "the remote does not accept the replication's token any more",
            expects: "redundancy-not-regained",
        },
        OFF,
    ],
    run: |trial| run(trial, Case::Remote, Course::continues()),
};

/// The source is away.
pub const SOURCE_DOWN: Scenario = Scenario {
    id: "ha/influxdb/replication-source-down",
    title: "InfluxDB's replication goes on after a crash of the source",
    pillar: Pillar::Ha,
    database: Database::Influxdb,
    clauses: &["HA-IDB-2"],
    goal: "find out whether the source, killed and started again, has everything that it acknowledged, and goes on sending it to the remote",
    method: &[SETUP, LOAD, "kill the source with SIGKILL, start it again; clients go on writing", BOTH_READ, LAG],
    does_not_show: &[NUDGE, DISTANCE, DISK, "a change over to the remote: clients wait for the source"],
    needs_high_availability: true,
    deadline: DEADLINE,
    sabotages: &[
        Sabotage {
            id: SOURCE_IN_MEMORY,
            what: "the source keeps its points in memory that does not outlive a crash",
            expects: "returned-node-incomplete",
        },
        OFF,
    ],
    run: |trial| run(trial, Case::Source, SOURCE_AWAY),
};

/// First the remote is away, then the source, too.
pub const BOTH_DOWN: Scenario = Scenario {
    id: "ha/influxdb/replication-both-down",
    title: "InfluxDB's queue outlives a crash of the source during an outage of the remote",
    pillar: Pillar::Ha,
    database: Database::Influxdb,
    clauses: &["HA-IDB-2"],
    goal: "find out whether what waited for a dead remote is still there, and sent, after the source crashed, too",
    method: &[
        SETUP,
        LOAD,
        "kill the remote with SIGKILL; six seconds later, with points waiting for it, kill the source; start both; clients go on writing",
        BOTH_READ,
        LAG,
    ],
    does_not_show: &[NUDGE, DISTANCE, DISK, "a loss of power: what the kernel had not written to the disk yet survives a SIGKILL"],
    needs_high_availability: true,
    deadline: DEADLINE,
    sabotages: &[
        Sabotage {
            id: QUEUE_IN_MEMORY,
            what: "the source keeps its queue in memory that does not outlive a crash",
            expects: "acknowledged-writes-lost",
        },
        OFF,
    ],
    run: |trial| run(trial, Case::Both, SOURCE_AWAY),
};
