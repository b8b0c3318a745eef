use dora_reports::ClauseEvidence;

use super::strings;

#[expect(clippy::too_many_lines, reason = "a table, one row a clause")]
pub fn clauses() -> Vec<ClauseEvidence> {
    let mut clauses = Vec::new();
    let mut add = |family: &str, id: &str, title: &str, shows: &str, refs: &[&str], scenarios: &[&str]| {
        clauses.push(ClauseEvidence {
            id: id.to_owned(),
            family: family.to_owned(),
            title: title.to_owned(),
            shows: shows.to_owned(),
            refs: strings(refs),
            scenarios: strings(scenarios),
            ..ClauseEvidence::default()
        });
    };
    add(
        "roles",
        "ROLE-PG",
        "PostgreSQL is the transactional store of record",
        "The schema loads, rows that violate it are refused, a transaction over several tables is atomic under a crash.",
        &["DORA 7", "DORA 9(2)"],
        &[],
    );
    let failover = &["DORA 11(6)", "DORA 12(4)", "RTS 25(2)(c)"];
    add(
        "ha",
        "HA-PG-1",
        "streaming replication and hot standby",
        "A standby reads, refuses writes, and catches up after a pause.",
        &["DORA 12(4)", "RTS 26(2)(a)"],
        &[],
    );
    add(
        "ha",
        "HA-PG-3",
        "automatic failover with Patroni",
        "No acknowledged write is lost and there are never two writable primaries.",
        failover,
        &["ha/postgres"],
    );
    add("ha", "HA-NEO-1", "core servers and read replicas", "A new leader, and no acknowledged write lost.", failover, &["ha/neo4j"]);
    add(
        "ha",
        "HA-MDB-1",
        "replica set of primary, secondary and arbiter",
        "Majority writes survive a failover.",
        failover,
        &["ha/mongodb"],
    );
    add(
        "ha",
        "HA-IDB-1",
        "clustering of meta and data nodes",
        "Quorum writes go on and hinted handoff fills the node.",
        &["DORA 12(4)"],
        &["ha/influxdb"],
    );
    add(
        "ha",
        "HA-RDS-1",
        "automatic failover with Sentinel",
        "The loss of acknowledged writes is bounded and clients follow.",
        failover,
        &["ha/redis"],
    );
    for (id, database) in [("PG", "postgres"), ("NEO", "neo4j"), ("MDB", "mongodb"), ("IDB", "influxdb"), ("RDS", "redis")] {
        let scenario = format!("security/{database}");
        add(
            "security",
            &format!("SEC-TLS-{id}"),
            "TLS 1.3 for every client connection",
            "1.3 accepted, everything older and plaintext refused, chain and host name verified.",
            &["DORA 9(3)", "RTS 14(1)"],
            &[&scenario],
        );
    }
    add(
        "security",
        "SEC-KMS",
        "keys and secrets come from Vault",
        "A sealed server stops no running database, and a restart cannot read its key.",
        &["DORA 9(4)(d)", "RTS 7"],
        &[],
    );
    add(
        "security",
        "SEC-CERT",
        "certificates rotate automatically",
        "Exchanged under load; expired and revoked ones are refused; a register of all of them.",
        &["RTS 7(4)-(5)"],
        &["security/redis/certificates"],
    );
    let slo: Vec<_> = ["postgres", "neo4j", "mongodb", "influxdb", "redis"].map(|db| format!("performance/{db}")).into();
    let slo: Vec<_> = slo.iter().map(String::as_str).collect();
    add(
        "performance",
        "PERF-SLO",
        "throughput and latency objectives per database and workload",
        "Open-loop load, latency from the scheduled start.",
        &["DORA 7", "DORA 25(1)"],
        &slo,
    );
    for (id, database) in [("PG", "postgres"), ("NEO", "neo4j"), ("MDB", "mongodb"), ("IDB", "influxdb"), ("RDS", "redis")] {
        let scenario = format!("backup/{database}");
        add(
            "backup",
            &format!("BK-FULL-{id}"),
            "full backup",
            "Restored into an empty, segregated instance, every object's content hash is equal.",
            &["DORA 12(1)–(3)"],
            &[&scenario],
        );
    }
    add(
        "monitoring",
        "MON-METRIC",
        "response times, throughput, uptime, resource use and lag",
        "Each metric is scraped from the real node and moves when its cause moves.",
        &["DORA 10(1)"],
        &[],
    );
    clauses
}
