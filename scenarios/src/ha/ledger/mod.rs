//! One business event in all five databases, each of which loses a node at the same moment.

mod poster;
mod target;

use std::time::Duration;

use super::{Course, outage};
use crate::{Database, Pillar, Sabotage, Scenario};

/// One database gets fewer events than it is said to have.
const STORE_SKIPPED: &str = "store-skipped";
/// One database loses what it had.
const STORE_BEHIND: &str = "store-behind";

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "ha/platform/ledger",
    title: "Five databases tell the same story after each of them lost a node",
    pillar: Pillar::Ha,
    database: Database::Platform,
    clauses: &["HA-PG-3", "HA-NEO-1", "HA-MDB-1", "HA-IDB-1", "HA-RDS-1"],
    goal: "A business event that all five databases acknowledged is in all five of them, although each loses a node at the same moment: the primary, the leader, a data node, a replica.",
    method: &[
        "four clients post numbered events to all five databases at once, each through the path of a real application; what each database answered is recorded",
        "at the same moment the primaries of PostgreSQL and MongoDB, the leader of Neo4j, a data node of InfluxDB and a replica of Redis are killed",
        "an event counts as acknowledged when all five acknowledged it; the clocks are those of such events",
        "a prober on each PostgreSQL server commits a small write all the time and says in which timeline: never two at once",
        "in the end each database is read and compared with its own answers: nothing acknowledged is missing, nothing refused is there, nothing is there twice",
    ],
    does_not_show: &[
        "the loss of Redis's master, whose mode promises a bound and not zero: it has scenarios of its own",
        "a transaction over several databases: an event that one refused stays in the others, and the history says so",
    ],
    needs_high_availability: true,
    deadline: Duration::from_mins(5),
    sabotages: &[
        Sabotage {
            id: STORE_SKIPPED,
            what: "every tenth event is not sent to MongoDB, and the client says that it was acknowledged",
            expects: "stores-disagree",
        },
        Sabotage {
            id: STORE_BEHIND,
            what: "before the last read Redis falls back to a state without any event",
            expects: "stores-disagree",
        },
    ],
    run: |trial| {
        Box::pin(async move {
            let target = target::Ledger::of(trial).await?;
            outage(trial, &target, Course::returns()).await
        })
    },
}];
