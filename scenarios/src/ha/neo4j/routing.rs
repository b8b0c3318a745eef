//! Does the driver's load go where the routing table says, before and after the roles change?

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use dora_harness::{
    check::{availability, longest_gap},
    database::neo4j::{Access, LEADER, RoutingDriver},
    fault::inject,
    history::{Operation, Outcome, Recorder},
    patience::{stretched, within},
    topology::Node,
    workload::{Adds, Client, Completion, Invocation, Pace, Rhythm, Running},
};
use dora_reports::evidence::{Clocks, Finding, NamedLimit};
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use super::{
    case::Case,
    clients::{driver, parameters, statement, written},
    defect::Defect,
    target::{HEALTH_EVERY, HEALTH_LIMIT, Target},
};
use crate::{
    Database, Pillar, Sabotage, Scenario, ScenarioError, Trial,
    defect::under_defect,
    ha::{HaTarget as _, Strike, judge},
};

/// `ha/neo4j/routing`.
pub const ROUTING: Scenario = Scenario {
    id: "ha/neo4j/routing",
    title: "Neo4j: the driver spreads reads and finds the leader, also after the roles changed",
    pillar: Pillar::Ha,
    database: Database::Neo4j,
    clauses: &["HA-NEO-2"],
    goal: "Reads are spread over followers and the replica, writes reach the leader through the routing table, and both go on when the leader is another.",
    method: &[
        "four clients read and two write through routing drivers; every answer carries the role and the address of the server that gave it, in its own words",
        "for each of three phases the reads are counted by server: all members well, the leader killed, the killed core back",
        "in each phase every server that answers reads has at least half of an even share; every acknowledged write was carried out by a leader",
        "the leader is killed with SIGKILL; the time to the first acknowledged write and the longest time without an answered read are taken",
    ],
    does_not_show: &[
        "balancing by load: these drivers take servers in turn",
        "the drivers of newer protocols; this one is the project's own, of the release's protocol",
    ],
    needs_high_availability: true,
    deadline: Duration::from_secs(300),
    sabotages: &[
        Sabotage {
            id: "table-pinned",
            what: "the drivers keep to the routing table that they got first",
            expects: judge::RECOVERY_TOO_LATE,
        },
        Sabotage { id: "replica-down", what: "the read replica is stopped before", expects: "reads-not-spread" },
        Sabotage { id: "reads-at-writer", what: "the application sends its reads where writes go", expects: "reads-not-spread" },
    ],
    run: |trial| Box::pin(run(trial)),
};

const READERS: usize = 4;
const WRITERS: usize = 2;
const PACE: Pace = Pace { rhythm: Rhythm::Closed(Duration::from_millis(100)), limit: Duration::from_secs(2) };
/// A routing table lives for 5 s; after that every driver has asked anew.
const SETTLE: Duration = Duration::from_secs(6);
/// How long reads are counted in a phase, at least: some hundreds.
const COUNT: Duration = Duration::from_secs(8);
const CONFIRM_LIMIT: Duration = Duration::from_secs(15);
const BEYOND: Duration = Duration::from_secs(10);
/// The least that a server may get, as a share of what an even spread would give it.
const LEAST_SHARE: f64 = 0.5;
/// A client at a dead server gives up after its own limit, and the others go on meanwhile.
const READS_GAP_MAX_MS: f64 = 4_000.0;

async fn run(trial: &Trial) -> Result<(), ScenarioError> {
    let rto_ms = trial.promise.rto_ms_max()? as f64;
    trial.promise_limits(
        format!(
            "each server that answers reads gets at least half of an even share; writes are acknowledged {:.0} s after the leader's death, by a leader",
            rto_ms / 1e3
        ),
        vec![
            NamedLimit::at_least("least_share_before", LEAST_SHARE, "of an even share"),
            NamedLimit::at_least("least_share_during", LEAST_SHARE, "of an even share"),
            NamedLimit::at_least("least_share_after", LEAST_SHARE, "of an even share"),
            NamedLimit::at_most("first_success", rto_ms, "ms"),
            NamedLimit::at_most("reads_gap", READS_GAP_MAX_MS, "ms"),
            NamedLimit::at_most("writes_elsewhere", 0.0, "operations"),
            NamedLimit::at_most("acknowledged_lost", 0.0, "operations"),
        ],
    );
    let target = Target::of(trial, Case::None).await?;
    target.prepare().await?;
    let work = Box::pin(under_load(trial, &target, Duration::from_secs_f64(rto_ms / 1e3)));
    under_defect(trial, |id| target.sabotage(id), |id| target.undo_sabotage(id), work).await
}

async fn under_load(trial: &Trial, target: &Target, rto: Duration) -> Result<(), ScenarioError> {
    let writes = trial.recorder()?;
    let (reads, _file) = trial.further_recorder("reads")?;
    let access = if target.defect == Some(Defect::ReadsAtWriter) { Access::Write } else { Access::Read };
    let reading = (0..READERS).map(|number| routed(target, number, access, "read_and_say_where")).collect::<Result<_, _>>()?;
    let writing = (0..WRITERS).map(|number| routed(target, number, Access::Write, "insert_and_say_where")).collect::<Result<_, _>>()?;
    let question = Box::new(|_client: usize| Invocation { f: "read", value: Value::Null });
    let running = [Running::start(reading, question, PACE, &reads), Running::start(writing, Box::new(Adds::default()), PACE, &writes)];
    let outcome = phases(trial, target, rto, &reads, &writes).await;
    for running in running {
        running.stop().await;
    }
    writes.flush()?;
    reads.flush()?;
    if !outcome? {
        return Ok(());
    }
    leaders_only(trial, &writes.operations()?);
    judge::durability_of(trial, target, &writes, 0.0).await
}

/// The three phases; `false` when a proof's sabotage was noticed and the rest would only wait.
async fn phases(trial: &Trial, target: &Target, rto: Duration, reads: &Recorder, writes: &Recorder) -> Result<bool, ScenarioError> {
    let leader = target.leader().await?;
    sleep(Duration::from_secs(2)).await;
    let is_spread = count(trial, target, "before", &leader, None, reads).await?;
    if !is_spread && trial.sabotage.is_some() {
        return Ok(false);
    }
    let Strike { fault, hit } = target.strike().await?;
    let confirmed = match inject(fault, trial.origin()).await?.confirm(CONFIRM_LIMIT).await {
        Ok(confirmed) => confirmed,
        Err(unconfirmed) => {
            trial.fault(&unconfirmed.heal().await?.confirm(CONFIRM_LIMIT).await);
            trial.find(Finding::unconfirmed("fault-unconfirmed", "no probe saw that the leader was killed"));
            return Ok(true);
        }
    };
    trial.note("fault", format!("{}: {}", confirmed.record().target, confirmed.record().confirmed_by));
    let (injected_ms, confirmed_ms) = (confirmed.record().injected_ms, confirmed.record().confirmed_ms.unwrap_or_default());
    let during = roles_changed(trial, target, rto, (injected_ms, confirmed_ms), &hit, reads, writes).await;
    let healed = confirmed.heal().await?;
    let record = healed.confirm(HEALTH_LIMIT).await;
    trial.fault(&record);
    if !during? {
        return Ok(false);
    }
    within("a healthy cluster", HEALTH_LIMIT, HEALTH_EVERY, || target.healthy()).await?;
    trial.note("role", "every member has its role");
    sleep(SETTLE).await;
    count(trial, target, "after", &target.leader().await?, None, reads).await?;
    Ok(true)
}

/// While the old leader is dead: writes find the new one, reads go on.
async fn roles_changed(
    trial: &Trial,
    target: &Target,
    rto: Duration,
    (injected_ms, confirmed_ms): (f64, f64),
    hit: &[Node],
    reads: &Recorder,
    writes: &Recorder,
) -> Result<bool, ScenarioError> {
    let since = (confirmed_ms * 1e6) as u64;
    let served = within("an acknowledged write", stretched(rto + BEYOND), Duration::from_millis(100), || async {
        if writes.has_acknowledged_since(since) { Ok(()) } else { Err("none yet") }
    });
    let in_time = if served.await.is_ok() {
        trial.note("client", "an insert is acknowledged again");
        sleep(SETTLE).await;
        let new = target.leader().await?;
        count(trial, target, "during", &new, hit.first(), reads).await?;
        true
    } else {
        false
    };
    let seen = availability(&writes.operations()?, injected_ms, confirmed_ms, trial.now_ms());
    let in_time = judge::recovery(trial, &seen, rto, "the fault") && in_time;
    trial.clocks(Clocks {
        first_success_ms: seen.first_success_ms,
        objective_regained_ms: seen.objective_regained_ms,
        ..Clocks::default()
    });
    let gap_ms = longest_gap(&reads.operations()?, injected_ms, trial.now_ms());
    if trial.measure("reads_gap", Some(gap_ms), "ms").met != Some(true) {
        trial.find(Finding::violation("reads-interrupted", format!("no read was answered for {:.1} s", gap_ms / 1e3)));
    }
    Ok(in_time || trial.sabotage.is_none())
}

/// Counts a phase's reads by the server that answered; whether they were spread.
async fn count(
    trial: &Trial,
    target: &Target,
    phase: &'static str,
    leader: &Node,
    gone: Option<&Node>,
    reads: &Recorder,
) -> Result<bool, ScenarioError> {
    let from = reads.now();
    trial.rest(COUNT.max(if phase == "during" { trial.sustain() } else { COUNT })).await;
    let is_away = |node: &Node| node.name() == leader.name() || gone.is_some_and(|gone| gone.name() == node.name());
    let expected: Vec<&Node> = target.cluster.members().filter(|member| !is_away(member)).collect();
    let counts = by_server(&reads.operations()?, from);
    let total: u64 = counts.values().sum();
    let even = total as f64 / expected.len().max(1) as f64;
    let of = |node: &Node| counts.get(&node.address().to_string()).copied().unwrap_or(0);
    let least = expected.iter().map(|node| of(node)).min().unwrap_or(0) as f64;
    let told = target.cluster.members().map(|member| format!("{}: {}", member.name(), of(member))).collect::<Vec<_>>().join(", ");
    trial.note("client", format!("reads by server, {phase}: {told}; the leader is {}", leader.name()));
    let share = (total > 0).then(|| least / even);
    let is_met = trial.measure(&format!("least_share_{phase}"), share, "of an even share").met == Some(true);
    if !is_met {
        let names = expected.iter().map(|node| node.name()).collect::<Vec<_>>().join(", ");
        trial.find(Finding::violation("reads-not-spread", format!("not all of {names} got their share of the reads")).with_witness(told));
    }
    Ok(is_met)
}

/// How many reads each address answered that began after `from`.
fn by_server(operations: &[Operation], from: u64) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for operation in operations.iter().filter(|operation| operation.is_ok() && operation.invoked >= from) {
        if let Some(address) = operation.returned["address"].as_str() {
            *counts.entry(address.to_owned()).or_default() += 1;
        }
    }
    counts
}

/// Every acknowledged write was carried out by a server that says it leads.
fn leaders_only(trial: &Trial, operations: &[Operation]) {
    let elsewhere: Vec<&Operation> =
        operations.iter().filter(|operation| operation.is_ok() && operation.returned["role"] != LEADER).collect();
    if trial.measure("writes_elsewhere", Some(elsewhere.len() as f64), "operations").met != Some(true) {
        let witness = elsewhere.first().map(|operation| operation.returned.to_string()).unwrap_or_default();
        trial.find(
            Finding::violation("write-not-at-leader", "a write was acknowledged by a member that did not lead").with_witness(witness),
        );
    }
}

fn routed(target: &Target, number: usize, access: Access, name: &str) -> Result<Box<dyn Client>, ScenarioError> {
    Ok(Box::new(Routed { driver: driver(&target.cluster, number, target.defect), access, statement: statement(name)? }))
}

/// Sends one statement and keeps who answered.
struct Routed {
    driver: RoutingDriver,
    access: Access,
    statement: &'static str,
}

#[async_trait]
impl Client for Routed {
    async fn invoke(&mut self, invocation: &Invocation) -> Completion {
        let asked = if invocation.value.is_null() { Map::new() } else { parameters([("value", invocation.value.clone())]) };
        match self.driver.run(self.access, self.statement, &asked).await {
            Ok(answer) => {
                let word = |name: &str| answer.rows.first().map(|row| row[name].clone());
                Completion::read(json!({"role": word("role"), "address": word("address")}))
            }
            Err(error) if invocation.f == "read" => Completion::of(Outcome::Fail(error.to_string())),
            Err(error) => Completion::of(written(Err(error))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_counted_by_the_server_that_says_it_answered() {
        let read = |address: &str, invoked: u64, outcome: Outcome| Operation {
            index: 0,
            process: 0,
            f: "read".into(),
            value: Value::Null,
            returned: json!({"address": address, "role": "FOLLOWER"}),
            invoked,
            completed: Some(invoked + 1),
            outcome,
        };
        let history = [
            read("a", 5, Outcome::Ok),
            read("a", 20, Outcome::Ok),
            read("b", 21, Outcome::Ok),
            read("b", 22, Outcome::Fail("gone".into())),
            read("a", 23, Outcome::Ok),
        ];
        assert_eq!(by_server(&history, 10), BTreeMap::from([("a".to_owned(), 2), ("b".to_owned(), 1)]));
    }
}
