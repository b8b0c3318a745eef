//! Links are cut, and etcd is lost.

use std::time::Duration;

use super::{
    super::Course,
    case::Case,
    frame::{BETWEEN_PROBES, CHECKED, COMPARED, FRAME, LOAD, REWOUND, WATCH},
    sabotage, settings,
    target::Plan,
};
use crate::Scenario;

/// A leadership that is not renewed has ended by then, and another server has been promoted: the ttl of 20 s and some rounds of Patroni.
pub const EXPIRY: Duration = Duration::from_secs(28);
/// So long that service which does not come back is away for longer than is allowed.
const HELD: Duration = Duration::from_secs(45);
/// Without etcd nobody leads when the ttl of 20 s has passed, for as long as it is away.
const NOBODY_LEADS: Course = Course::ceases(Duration::from_secs(20), Duration::from_secs(35));
/// Step: how a cut is seen.
const CUT_SEEN: &str = "the receivers' kernel counters confirm which datagrams arrive and which do not";

/// The primary reaches nobody.
pub const PRIMARY_ISOLATED: Scenario = Scenario {
    id: "ha/postgres/primary-isolated",
    title: "PostgreSQL: the primary is cut off from all other nodes, clients still reach it",
    goal: "The isolated primary acknowledges nothing and steps down; another one takes over; after the cut the old one rewinds what nobody acknowledged and follows.",
    method: &[
        LOAD,
        CHECKED,
        WATCH,
        "every link between the primary and the other nodes is cut both ways; the probers in the harness still reach it",
        CUT_SEEN,
        "the links are mended and the old primary must follow the new one",
        REWOUND,
        COMPARED,
    ],
    does_not_show: &["reads on the isolated primary, which may be out of date", BETWEEN_PROBES],
    sabotages: &[sabotage::SPLIT_BRAIN, sabotage::PATRONI_FROZEN, sabotage::NEVER_REWOUND],
    run: |trial| Box::pin(Plan::of(Case::PrimaryIsolated, Course::returns().leader_moves()).with_checked_loads().carry_out(trial)),
    ..FRAME
};

/// The primary cannot renew its leadership.
pub const PRIMARY_ISOLATED_FROM_ETCD: Scenario = Scenario {
    id: "ha/postgres/primary-isolated-from-etcd",
    title: "PostgreSQL: the primary is cut off from etcd alone",
    goal: "A primary that cannot renew its leadership steps down before another one is promoted, although its standbys still follow it.",
    method: &[
        LOAD,
        WATCH,
        "the links between the primary and every etcd member are cut both ways",
        CUT_SEEN,
        "service ends some seconds later, when the primary cannot renew its leadership; the longest time without an acknowledged write counts",
        COMPARED,
    ],
    does_not_show: &["a slow etcd, or one that answers some of the time", BETWEEN_PROBES],
    sabotages: &[sabotage::PATRONI_FROZEN_INTERRUPTS],
    run: |trial| {
        Box::pin(
            Plan::of(Case::PrimaryIsolatedFromEtcd, Course::continues().settling(EXPIRY).lasting(HELD).leader_moves()).carry_out(trial),
        )
    },
    ..FRAME
};

/// Nobody is left to wait for.
pub const PRIMARY_ISOLATED_FROM_STANDBYS: Scenario = Scenario {
    id: "ha/postgres/primary-isolated-from-standbys",
    title: "PostgreSQL: the primary is cut off from its standbys alone",
    goal: "Writes wait until Patroni has noticed that no standby is left, then go on without one (synchronous_mode is not strict); nothing acknowledged is lost, and nobody else is promoted.",
    method: &[
        LOAD,
        WATCH,
        "the links between the primary and both standbys are cut both ways; etcd and the pooler are reached",
        CUT_SEEN,
        "the longest gap is measured; after the cut the standbys must catch up and one of them be synchronous again",
        COMPARED,
    ],
    does_not_show: &[
        "the loss of the primary while it has no standby: what it acknowledged alone is then lost; synchronous_mode_strict would cease service instead",
        BETWEEN_PROBES,
    ],
    sabotages: &[sabotage::ALL_STANDBYS_AWAITED],
    run: |trial| Box::pin(Plan::of(Case::PrimaryIsolatedFromStandbys, Course::continues()).carry_out(trial)),
    ..FRAME
};

/// One of three.
pub const ETCD_NODE_LOST: Scenario = Scenario {
    id: "ha/postgres/etcd-node-lost",
    title: "PostgreSQL: the leader among the etcd members is killed",
    goal: "The other members choose a leader, Patroni turns to them, and writes go on.",
    method: &[
        LOAD,
        WATCH,
        "the etcd leader's container is killed; its port confirms the death",
        "it comes back and must be a member again",
        COMPARED,
    ],
    does_not_show: &["an etcd member whose disk is slow", BETWEEN_PROBES],
    sabotages: &[sabotage::ETCD_MEMBER_DOWN],
    run: |trial| Box::pin(Plan::of(Case::EtcdNodeLost, Course::continues()).carry_out(trial)),
    ..FRAME
};

/// Two of three, as the cluster is configured.
pub const ETCD_MAJORITY_LOST: Scenario = Scenario {
    id: "ha/postgres/etcd-majority-lost",
    title: "PostgreSQL: two of three etcd members are killed, failsafe mode is off",
    goal: "Without a majority of etcd nobody can know who leads: the primary steps down before its leadership expires, and service is back when etcd is.",
    method: &[
        LOAD,
        WATCH,
        "the containers of the etcd leader and of another member are killed and stay down for 35 s",
        "failsafe_mode is not set, so writes must cease: none may be acknowledged later than 20 s (the ttl) after both were seen dead",
        "the clock of recovery runs from the return of the members",
        COMPARED,
    ],
    does_not_show: &["failsafe mode, which has a scenario of its own", "the loss of etcd's data", BETWEEN_PROBES],
    sabotages: &[sabotage::LEADER_UNAWARE],
    run: |trial| Box::pin(Plan::of(Case::EtcdMajorityLost, NOBODY_LEADS).carry_out(trial)),
    ..FRAME
};

/// Two of three, with the other setting.
pub const ETCD_MAJORITY_LOST_FAILSAFE: Scenario = Scenario {
    id: "ha/postgres/etcd-majority-lost-failsafe",
    title: "PostgreSQL: two of three etcd members are killed, failsafe mode is on",
    goal: "In failsafe mode a primary that every other server confirms as leader leads on without etcd: writes go on, and there is still one primary only.",
    method: &[
        "failsafe_mode is switched on for this scenario and off again after it",
        LOAD,
        WATCH,
        "the containers of the etcd leader and of another member are killed and stay down for 35 s, longer than a leadership lasts",
        COMPARED,
    ],
    does_not_show: &["the loss of a server while etcd is lost: the primary then steps down", BETWEEN_PROBES],
    sabotages: &[sabotage::STANDBYS_DEAF],
    run: |trial| {
        let course = Course::continues().lasting(Duration::from_secs(35));
        Box::pin(Plan::of(Case::EtcdMajorityLost, course).with_settings(settings::FAILSAFE).carry_out(trial))
    },
    ..FRAME
};
