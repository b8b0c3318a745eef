//! Reading a policy file: what is wrong with one is told with its line.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

use dora_fixtures::assets;
use serde::Deserialize;
use toml::Spanned;

use super::{Policy, Rule, Service, Zone};

/// The policy that is built in.
const STANDARD: &str = "policy/zones.toml";
/// What a node can be: cluster and role, in the topology's words.
const ROLES: [(&str, &str); 14] = [
    ("postgres", "consensus"),
    ("postgres", "server"),
    ("postgres", "pooler"),
    ("neo4j", "core"),
    ("neo4j", "read replica"),
    ("neo4j-community", "single server"),
    ("mongodb", "data node"),
    ("mongodb-psa", "data node"),
    ("mongodb-psa", "arbiter"),
    ("influxdb", "meta and data node"),
    ("influxdb-single", "single node"),
    ("redis", "master or replica"),
    ("redis", "Sentinel"),
    ("redis-cluster", "master or replica of a shard"),
];
/// As [`ROLES`], of the services beside the databases.
const SERVICE_ROLES: [(&str, &str); 1] = [("openbao", "secret store")];
/// Longest name of a zone or service (RFC 1123: a DNS label).
const NAME_MAX: usize = 63;

/// A policy file that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {fault}")]
pub struct PolicyError {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub fault: PolicyFault,
}

/// What is wrong with a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyFault {
    /// Not TOML, or not these fields.
    #[error("{0}")]
    Syntax(String),
    /// A name that nothing has.
    #[error("there is no {what} called `{given}`; known are: {known}")]
    Unknown {
        /// `zone`, `service`, `role of a node`, `port of SERVICE`.
        what: String,
        /// What was given.
        given: String,
        /// All names.
        known: String,
    },
    /// A number that no TCP port has.
    #[error("{0} is no TCP port: ports are 1 to 65535")]
    NoPort(i64),
    /// The same thing is said twice.
    #[error("{what} `{name}` is there already, in line {first_line}")]
    Duplicate {
        /// `zone`, `service`, `port number`, `port`.
        what: &'static str,
        /// Its name.
        name: String,
        /// Where it is first.
        first_line: usize,
    },
    /// Two services for the same nodes, or two rules for the same port.
    #[error("{what} is already covered by line {first_line}; a reader could change one and overlook the other")]
    Overlap {
        /// What both cover.
        what: String,
        /// Where it is first.
        first_line: usize,
    },
    /// A name that a firewall or an orchestrator would not take.
    #[error("`{0}` is no name: use 1 to 63 lowercase letters, digits and inner hyphens")]
    NoName(String),
    /// A text or list that says nothing.
    #[error("{0} must not be empty")]
    Empty(&'static str),
}

/// A policy could not be had from a file.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFileError {
    /// The file cannot be read.
    #[error("failed to read the policy {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The built-in file is missing.
    #[error(transparent)]
    Asset(#[from] assets::AssetError),
    /// What it says is wrong.
    #[error(transparent)]
    Malformed(#[from] PolicyError),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPolicy {
    home: Spanned<String>,
    #[serde(default)]
    zone: Vec<RawZone>,
    #[serde(default)]
    service: Vec<RawService>,
    #[serde(default)]
    rule: Vec<RawRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawZone {
    name: Spanned<String>,
    purpose: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawService {
    name: Spanned<String>,
    cluster: Spanned<String>,
    role: Spanned<String>,
    ports: Spanned<BTreeMap<String, Spanned<i64>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    from: Spanned<String>,
    to: Spanned<String>,
    ports: Spanned<Vec<Spanned<String>>>,
    purpose: Spanned<String>,
}

impl Policy {
    /// The policy that is built in.
    ///
    /// # Errors
    /// [`PolicyFileError`]; the project's tests read it.
    pub fn standard() -> Result<Self, PolicyFileError> {
        Ok(Self::parse(assets::text(STANDARD)?, STANDARD)?)
    }

    /// A policy from a file.
    ///
    /// # Errors
    /// [`PolicyFileError`].
    pub fn read(path: &Path) -> Result<Self, PolicyFileError> {
        let text = std::fs::read_to_string(path).map_err(|source| PolicyFileError::Unreadable { path: path.to_owned(), source })?;
        Ok(Self::parse(&text, &path.display().to_string())?)
    }

    /// A policy from TOML; `file` is only named in errors.
    ///
    /// # Errors
    /// [`PolicyError`]: the first thing that is wrong, with its line.
    pub fn parse(text: &str, file: &str) -> Result<Self, PolicyError> {
        let reading = Reading { text, file };
        let raw: RawPolicy = toml::from_str(text)
            .map_err(|error| reading.at(error.span().unwrap_or_default(), PolicyFault::Syntax(error.message().to_owned())))?;
        let zones = reading.zones(&raw)?;
        let services = reading.services(&raw)?;
        let rules = reading.rules(&raw, &zones, &services)?;
        Ok(Self { home: raw.home.into_inner(), zones, services, rules })
    }
}

/// A file while it is checked.
struct Reading<'a> {
    text: &'a str,
    file: &'a str,
}

/// What was said where, to find it said again.
type Seen<K> = BTreeMap<K, usize>;

impl Reading<'_> {
    fn line(&self, span: Range<usize>) -> usize {
        self.text.as_bytes().iter().take(span.start).filter(|byte| **byte == b'\n').count() + 1
    }

    fn at(&self, span: Range<usize>, fault: PolicyFault) -> PolicyError {
        PolicyError { file: self.file.to_owned(), line: self.line(span), fault }
    }

    /// Notes a key, or says where it was before.
    fn first<K: Ord>(&self, seen: &mut Seen<K>, key: K, span: Range<usize>) -> Result<(), usize> {
        let line = self.line(span);
        match seen.insert(key, line) {
            None => Ok(()),
            Some(earlier) => Err(earlier),
        }
    }

    fn name(&self, name: &Spanned<String>) -> Result<String, PolicyError> {
        let text = name.get_ref();
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if text.is_empty() || text.len() > NAME_MAX || !text.bytes().all(inner) || text.starts_with('-') || text.ends_with('-') {
            return Err(self.at(name.span(), PolicyFault::NoName(text.clone())));
        }
        Ok(text.clone())
    }

    fn filled(&self, text: &Spanned<String>, what: &'static str) -> Result<String, PolicyError> {
        // Also no line break: it becomes a comment in the firewall's ruleset.
        let words = text.get_ref().split_whitespace().collect::<Vec<_>>().join(" ");
        if words.is_empty() { Err(self.at(text.span(), PolicyFault::Empty(what))) } else { Ok(words) }
    }

    fn known(&self, what: &str, given: &Spanned<String>, known: &[&str]) -> Result<String, PolicyError> {
        let text = given.get_ref();
        if known.contains(&text.as_str()) {
            return Ok(text.clone());
        }
        Err(self.at(given.span(), PolicyFault::Unknown { what: what.to_owned(), given: text.clone(), known: known.join(", ") }))
    }

    fn zones(&self, raw: &RawPolicy) -> Result<Vec<Zone>, PolicyError> {
        let (mut zones, mut seen) = (Vec::new(), Seen::new());
        for zone in &raw.zone {
            let name = self.name(&zone.name)?;
            self.first(&mut seen, name.clone(), zone.name.span())
                .map_err(|first_line| self.at(zone.name.span(), PolicyFault::Duplicate { what: "zone", name: name.clone(), first_line }))?;
            zones.push(Zone { name, purpose: self.filled(&zone.purpose, "a zone's purpose")? });
        }
        self.known("zone", &raw.home, &names(&zones, |zone| &zone.name))?;
        Ok(zones)
    }

    fn services(&self, raw: &RawPolicy) -> Result<Vec<Service>, PolicyError> {
        let (mut services, mut seen, mut roles) = (Vec::new(), Seen::new(), Seen::new());
        for service in &raw.service {
            let name = self.name(&service.name)?;
            self.first(&mut seen, name.clone(), service.name.span()).map_err(|first_line| {
                self.at(service.name.span(), PolicyFault::Duplicate { what: "service", name: name.clone(), first_line })
            })?;
            let role = (service.cluster.get_ref().clone(), service.role.get_ref().clone());
            if !ROLES.iter().chain(&SERVICE_ROLES).any(|(cluster, known)| (*cluster, *known) == (role.0.as_str(), role.1.as_str())) {
                let known = ROLES.iter().chain(&SERVICE_ROLES).map(|(cluster, role)| format!("{cluster}/{role}"));
                let (given, known) = (format!("{}/{}", role.0, role.1), known.collect::<Vec<_>>().join(", "));
                return Err(self.at(service.role.span(), PolicyFault::Unknown { what: "role of a node".into(), given, known }));
            }
            let what = format!("{} of {}", role.1, role.0);
            self.first(&mut roles, role.clone(), service.role.span())
                .map_err(|first_line| self.at(service.role.span(), PolicyFault::Overlap { what, first_line }))?;
            services.push(Service { name, cluster: role.0, role: role.1, ports: self.ports(service)? });
        }
        Ok(services)
    }

    fn ports(&self, service: &RawService) -> Result<BTreeMap<String, u16>, PolicyError> {
        let (mut ports, mut seen) = (BTreeMap::new(), Seen::new());
        if service.ports.get_ref().is_empty() {
            return Err(self.at(service.ports.span(), PolicyFault::Empty("a service's list of ports")));
        }
        for (name, number) in service.ports.get_ref() {
            let port = u16::try_from(*number.get_ref()).ok().filter(|port| *port > 0);
            let port = port.ok_or_else(|| self.at(number.span(), PolicyFault::NoPort(*number.get_ref())))?;
            self.first(&mut seen, port, number.span()).map_err(|first_line| {
                self.at(number.span(), PolicyFault::Duplicate { what: "port number", name: port.to_string(), first_line })
            })?;
            ports.insert(name.clone(), port);
        }
        Ok(ports)
    }

    fn rules(&self, raw: &RawPolicy, zones: &[Zone], services: &[Service]) -> Result<Vec<Rule>, PolicyError> {
        let (mut rules, mut seen) = (Vec::new(), Seen::new());
        for rule in &raw.rule {
            let from = self.known("zone", &rule.from, &names(zones, |zone| &zone.name))?;
            let to = self.known("service", &rule.to, &names(services, |service| &service.name))?;
            let ports: Vec<&str> =
                services.iter().filter(|service| service.name == to).flat_map(|service| service.ports.keys().map(String::as_str)).collect();
            if rule.ports.get_ref().is_empty() {
                return Err(self.at(rule.ports.span(), PolicyFault::Empty("a rule's list of ports")));
            }
            let mut named = Vec::new();
            for port in rule.ports.get_ref() {
                let name = self.known(&format!("port of {to}"), port, &ports)?;
                self.first(&mut seen, (from.clone(), to.clone(), name.clone()), port.span()).map_err(|first_line| {
                    let what = format!("port {name} of {to} from {from}");
                    self.at(port.span(), PolicyFault::Overlap { what, first_line })
                })?;
                named.push(name);
            }
            rules.push(Rule { from, to, ports: named, purpose: self.filled(&rule.purpose, "a rule's purpose")? });
        }
        Ok(rules)
    }
}

fn names<T>(all: &[T], name: impl Fn(&T) -> &String) -> Vec<&str> {
    all.iter().map(|each| name(each).as_str()).collect()
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} → {} {}: {}", self.from, self.to, self.ports.join(", "), self.purpose)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"home = "data"
[[zone]]
name = "data"
purpose = "nodes"
[[zone]]
name = "application"
purpose = "services"
[[service]]
name = "redis"
cluster = "redis"
role = "master or replica"
ports = { client = 6379, other = 6380 }
[[rule]]
from = "application"
to = "redis"
ports = ["client"]
purpose = "reads and writes"
"#;

    #[test]
    fn the_built_in_policy_is_one_and_covers_every_role() {
        let policy = Policy::standard().unwrap();
        assert_eq!(names(&policy.zones, |zone| &zone.name), ["application", "data", "admin", "backup", "region-2"]);
        for (cluster, role) in ROLES.iter().chain(&SERVICE_ROLES) {
            let service = policy.services.iter().find(|service| service.cluster == *cluster && service.role == *role);
            assert!(service.is_some(), "{role} of {cluster} has no service");
        }
    }

    #[test]
    fn a_good_policy_is_read() {
        let policy = Policy::parse(GOOD, "zones.toml").unwrap();
        let redis = &policy.services[0];
        assert!(policy.allows("application", redis, 6379));
        assert!(!policy.allows("application", redis, 6380));
        assert!(!policy.allows("data", redis, 6379));
    }

    /// Each of these changes, the line that is named and words of the message.
    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let again = "[[rule]]\nfrom = \"application\"\nto = \"redis\"\nports = [\"client\"]\npurpose = \"again\"\n";
        let twin = "[[service]]\nname = \"twin\"\ncluster = \"redis\"\nrole = \"master or replica\"\nports = { a = 1 }\n";
        let cases: [(&str, String, usize, &str); 18] = [
            ("no TOML", GOOD.replace("home = ", "home "), 1, "="),
            ("unknown field", GOOD.replace("purpose = \"nodes\"", "porpoise = \"nodes\""), 4, "unknown field"),
            ("missing field", GOOD.replace("purpose = \"reads and writes\"\n", ""), 13, "missing field `purpose`"),
            ("wrong type", GOOD.replace("[\"client\"]", "\"client\""), 16, "expected"),
            ("unknown home", GOOD.replace("home = \"data\"", "home = \"cellar\""), 1, "no zone called `cellar`"),
            ("unknown zone", GOOD.replace("from = \"application\"", "from = \"applications\""), 14, "known are: data, application"),
            ("unknown service", GOOD.replace("to = \"redis\"", "to = \"rediss\""), 15, "no service called `rediss`"),
            ("unknown cluster", GOOD.replace("cluster = \"redis\"", "cluster = \"valkey\""), 11, "valkey/master or replica"),
            ("unknown role", GOOD.replace("role = \"master", "role = \"mister"), 11, "no role of a node called"),
            ("unknown port", GOOD.replace("[\"client\"]", "[\"client\", \"bus\"]"), 16, "no port of redis called `bus`"),
            ("port too large", GOOD.replace("6380", "65536"), 12, "65536 is no TCP port"),
            ("port zero", GOOD.replace("6380", "0"), 12, "0 is no TCP port"),
            ("port twice", GOOD.replace("6380", "6379"), 12, "port number `6379` is there already, in line 12"),
            ("zone twice", GOOD.replace("name = \"application\"", "name = \"data\""), 6, "zone `data` is there already, in line 3"),
            ("roles overlap", GOOD.replace("[[rule]]", &format!("{twin}[[rule]]")), 16, "covered by line 11"),
            ("rules overlap", format!("{GOOD}{again}"), 21, "port client of redis from application is already covered by line 16"),
            ("no name", GOOD.replace("name = \"redis\"", "name = \"Redis server\""), 9, "is no name"),
            ("no purpose", GOOD.replace("\"reads and writes\"", "\" \""), 17, "must not be empty"),
        ];
        for (what, text, line, words) in cases {
            let error = Policy::parse(&text, "zones.toml").expect_err(what);
            assert_eq!((error.file.as_str(), error.line), ("zones.toml", line), "{what}: {error}");
            assert!(error.to_string().contains(words), "{what}: {error}");
        }
    }
}
