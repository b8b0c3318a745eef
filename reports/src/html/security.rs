//! The security section: tables of all databases by topic, so that an auditor reads one thing at a time.

use serde::Serialize;

use crate::evidence::ScenarioEvidence;

/// Headings in their order, and the cases that belong there: each by its name or, where it ends with a hyphen, by its beginning.
const TOPICS: [(&str, &[&str]); 9] = [
    ("Listeners", &["listeners"]),
    ("Links between nodes", &["links"]),
    ("Mutual authentication of services", &["mesh"]),
    ("Encryption at rest", &["at-rest", "storage"]),
    ("Keys and secrets", &["dynamic-credentials", "rotated-passwords", "transit", "secret-search", "sealed", "leader-lost"]),
    ("Certificates", &["certificates", "certificates-", "expired-authority"]),
    ("Roles and their rights", &["roles"]),
    ("How identities are proven", &["mechanism", "directory"]),
    ("Network zones", &["zones"]),
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
    let belongs = |case: &str, known: &str| case == known || (known.ends_with('-') && case.starts_with(known));
    let heading = |case: &str| TOPICS.iter().find(|(_, cases)| cases.iter().any(|known| belongs(case, known))).map(|(name, _)| *name);
    Some(case.map_or(CLIENT_PORTS, |case| heading(case).unwrap_or(OTHERS)))
}

/// All topics that have something to show, in the order of the section.
pub(super) fn topics<'a>(scenarios: &[&'a ScenarioEvidence]) -> Vec<Topic<'a>> {
    let headings = std::iter::once(CLIENT_PORTS).chain(TOPICS.iter().map(|(name, _)| *name)).chain([OTHERS]);
    let topic = |name| Topic { name, scenarios: scenarios.iter().copied().filter(|scenario| topic_of(scenario) == Some(name)).collect() };
    headings.map(topic).filter(|topic| !topic.scenarios.is_empty()).collect()
}
