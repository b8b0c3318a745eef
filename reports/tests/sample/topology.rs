use std::collections::BTreeMap;

use dora_reports::{BootSpan, ExceptionEvidence, ImageUsed, NodeEvidence, TopologyEvidence};

pub fn images() -> Vec<ImageUsed> {
    let image = |name: &str, version: &str, licence: &str, capabilities: &[(&str, &str)]| ImageUsed {
        name: name.to_owned(),
        reference: format!("dora/{name}:{}", &super::hash(version.len() as u64)[..12]),
        version: version.to_owned(),
        licence: licence.to_owned(),
        capabilities: capabilities.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>(),
    };
    vec![
        image("postgres", "17.6", "PostgreSQL", &[("patroni", "4.1.0"), ("pgbackrest", "2.56"), ("ssl", "yes")]),
        image("etcd", "3.6.5", "Apache-2.0", &[("etcd", "3.6.5")]),
        image("neo4j-cluster", "4.2.19", "AGPL-3.0-only", &[("edition", "enterprise"), ("cluster", "causal")]),
        image("mongodb", "8.0.15", "SSPL-1.0", &[("mongod", "8.0.15"), ("mongos", "no")]),
        image("influxdb", "1.8.10", "MIT", &[("cluster", "yes")]),
        image("redis", "8.0.2", "AGPL-3.0-only", &[("acl", "yes"), ("sentinel", "yes"), ("tls", "yes")]),
    ]
}

pub fn topology() -> TopologyEvidence {
    let mut nodes = Vec::new();
    let mut boot = Vec::new();
    let mut add = |name: &str, cluster: &str, role: &str, memory_mib: u64, phases: &[(&str, f64, Option<&str>)]| {
        let mut start_ms = 350.0 + nodes.len() as f64 * 120.0;
        for (phase, end_ms, waited_for) in phases {
            boot.push(BootSpan {
                node: name.to_owned(),
                phase: (*phase).to_owned(),
                start_ms,
                end_ms: *end_ms,
                waited_for: waited_for.map(str::to_owned),
            });
            start_ms = *end_ms;
        }
        let image = match cluster {
            "postgres" if name.starts_with("etcd") => "etcd",
            "neo4j" => "neo4j-cluster",
            other => other,
        };
        nodes.push(NodeEvidence {
            name: name.to_owned(),
            cluster: cluster.to_owned(),
            role: role.to_owned(),
            image: image.to_owned(),
            address: format!("198.18.7.{}", 10 + nodes.len()),
            memory_limit_bytes: (memory_mib > 0).then_some(memory_mib << 20),
        });
    };
    for (name, role, end) in [("neo1", "leader", 33_100.0), ("neo2", "follower", 33_900.0), ("neo3", "follower", 34_200.0)] {
        add(
            name,
            "neo4j",
            role,
            900,
            &[("create", 1_900.0, None), ("start", 17_500.0, None), ("join", end, Some(if name == "neo1" { "neo3" } else { "neo1" }))],
        );
    }
    add("neo4", "neo4j", "read replica", 700, &[("create", 2_100.0, None), ("start", 19_000.0, None), ("join", 38_700.0, Some("neo1"))]);
    for (name, role) in [("etcd1", "leader"), ("etcd2", "follower"), ("etcd3", "follower")] {
        add(name, "postgres", role, 96, &[("create", 2_600.0, None), ("start", 5_200.0, None)]);
    }
    add("pg1", "postgres", "primary", 384, &[("create", 3_100.0, None), ("wait", 5_200.0, Some("etcd1")), ("start", 12_800.0, None)]);
    add("pg2", "postgres", "sync standby", 384, &[("create", 3_200.0, None), ("wait", 12_800.0, Some("pg1")), ("start", 17_900.0, None)]);
    add("pg3", "postgres", "standby", 384, &[("create", 3_300.0, None), ("wait", 12_800.0, Some("pg1")), ("start", 18_600.0, None)]);
    for (name, role, end) in [("mongo1", "primary", 14_000.0), ("mongo2", "secondary", 16_400.0), ("mongo3", "secondary", 16_400.0)] {
        add(
            name,
            "mongodb",
            role,
            512,
            &[("create", 3_700.0, None), ("start", 9_900.0, None), ("join", end, (name != "mongo1").then_some("mongo1"))],
        );
    }
    for name in ["influx1", "influx2", "influx3"] {
        add(name, "influxdb", "data", 320, &[("create", 4_100.0, None), ("start", 11_300.0, None)]);
    }
    add("redis1", "redis", "master", 64, &[("create", 4_500.0, None), ("start", 5_100.0, None)]);
    add("redis2", "redis", "replica", 64, &[("create", 4_600.0, None), ("start", 6_300.0, Some("redis1"))]);
    add("sentinel1", "redis", "sentinel", 0, &[("create", 4_700.0, None), ("start", 7_000.0, Some("redis1"))]);
    TopologyEvidence {
        nodes,
        exceptions: vec![ExceptionEvidence {
            subject: "influx1 → influx2".to_owned(),
            clause: "SEC-TLS-LINKS".to_owned(),
            what: "replication between the data nodes ends TLS in a sidecar, not in the server".to_owned(),
            why: "the server's cluster protocol has no TLS of its own".to_owned(),
        }],
        boot,
        ready_ms: Some(38_700.0),
        peak_memory_bytes: Some(4_812 << 20),
    }
}
