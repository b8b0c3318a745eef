//! Whether exactly the allowed ports answered.

use std::collections::BTreeSet;

use dora_harness::network::seat::Answer;
use dora_reports::evidence::{Finding, ProbeCell, ProbeMatrix, ProbeRow};

use super::look::{Port, Seen};
use crate::Trial;

const ANSWERS: &str = "answers";
const FILTERED: &str = "filtered";

fn words(answer: Answer) -> &'static str {
    match answer {
        Answer::Answered => ANSWERS,
        Answer::Silent => FILTERED,
        Answer::Refused => "refused aloud",
        Answer::NoRoute => "no way there",
    }
}

fn expected(port: &Port, zone: &str) -> &'static str {
    if port.allowed.contains(zone) { ANSWERS } else { FILTERED }
}

/// Without rules every listening port has to answer from every zone: else a later silence would not be the rules' doing.
pub(super) fn control(trial: &Trial, before: &Seen) {
    let mut unreached = Vec::new();
    for zone in before.zones() {
        unreached.extend(
            before
                .ports()
                .iter()
                .filter(|port| before.answer(zone, port) != Answer::Answered)
                .map(|port| format!("{} from {zone}: {}", port.name(), words(before.answer(zone, port)))),
        );
    }
    trial.measure("answered_without_rules", Some((before.zones().len() * before.ports().len() - unreached.len()) as f64), "probes");
    if !unreached.is_empty() {
        let message =
            format!("{} listening ports do not answer before there is any rule, so their silence proves nothing", unreached.len());
        trial.find(Finding::unconfirmed("no-control", message).with_witness(unreached.join("\n")));
    }
}

/// Compares what was seen with the policy, and fills the matrix. `after` are the ports as they are once all was looked at.
pub(super) fn exactly_the_allowed(trial: &Trial, ports: &[Port], seen: &Seen, after: &[Port]) {
    let unprotected = unprotected(ports, seen);
    for node in &unprotected {
        let message = format!("{node}: every listening port answers from every zone, so no rule is in force there");
        trial.find(Finding::violation("node-unprotected", message));
    }
    for port in ports.iter().filter(|port| port.is_listening && !port.is_known) {
        let message = format!("{} listens, and the policy does not know the port", port.name());
        trial.find(Finding::violation("listener-not-in-policy", message));
    }
    for zone in seen.zones() {
        let wrong = ports.iter().filter(|port| words(seen.answer(zone, port)) != expected(port, zone));
        for port in wrong.filter(|port| !unprotected.contains(port.node.name())) {
            trial.find(finding(zone, port, seen.answer(zone, port)));
        }
    }
    still_listening(trial, ports, after);
    measure(trial, seen);
    matrix(trial, ports, seen);
}

fn finding(zone: &str, port: &Port, answer: Answer) -> Finding {
    let what = format!("{} from {zone}: {} instead of {}", port.name(), words(answer), expected(port, zone));
    match answer {
        // A reset or a router's word tells an outsider that there is a machine, and is not what the rules do.
        _ if !port.allowed.contains(zone) && answer != Answer::Answered => Finding::violation("refused-for-another-reason", what),
        _ if !port.allowed.contains(zone) => Finding::violation(format!("{zone}-reaches-too-much"), what),
        _ if !port.is_listening => Finding::violation("nobody-listens", format!("{what}; no process listens there")),
        _ => Finding::violation("allowed-port-silent", what),
    }
}

/// The nodes on which every listening port answers from every zone, although the policy refuses some.
fn unprotected(ports: &[Port], seen: &Seen) -> BTreeSet<String> {
    let names: BTreeSet<&str> = ports.iter().map(|port| port.node.name()).collect();
    let is_open = |name: &&&str| {
        let mut listening = ports.iter().filter(|port| port.node.name() == **name && port.is_listening).peekable();
        listening.peek().is_some()
            && listening.all(|port| seen.zones().iter().all(|zone| seen.answer(zone, port) == Answer::Answered))
            && ports.iter().any(|port| port.node.name() == **name && port.is_listening && port.allowed.len() < seen.zones().len())
    };
    names.iter().filter(is_open).map(|name| (*name).to_owned()).collect()
}

/// A port that was refused must be one on which somebody listens, before and after: silence of a dead port is no rule's merit.
fn still_listening(trial: &Trial, before: &[Port], after: &[Port]) {
    let gone: Vec<String> = before
        .iter()
        .filter(|port| port.is_listening)
        .filter(|port| !after.iter().any(|later| later.address() == port.address() && later.is_listening))
        .map(Port::name)
        .collect();
    if !gone.is_empty() {
        let message = format!("{} listened before and not after, so its silence may be its own", gone.join(", "));
        trial.find(Finding::unconfirmed("listener-gone", message));
    }
}

fn measure(trial: &Trial, seen: &Seen) {
    let cells = || seen.zones().iter().flat_map(|zone| seen.ports().iter().map(move |port| (zone, port)));
    let accepted = cells().filter(|(zone, port)| !port.allowed.contains(*zone) && seen.answer(zone, port) == Answer::Answered).count();
    let refused = cells().filter(|(zone, port)| port.allowed.contains(*zone) && seen.answer(zone, port) != Answer::Answered).count();
    trial.measure("wrongly_accepted", Some(accepted as f64), "probes");
    trial.measure("wrongly_refused", Some(refused as f64), "probes");
    trial.measure("probes", Some(cells().count() as f64), "probes");
}

fn matrix(trial: &Trial, ports: &[Port], seen: &Seen) {
    let mut rows: Vec<ProbeRow> = ports
        .iter()
        .filter(|port| port.is_of_interest())
        .map(|port| ProbeRow {
            name: port.name(),
            cells: seen.zones().iter().map(|zone| Some(ProbeCell::new(expected(port, zone), words(seen.answer(zone, port))))).collect(),
        })
        .collect();
    let sample: Vec<&Port> = ports.iter().filter(|port| !port.is_of_interest()).collect();
    let of_sample = |zone: &String| {
        let loud = sample.iter().find(|port| seen.answer(zone, port) != Answer::Silent);
        let observed = loud.map_or_else(|| FILTERED.to_owned(), |port| format!("{} {}", port.name(), words(seen.answer(zone, port))));
        Some(ProbeCell::new(FILTERED, observed))
    };
    rows.push(ProbeRow {
        name: format!("{} further ports, on which nobody listens", sample.len()),
        cells: seen.zones().iter().map(of_sample).collect(),
    });
    trial.matrix(ProbeMatrix {
        title: "Ports as they are met from each zone, the rules in force".into(),
        row_heading: "Port".into(),
        columns: seen.zones().to_vec(),
        rows,
    });
}
