use dora_reports::{ContentRow, Finding, Measured, NamedLimit, Objective, ScenarioEvidence, Verdict};

use super::{hash, scenario, strings};

pub fn scenarios() -> Vec<ScenarioEvidence> {
    vec![
        backup(
            "postgres",
            "BK-FULL-PG",
            "PostgreSQL",
            &[("organisation", 120), ("app_user", 4_800), ("policy", 2_400), ("policy_version", 9_112), ("audit_reference", 48_231)],
        ),
        neo4j(),
        backup(
            "mongodb",
            "BK-FULL-MDB",
            "MongoDB",
            &[("policy_files.files", 64), ("policy_files.chunks", 1_204), ("analysis_results", 9_600), ("agent_configuration", 240)],
        ),
        backup("influxdb", "BK-FULL-IDB", "InfluxDB", &[("metrics", 864_000), ("agent_health", 43_200), ("audit_events", 12_007)]),
        redis(),
    ]
}

fn redis() -> ScenarioEvidence {
    let mut s = backup("redis", "BK-FULL-RDS", "Redis", &[("session:*", 12_000), ("ratelimit:*", 800), ("lock:*", 12)]);
    s.contents[1] = ContentRow::compare("ratelimit:*", (800, hash(71)), None);
    s.findings.push(Finding::violation("content-missing", "the restored instance has no key of ratelimit:*"));
    "one of three key spaces is missing after the restore".clone_into(&mut s.reason);
    s.verdict = s.decide();
    s
}

fn neo4j() -> ScenarioEvidence {
    let mut s = scenario(
        "backup",
        "neo4j",
        &["BK-FULL-NEO"],
        "Neo4j: full backup, restored into a new instance",
        "What is restored is what was backed up.",
        400.0,
    );
    s.verdict = Verdict::NotEvidenced;
    "the image cannot back up online (capability backup=no); an Enterprise image of version 5 can".clone_into(&mut s.reason);
    s
}

fn backup(database: &str, clause: &str, name: &str, objects: &[(&str, u64)]) -> ScenarioEvidence {
    let title = format!("{name}: full backup, everything destroyed, restored elsewhere");
    let goal = "What is restored into a new cluster with other credentials is, object by object, what was backed up; and the new cluster asks for TLS and a password as the old one did.";
    let mut s = scenario("backup", database, &[clause], &title, goal, 41_300.0);
    s.method = strings(&[
        "back up with the engine's own means",
        "hash every object's content in a canonical order",
        "destroy cluster and volumes",
        "restore into a new cluster with other credentials",
        "hash again and compare; probe TLS and authentication",
    ]);
    s.does_not_show = strings(&["increments, point in time, or a backup that is damaged on its way"]);
    s.objective = Objective::new("Restored within 120 s, every object equal.", vec![NamedLimit::at_most("restore_time", 120_000.0, "ms")]);
    s.measured = vec![
        Measured::new("backup_time", Some(6_420.0), "ms"),
        Measured::new("backup_size", Some(18_400_512.0), "bytes"),
        s.objective.measure("restore_time", Some(19_750.0), "ms"),
    ];
    let row = |(index, (object, count)): (usize, &(&str, u64))| {
        let hash = hash(count + index as u64);
        ContentRow::compare(*object, (*count, hash.clone()), Some((*count, hash)))
    };
    s.contents = objects.iter().enumerate().map(row).collect();
    "every object is equal".clone_into(&mut s.reason);
    s.verdict = s.decide();
    s
}
