//! The security section: tables of all databases by topic, so that an auditor reads one thing at a time.

use serde::Serialize;

use crate::evidence::ScenarioEvidence;

/// The last part of a scenario's id, and what it is about, in the order of the section.
const TOPICS: [(&str, &str); 9] = [
    ("listeners", "Listeners"),
    ("links", "Links between nodes"),
    ("mesh", "Mutual authentication of services"),
    ("at-rest", "Encryption at rest"),
    ("keys", "Keys and secrets"),
    ("certificates", "Certificates"),
    ("roles", "Roles and their rights"),
    ("mechanism", "How identities are proven"),
    ("zones", "Network zones"),
];
/// Scenarios `security/DATABASE` without a case probe the ports that clients connect to.
const CLIENT_PORTS: &str = "Client ports";
/// Cases without a heading of their own.
const OTHERS: &str = "Further probes";

/// Scenarios about one thing that have something to look up.
#[derive(Debug, Serialize)]
pub(super) struct Topic<'a> {
    name: &'static str,
    scenarios: Vec<&'a ScenarioEvidence>,
}

/// The heading below which the section shows the scenario's tables.
pub(super) fn topic_of(scenario: &ScenarioEvidence) -> Option<&'static str> {
    if scenario.pillar != "security" || (scenario.matrices.is_empty() && scenario.registers.is_empty()) {
        return None;
    }
    let case = scenario.scenario.splitn(3, '/').nth(2);
    Some(case.map_or(CLIENT_PORTS, |case| TOPICS.iter().find(|(known, _)| *known == case).map_or(OTHERS, |(_, name)| name)))
}

/// All topics that have something to show, in the order of the section.
pub(super) fn topics<'a>(scenarios: &[&'a ScenarioEvidence]) -> Vec<Topic<'a>> {
    let headings = std::iter::once(CLIENT_PORTS).chain(TOPICS.iter().map(|(_, name)| *name)).chain([OTHERS]);
    let topic = |name| Topic { name, scenarios: scenarios.iter().copied().filter(|scenario| topic_of(scenario) == Some(name)).collect() };
    headings.map(topic).filter(|topic| !topic.scenarios.is_empty()).collect()
}
