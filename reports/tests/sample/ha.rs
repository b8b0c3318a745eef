use dora_reports::{
    Clocks, FaultEvidence, Finding, LogExcerpt, Measured, NamedLimit, Objective, OperationCounts, Point, ScenarioEvidence, Series,
    TimelineEvent,
    evidence::{CheckEvidence, CheckOutcome},
};

use super::{noise, scenario, strings};

/// One failover: when the fault was injected, when service came back, when the node was healed, all in seconds.
struct Failover {
    injected: f64,
    back: f64,
    healed: f64,
    end: f64,
    rate: f64,
    p50_ms: f64,
}

pub fn scenarios() -> Vec<ScenarioEvidence> {
    vec![postgres(), neo4j(), mongodb(), influxdb(), redis()]
}

fn postgres() -> ScenarioEvidence {
    let run = Failover { injected: 12.0, back: 16.21, healed: 30.0, end: 58.0, rate: 400.0, p50_ms: 3.1 };
    let mut s = failover("postgres", "HA-PG-3", "PostgreSQL: the primary is killed under write load", "pg1 (primary)", &run);
    s.method.insert(0, "the ledger table gets one row an operation, each with its own number".to_owned());
    s.checks = vec![
        CheckEvidence {
            name: "register".to_owned(),
            model: "cas-register".to_owned(),
            operations: 4_312,
            outcome: CheckOutcome::Holds,
            detail: String::new(),
            history_file: "histories/ha-postgres.register.jsonl".to_owned(),
        },
        CheckEvidence {
            name: "ledger".to_owned(),
            model: "list-append".to_owned(),
            operations: 981,
            outcome: CheckOutcome::Undecided,
            detail: "the time limit of 60 s was reached".to_owned(),
            history_file: "histories/ha-postgres.ledger.jsonl".to_owned(),
        },
    ];
    s.log_excerpts = vec![LogExcerpt {
        node: "pg2".to_owned(),
        lines: strings(&[
            "INFO: Got response from pg1: connection refused",
            "INFO: Cleaning up failover key after acquiring leader lock...",
            "INFO: promoted self to leader by acquiring session lock",
            "LOG:  received promote request",
            "LOG:  selected new timeline ID: 2",
        ]),
    }];
    settle(s, "no acknowledged write was lost and service came back in 4.21 s")
}

fn neo4j() -> ScenarioEvidence {
    let run = Failover { injected: 15.0, back: 21.7, healed: 35.0, end: 82.0, rate: 60.0, p50_ms: 11.0 };
    settle(
        failover("neo4j", "HA-NEO-1", "Neo4j: the leader of the cores is killed", "neo1 (leader)", &run),
        "no acknowledged write was lost",
    )
}

fn mongodb() -> ScenarioEvidence {
    let run = Failover { injected: 12.0, back: 22.9, healed: 30.0, end: 61.0, rate: 300.0, p50_ms: 5.4 };
    let mut s = failover("mongodb", "HA-MDB-1", "MongoDB: the primary is killed under majority writes", "mongo1 (primary)", &run);
    s.faults[0].confirmed_ms = None;
    s.faults[0].confirmed_by = None;
    s.findings.push(Finding::unconfirmed(
        "fault-not-confirmed",
        "the probe still reached mongo1 two seconds after it was killed, so it is not known what the clients went through",
    ));
    settle(s, "the fault was not confirmed by a probe")
}

fn influxdb() -> ScenarioEvidence {
    let run = Failover { injected: 10.0, back: 10.4, healed: 25.0, end: 55.0, rate: 2_000.0, p50_ms: 2.2 };
    settle(
        failover("influxdb", "HA-IDB-1", "InfluxDB: one of three data nodes is killed", "influx2 (data)", &run),
        "quorum writes went on and the node was filled by hinted handoff",
    )
}

fn redis() -> ScenarioEvidence {
    let run = Failover { injected: 10.0, back: 17.3, healed: 25.0, end: 47.0, rate: 1_500.0, p50_ms: 0.42 };
    let mut s = failover("redis", "HA-RDS-1", "Redis: the master is killed and Sentinel fails over", "redis1 (master)", &run);
    if let Some(operations) = &mut s.operations {
        operations.lost = Some(3);
    }
    s.measured.iter_mut().filter(|m| m.name == "acknowledged_lost").for_each(|m| {
        *m = s.objective.measure("acknowledged_lost", Some(3.0), "operations");
    });
    s.findings.push(
        Finding::violation("acknowledged-writes-lost", "three writes that Redis acknowledged are gone after the failover; the objective allows none with min-replicas-to-write 1").with_witness(
            "process 4  invoke  set ledger:14982  at 9.9981 s\nprocess 4  ok      set ledger:14982  at 9.9987 s\nprocess 0  ok      get ledger:14982  nil at 44.1204 s",
        ),
    );
    s.findings.push(Finding::note("client-reconnects", "each client connected twice: once to the old master, once to the new one"));
    settle(s, "3 acknowledged writes were lost, none is allowed")
}

fn settle(mut scenario: ScenarioEvidence, reason: &str) -> ScenarioEvidence {
    scenario.verdict = scenario.decide();
    reason.clone_into(&mut scenario.reason);
    scenario
}

fn failover(database: &str, clause: &str, title: &str, target: &str, run: &Failover) -> ScenarioEvidence {
    let mut s = scenario(
        "ha",
        database,
        &[clause],
        title,
        "After the node that takes the writes is killed with SIGKILL, service returns by itself within the objective, nothing that was acknowledged is lost, and redundancy is whole again.",
        run.end * 1_000.0,
    );
    s.method = strings(&[
        "clients write at a fixed rate through the real driver, each operation is recorded with its outcome",
        "the node is killed with SIGKILL and a probe of its port confirms that it is gone",
        "the load goes on until service is back, then 14 s more on the survivor",
        "the node is started again and the load goes on until it has its role",
        "every acknowledged operation is looked up in the final state",
    ]);
    s.does_not_show = strings(&["a node that hangs instead of dying, a partition, or a full disk", "the loss of two nodes at once"]);
    s.objective = Objective::new(
        "Service returns within 20 s, redundancy within 90 s, and no acknowledged write is lost.",
        vec![
            NamedLimit::at_most("first_success", 20_000.0, "ms"),
            NamedLimit::at_most("objective_regained", 30_000.0, "ms"),
            NamedLimit::at_most("redundancy_regained", 90_000.0, "ms"),
            NamedLimit::at_most("acknowledged_lost", 0.0, "operations"),
        ],
    );
    let since = |at: f64| (at - run.injected) * 1_000.0;
    let redundancy = since(run.end - 9.0);
    s.clocks = Some(Clocks {
        detection_ms: Some(since(run.back) * 0.55),
        first_success_ms: Some(since(run.back)),
        objective_regained_ms: Some(since(run.back) + 1_400.0),
        redundancy_regained_ms: Some(redundancy),
    });
    s.measured = vec![
        Measured::new("detection", Some(since(run.back) * 0.55), "ms"),
        s.objective.measure("first_success", Some(since(run.back)), "ms"),
        s.objective.measure("objective_regained", Some(since(run.back) + 1_400.0), "ms"),
        s.objective.measure("redundancy_regained", Some(redundancy), "ms"),
        s.objective.measure("acknowledged_lost", Some(0.0), "operations"),
    ];
    let ms = |seconds: f64| seconds * 1_000.0;
    s.faults = vec![FaultEvidence {
        kind: "kill".to_owned(),
        target: target.to_owned(),
        injected_ms: ms(run.injected),
        confirmed_ms: Some(ms(run.injected) + 180.0),
        confirmed_by: Some("connection to the client port refused".to_owned()),
        healed_ms: Some(ms(run.healed)),
        heal_confirmed_ms: Some(ms(run.end - 9.0)),
        heal_confirmed_by: Some("the node reports its role and no lag".to_owned()),
    }];
    s.timeline = vec![
        event(0.0, "phase", "load begins"),
        event(run.injected, "fault", &format!("SIGKILL to {target}")),
        event(run.back - 1.2, "role", "a new node takes the writes"),
        event(run.back, "client", "first write acknowledged again"),
        event(run.healed, "fault", "the killed node is started again"),
        event(run.end - 9.0, "role", "the node has caught up"),
        event(run.end, "phase", "load ends, the ledger is read"),
    ];
    s.series = series(run);
    let ok = (run.rate * (run.end - (run.back - run.injected))) as u64;
    s.operations =
        Some(OperationCounts { ok, fail: (run.rate * 2.1) as u64, unknown: 37, lost: Some(0), phantom: Some(0), duplicated: Some(0) });
    s.history_file = Some(format!("histories/ha-{database}.jsonl"));
    s
}

fn event(at_s: f64, kind: &str, text: &str) -> TimelineEvent {
    TimelineEvent { t_ms: at_s * 1_000.0, kind: kind.to_owned(), text: text.to_owned() }
}

fn series(run: &Failover) -> Vec<Series> {
    let buckets = (run.end * 2.0) as u64;
    let at = |index: u64| index as f64 * 0.5;
    let out = |t: f64| t >= run.injected && t < run.back;
    let settling = |t: f64| if t >= run.back { (-(t - run.back) / 0.9).exp() } else { 0.0 };
    let catching_up = |t: f64| if t >= run.healed && t < run.end - 9.0 { 1.35 } else { 1.0 };
    let latency = |seed: u64, base: f64| {
        let value = move |index: u64, t: f64| base * (1.0 + 0.22 * noise(seed, index)) * catching_up(t) * (1.0 + 60.0 * settling(t));
        (0..buckets).map(|i| Point { t_ms: at(i) * 1_000.0, value: (!out(at(i))).then(|| value(i, at(i))) }).collect()
    };
    let flow = |i: u64| {
        let t = at(i);
        let share = if out(t) { 0.0 } else { 1.0 + 0.03 * noise(77, i) + 0.7 * settling(t) };
        Point { t_ms: t * 1_000.0, value: Some(run.rate * share) }
    };
    let named = |name: &str, unit: &str, points| Series { name: name.to_owned(), unit: unit.to_owned(), points };
    vec![
        named("latency_p99", "ms", latency(5, run.p50_ms * 4.2)),
        named("latency_p50", "ms", latency(9, run.p50_ms)),
        named("throughput", "op/s", (0..buckets).map(flow).collect()),
    ]
}
