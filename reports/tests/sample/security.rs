use dora_reports::{Finding, Objective, ProbeCell, ProbeMatrix, ProbeRow, Register, ScenarioEvidence};

use super::{scenario, strings};

const COLUMNS: [(&str, &str); 6] = [
    ("TLS 1.3", "accepted"),
    ("TLS 1.2", "refused"),
    ("TLS 1.1", "refused"),
    ("plaintext", "refused"),
    ("foreign CA", "refused by client"),
    ("wrong host name", "refused by client"),
];

pub fn scenarios() -> Vec<ScenarioEvidence> {
    vec![
        tls("postgres", "SEC-TLS-PG", "PostgreSQL", &["pg1:5432", "pg2:5432", "pg3:5432", "pgbouncer:6432"]),
        neo4j(),
        tls("mongodb", "SEC-TLS-MDB", "MongoDB", &["mongo1:27017", "mongo2:27017", "mongo3:27017"]),
        influxdb(),
        tls("redis", "SEC-TLS-RDS", "Redis", &["redis1:6379", "redis2:6379", "sentinel1:26379"]),
        certificates(),
    ]
}

fn certificates() -> ScenarioEvidence {
    let title = "Redis: certificates are exchanged under load";
    let goal = "Every node gets a new certificate while clients work, and the old one is no longer shown.";
    let mut s = scenario("security", "redis", &["SEC-CERT"], title, goal, 12_300.0);
    "security/redis/certificates".clone_into(&mut s.scenario);
    s.does_not_show = strings(&["certificates of people"]);
    s.matrices.push(ProbeMatrix {
        title: "Serial numbers on the wire".to_owned(),
        row_heading: "Listener".to_owned(),
        columns: strings(&["after the exchange"]),
        rows: vec![ProbeRow { name: "redis1:6379".to_owned(), cells: vec![Some(ProbeCell::new("new", "new"))] }],
    });
    s.registers.push(Register {
        title: "Certificates".to_owned(),
        columns: strings(&["Owner", "Serial number", "Expires"]),
        rows: vec![strings(&["redis1", "1f:9c:02", "2026-03-15"]), strings(&["redis2", "1f:9c:03", "2026-03-15"])],
    });
    "every node shows its new certificate".clone_into(&mut s.reason);
    s.verdict = s.decide();
    s
}

fn neo4j() -> ScenarioEvidence {
    let mut s = tls("neo4j", "SEC-TLS-NEO", "Neo4j", &["neo1:7687", "neo2:7687", "neo3:7687", "neo1:7473"]);
    for matrix in &mut s.matrices {
        // The browser port speaks HTTP only: nothing to probe without TLS below it.
        matrix.rows[3].cells[3] = None;
    }
    s
}

fn influxdb() -> ScenarioEvidence {
    let mut s = tls("influxdb", "SEC-TLS-IDB", "InfluxDB", &["influx1:8086", "influx2:8086", "influx3:8086"]);
    for matrix in &mut s.matrices {
        matrix.rows[1].cells[1] = Some(ProbeCell::new("refused", "accepted"));
    }
    s.findings.push(
        Finding::violation("old-protocol-accepted", "influx2 completed a TLS 1.2 handshake on its client port")
            .with_witness("influx2:8086  TLSv1.2  ECDHE-RSA-AES128-GCM-SHA256  handshake complete"),
    );
    "influx2 accepts TLS 1.2".clone_into(&mut s.reason);
    s.verdict = s.decide();
    s
}

fn tls(database: &str, clause: &str, name: &str, endpoints: &[&str]) -> ScenarioEvidence {
    let title = format!("{name}: the client port speaks TLS 1.3 and nothing else");
    let goal = "A client gets in with TLS 1.3 and a certificate of the run's own authority, and with nothing else; and it refuses a server that it cannot verify.";
    let mut s = scenario("security", database, &[clause], &title, goal, 3_800.0);
    s.method = strings(&[
        "each endpoint is probed with six clients that differ in one thing",
        "the handshake's outcome is read, not the library's error text",
    ]);
    s.does_not_show = strings(&["links between the nodes", "cipher suites one by one"]);
    s.objective = Objective { statement: "Every probe ends as the column says.".to_owned(), ..Objective::default() };
    let cell = |(_, expected): &(&str, &str)| Some(ProbeCell::new(*expected, *expected));
    let row = |name: &&str| ProbeRow { name: (*name).to_owned(), cells: COLUMNS.iter().map(cell).collect() };
    s.matrices.push(ProbeMatrix {
        row_heading: "Listener".to_owned(),
        title: format!("Client ports of {name}: what each client got"),
        columns: COLUMNS.iter().map(|(name, _)| (*name).to_owned()).collect(),
        rows: endpoints.iter().map(row).collect(),
    });
    "every probe ended as it should".clone_into(&mut s.reason);
    s.verdict = s.decide();
    s
}
