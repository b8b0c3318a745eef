use dora_reports::{Measured, NamedLimit, Objective, OperationCounts, Point, ScenarioEvidence, Series, Verdict};

use super::{noise, scenario, strings};

pub fn scenarios() -> Vec<ScenarioEvidence> {
    vec![
        slo("postgres", "PostgreSQL", 500.0, 4.1, 40.0),
        slo("neo4j", "Neo4j", 80.0, 14.0, 150.0),
        slo("mongodb", "MongoDB", 400.0, 6.0, 60.0),
        slo("influxdb", "InfluxDB", 120.0, 22.0, 80.0),
        slo("redis", "Redis", 5_000.0, 0.21, 2.0),
    ]
}

fn slo(database: &str, name: &str, rate: f64, p50_ms: f64, p99_max_ms: f64) -> ScenarioEvidence {
    let title = format!("{name}: the domain's queries at the stated rate");
    let goal = "At the stated rate, counted from the scheduled start of each operation, latency stays within its objective.";
    let mut s = scenario("performance", database, &["PERF-SLO"], &title, goal, 30_000.0);
    s.method = strings(&[
        "operations start on a fixed schedule, whether earlier ones have ended or not",
        "five seconds of warm-up are not counted",
    ]);
    s.does_not_show =
        strings(&["other machines: the numbers belong to the one named below", "the highest rate that the database can take"]);
    s.objective = Objective::new(
        "The stated rate is kept with p99 below its limit.",
        vec![NamedLimit::at_least("throughput", rate * 0.98, "op/s"), NamedLimit::at_most("latency_p99", p99_max_ms, "ms")],
    );
    let p99_ms = p50_ms * 4.6;
    s.measured = vec![
        s.objective.measure("throughput", Some(rate * 0.9974), "op/s"),
        Measured::new("latency_p50", Some(p50_ms), "ms"),
        s.objective.measure("latency_p99", Some(p99_ms), "ms"),
        Measured::new("latency_p999", Some(p50_ms * 9.3), "ms"),
    ];
    let points = |seed: u64, base: f64, spread: f64| {
        (0..60).map(|i| Point { t_ms: i as f64 * 500.0, value: Some(base * (1.0 + spread * noise(seed, i))) }).collect()
    };
    let named = |name: &str, unit: &str, points| Series { name: name.to_owned(), unit: unit.to_owned(), points };
    s.series = vec![
        named("latency_p99", "ms", points(31, p99_ms, 0.3)),
        named("latency_p50", "ms", points(32, p50_ms, 0.1)),
        named("throughput", "op/s", points(33, rate, 0.02)),
        named("cpu", "%", points(34, 46.0, 0.2)),
    ];
    s.operations = Some(OperationCounts { ok: (rate * 25.0) as u64, fail: 0, unknown: 0, ..OperationCounts::default() });
    s.verdict = s.decide();
    if s.verdict == Verdict::Satisfied {
        "rate and latency are within the objective".clone_into(&mut s.reason);
    } else {
        format!("p99 is {p99_ms:.0} ms, the objective allows {p99_max_ms:.0} ms").clone_into(&mut s.reason);
    }
    s
}
