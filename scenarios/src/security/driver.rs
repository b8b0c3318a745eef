//! Probes every client port with every protocol version, with plaintext, and with clients that must refuse.

use std::{net::Ipv4Addr, time::Duration};

use dora_harness::{
    fault::SlowLink,
    patience::stretched,
    security::{Handshake, TlsProber, TlsVersion},
};
use dora_reports::evidence::{Finding, NamedLimit, ProbeCell, ProbeMatrix, ProbeRow};
use tokio::time::timeout;

use super::{Listener, TlsTarget};
use crate::{ScenarioError, Trial, defect::under_defect};

/// A loopback address that no certificate of the run names; 127.0.0.1 is in all of them.
const UNNAMED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// A client that has neither connected nor failed by then was not answered.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);

const ACCEPTED: &str = "accepted";
const REFUSED: &str = "refused";
/// What is neither begins with this.
const UNDECIDED: &str = "not decided";
/// Words of clients that ran out of time or met nobody. A server that refuses answers or closes.
const NO_ANSWER: [&str; 9] = [
    "timed out",
    "TimedOut",
    "deadline has elapsed",
    "no answer within",
    "nothing within",
    " in time",
    "Server selection timeout",
    "Connection refused",
    "No route to host",
];

/// The scenario: see the module.
///
/// # Errors
/// [`ScenarioError`] when it cannot be carried out; what it finds is in the trial.
pub async fn client_port(trial: &Trial, target: &dyn TlsTarget) -> Result<(), ScenarioError> {
    trial.promise_limits(
        "every client port accepts TLS 1.3 and nothing older, no plaintext; the client refuses a foreign authority and a wrong name",
        vec![NamedLimit::at_most("wrongly_accepted", 0.0, "probes"), NamedLimit::at_most("wrongly_refused", 0.0, "probes")],
    );
    under_defect(trial, |id| target.sabotage(id), |id| target.undo_sabotage(id), Box::pin(probe_all(trial, target))).await
}

async fn probe_all(trial: &Trial, target: &dyn TlsTarget) -> Result<(), ScenarioError> {
    let prober = trial.platform().prober(trial.ground()).await?;
    let listeners = target.listeners().await?;
    let mut columns: Vec<String> = TlsVersion::ALL.iter().map(|version| version.name().to_owned()).collect();
    columns.extend(["plaintext", "own authority", "foreign authority", "right name", "wrong name"].map(ToOwned::to_owned));
    let mut rows = Vec::new();
    for listener in &listeners {
        trial.note("probe", format!("{}:{}", listener.node.name(), listener.port));
        let cells = probe(trial, target, &prober, listener).await?;
        judge(trial, listener, &columns, &cells);
        rows.push(ProbeRow { name: format!("{}:{}", listener.node.name(), listener.port), cells: cells.into_iter().map(Some).collect() });
    }
    let cells = || rows.iter().flat_map(|row| row.cells.iter().flatten());
    let wrong =
        |expected: &str, observed: &str| cells().filter(|cell| cell.expected == expected && cell.observed == observed).count() as f64;
    trial.measure("wrongly_accepted", Some(wrong(REFUSED, ACCEPTED)), "probes");
    trial.measure("wrongly_refused", Some(wrong(ACCEPTED, REFUSED)), "probes");
    trial.measure("probes", Some(cells().count() as f64), "probes");
    trial.matrix(ProbeMatrix {
        title: "Client ports: what they accept, and what their client accepts".into(),
        row_heading: "Listener".into(),
        columns,
        rows,
    });
    Ok(())
}

async fn probe(trial: &Trial, target: &dyn TlsTarget, prober: &TlsProber, listener: &Listener) -> Result<Vec<ProbeCell>, ScenarioError> {
    let address = listener.node.socket(listener.port);
    let mut cells = Vec::new();
    for version in TlsVersion::ALL {
        let expected = if version == TlsVersion::V1_3 { ACCEPTED } else { REFUSED };
        let observed = match prober.handshake(listener.node.address(), listener.port, listener.start, version).await? {
            Handshake::Accepted { .. } => ACCEPTED.to_owned(),
            Handshake::Refused { .. } => REFUSED.to_owned(),
            Handshake::Unreachable { reason } => format!("unreachable: {reason}"),
        };
        cells.push(ProbeCell::new(expected, observed));
    }
    let authority = trial.ground().authority().certificate();
    let foreign = trial.ground().foreign_authority().certificate();
    cells.push(ProbeCell::new(REFUSED, observed(target.connect_plaintext(listener)).await));
    cells.push(ProbeCell::new(ACCEPTED, observed(target.connect(listener, address, authority)).await));
    cells.push(ProbeCell::new(REFUSED, observed(target.connect(listener, address, foreign)).await));
    // Two forwarders of the same kind, so that only the name differs: 127.0.0.1 is in the certificate, 127.0.0.2 is not.
    let named = SlowLink::open(address, Duration::ZERO).await?;
    cells.push(ProbeCell::new(ACCEPTED, observed(target.connect(listener, named.address(), authority)).await));
    let unnamed = SlowLink::open_at(UNNAMED, address, Duration::ZERO).await?;
    let mut wrong_name = observed(target.connect(listener, unnamed.address(), authority)).await;
    // Every refusal has to stand between two handshakes that the same port accepted; this is the last one's second.
    if wrong_name == REFUSED {
        let afterwards = observed(target.connect(listener, named.address(), authority)).await;
        if afterwards != ACCEPTED {
            wrong_name = format!("{UNDECIDED}: afterwards the right name was {afterwards}");
        }
    }
    cells.push(ProbeCell::new(REFUSED, wrong_name));
    Ok(cells)
}

async fn observed(attempt: impl Future<Output = Result<(), String>>) -> String {
    let limit = stretched(CONNECT_LIMIT);
    match timeout(limit, attempt).await {
        Ok(Ok(())) => ACCEPTED.to_owned(),
        Ok(Err(words)) => failure(&words),
        Err(_elapsed) => format!("{UNDECIDED}: nothing within {} s", limit.as_secs()),
    }
}

/// A client's error: a refusal, unless it says that nobody answered.
fn failure(words: &str) -> String {
    if NO_ANSWER.iter().any(|part| words.contains(part)) { format!("{UNDECIDED}: {words}") } else { REFUSED.to_owned() }
}

fn judge(trial: &Trial, listener: &Listener, columns: &[String], cells: &[ProbeCell]) {
    let place = format!("{}:{}", listener.node.name(), listener.port);
    for (column, cell) in columns.iter().zip(cells).filter(|(_, cell)| !cell.ok) {
        let id = match (column.as_str(), cell.expected.as_str(), cell.observed.as_str()) {
            (_, _, observed) if observed.starts_with(UNDECIDED) => "not-decided",
            (_, _, observed) if observed != ACCEPTED && observed != REFUSED => "port-unreachable",
            ("TLS 1.2" | "TLS 1.1" | "TLS 1.0", _, _) => "old-tls-accepted",
            ("plaintext", _, _) => "plaintext-accepted",
            ("foreign authority", _, _) => "foreign-authority-accepted",
            ("wrong name", _, _) => "wrong-name-accepted",
            _ => "tls-1-3-refused",
        };
        let message = format!("{place}: {column} was {} and should have been {}", cell.observed, cell.expected);
        let unclear = ["not-decided", "port-unreachable"].contains(&id);
        let finding = if unclear { Finding::unconfirmed(id, message) } else { Finding::violation(id, message) };
        trial.find(finding);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_is_a_refusal() {
        for words in ["invalid peer certificate: UnknownIssuer", "Connection reset by peer (os error 104)", "FATAL: SSL required"] {
            assert_eq!(failure(words), REFUSED);
        }
        for words in
            ["no answer within 5.0 s", "no log-in at 198.18.0.9:7687 in time", "Connection refused (os error 111)", "operation timed out"]
        {
            assert!(failure(words).starts_with(UNDECIDED), "{words}");
        }
    }
}
