//! The domain roles as accounts of every core, with the engine's own roles.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use dora_fixtures::{
    Store, assets, queries,
    roles::{DomainRole, Probe},
};
use dora_harness::{
    database::neo4j::{CausalCluster, USER},
    topology::Node,
};
use dora_reports::evidence::Finding;

use super::endpoint::{Endpoint, Outcome};
use crate::{
    ScenarioError, Trial,
    security::identity::{Credentials, RoleSession, RoleTarget, Seen},
};

const REFUSED: &str = "Neo.ClientError.Security.Forbidden";
/// A follower's answer to a write that it would have let pass.
const NOT_A_LEADER: &str = "Neo.ClientError.Cluster.NotALeader";
/// What is to be removed is not there.
const ABSENT: &str = "Neo.ClientError.General.InvalidArguments";

/// The engine's roles of each account.
type Granted = BTreeMap<String, BTreeSet<String>>;

pub struct Neo4jRoles {
    cluster: Arc<CausalCluster>,
    authority: String,
    credentials: Credentials,
}

impl Neo4jRoles {
    pub async fn of(trial: &Trial) -> Result<Self, ScenarioError> {
        let missing =
            || ScenarioError::Missing("there is no Neo4j cluster in this profile: the single server's edition has no roles".into());
        let cluster = trial.platform().neo4j.cluster.get().await.ok_or_else(missing)?;
        Ok(Self { cluster, authority: trial.ground().authority().certificate().to_owned(), credentials: Credentials::generate() })
    }

    fn owner(&self, node: &Node) -> Result<Endpoint, ScenarioError> {
        Endpoint::new(node, &self.authority, Some((USER, self.cluster.password())))
            .map_err(|reason| ScenarioError::client("set a client up", reason))
    }

    /// Runs the statements at these members.
    async fn apply(&self, members: &[Node], script: &str, may_be_absent: bool) -> Result<(), ScenarioError> {
        for member in members {
            let owner = self.owner(member)?;
            for statement in queries::statements(script) {
                match owner.run(statement).await {
                    Outcome::Done(_) => {}
                    Outcome::Refused { code, .. } if may_be_absent && code == ABSENT => {}
                    // The words would repeat a password of the statement at most as the server does, which does not.
                    Outcome::Refused { code, message } => {
                        return Err(ScenarioError::client(format!("set roles at {}", member.name()), format!("{code}: {message}")));
                    }
                    Outcome::Broken(words) => return Err(ScenarioError::client(format!("set roles at {}", member.name()), words)),
                }
            }
        }
        Ok(())
    }

    /// The last core that does not lead.
    async fn follower(&self) -> Result<&Node, ScenarioError> {
        let leader = self.cluster.leader().await.map_err(|error| ScenarioError::client("find a follower", error))?;
        let follower = self.cluster.cores().iter().rfind(|core| core.name() != leader.name());
        follower.ok_or_else(|| ScenarioError::Missing("the cluster has one core".into()))
    }

    /// What a core says that the accounts may do there.
    async fn granted_at(&self, core: &Node) -> Result<Granted, ScenarioError> {
        let mut rows = Vec::new();
        for statement in queries::statements(assets::text("roles/neo4j/granted.cypher")?) {
            match self.owner(core)?.run(statement).await {
                Outcome::Done(told) => rows.extend(told),
                Outcome::Refused { code, message } => return Err(ScenarioError::client("list the roles", format!("{code}: {message}"))),
                Outcome::Broken(words) => return Err(ScenarioError::client("list the roles", words)),
            }
        }
        Ok(listed(&rows))
    }
}

/// What `granted.cypher` answers: an account, then its roles.
fn listed(rows: &[String]) -> Granted {
    let account = |row: &String| {
        let mut words = row.split_whitespace().map(ToOwned::to_owned);
        Some((words.next()?, words.collect()))
    };
    rows.iter().filter_map(account).collect()
}

/// What the project's statements give the accounts.
fn ordered(script: &str) -> Granted {
    let mut granted = Granted::new();
    for statement in queries::statements(script) {
        if let ["CALL dbms.security.addRoleToUser(", role, ", ", account, ")"] = statement.split('\'').collect::<Vec<_>>().as_slice() {
            granted.entry((*account).to_owned()).or_default().insert((*role).to_owned());
        }
    }
    granted
}

/// Each account that has other roles than were ordered, in words.
fn unlike(ordered: &Granted, seen: &Granted) -> Vec<String> {
    let words = |roles: &BTreeSet<String>| roles.iter().map(String::as_str).collect::<Vec<_>>().join(" and ");
    let accounts: BTreeSet<&String> = ordered.keys().chain(seen.keys()).collect();
    let differing = accounts.into_iter().filter(|account| ordered.get(*account) != seen.get(*account));
    let told = differing.map(|account| {
        let is = match seen.get(account) {
            None => "is not there".to_owned(),
            Some(roles) if roles.is_empty() => "has no role".to_owned(),
            Some(roles) => format!("is {}", words(roles)),
        };
        let should = ordered.get(account).map_or_else(|| "not be there".to_owned(), |roles| format!("be {}", words(roles)));
        format!("{account} {is}, and should {should}")
    });
    told.collect()
}

struct Session(Endpoint);

#[async_trait]
impl RoleSession for Session {
    async fn attempt(&mut self, probe: &Probe) -> Seen {
        match self.0.run(&probe.attempt).await {
            Outcome::Done(_) => Seen::Allowed,
            Outcome::Refused { code, .. } if code == REFUSED => Seen::Denied,
            // A follower says so to everybody, whoever asks.
            Outcome::Refused { code, .. } if code == NOT_A_LEADER => Seen::Elsewhere,
            Outcome::Refused { code, .. } if probe.passed.as_ref() == Some(&code) => Seen::Allowed,
            Outcome::Refused { code, message } => Seen::Other(format!("{code}: {message}")),
            Outcome::Broken(words) => Seen::Other(words),
        }
    }
}

#[async_trait]
impl RoleTarget for Neo4jRoles {
    fn store(&self) -> Store {
        Store::Neo4j
    }

    /// Accounts are not replicated.
    fn places(&self) -> Vec<String> {
        self.cluster.cores().iter().map(|core| core.name().to_owned()).collect()
    }

    async fn set_up(&self) -> Result<(), ScenarioError> {
        self.tear_down().await?;
        let script = assets::render("roles/neo4j/roles.cypher.j2", self.credentials.context())?;
        self.apply(self.cluster.cores(), &script, false).await
    }

    async fn session(&self, role: DomainRole, place: usize) -> Result<Box<dyn RoleSession>, ScenarioError> {
        let node = &self.cluster.cores()[place];
        let failed = |reason: String| ScenarioError::client(format!("log in as {role} at {}", node.name()), reason);
        let endpoint = Endpoint::new(node, &self.authority, Some((&format!("role_{role}"), self.credentials.of(role)))).map_err(failed)?;
        Ok(Box::new(Session(endpoint)))
    }

    /// Accounts are each core's own, and a follower leaves writes to the leader before it asks for rights.
    async fn differences(&self) -> Result<Vec<Finding>, ScenarioError> {
        let ordered = ordered(assets::text("roles/neo4j/roles.cypher.j2")?);
        let mut findings = Vec::new();
        for core in self.cluster.cores() {
            match self.granted_at(core).await {
                Ok(seen) => findings.extend(
                    unlike(&ordered, &seen)
                        .into_iter()
                        .map(|words| Finding::violation("roles-differ-between-members", format!("{}: {words}", core.name()))),
                ),
                Err(error) => findings.push(Finding::unconfirmed("roles-not-listed", format!("{}: {error}", core.name()))),
            }
        }
        Ok(findings)
    }

    async fn sabotage(&self, id: &str) -> Result<(), ScenarioError> {
        let cores = self.cluster.cores();
        let struck = match id {
            "monitoring-reads-at-one-member" => &cores[cores.len() - 1..],
            "reader-writes-at-one-follower" => std::slice::from_ref(self.follower().await?),
            _ => cores,
        };
        self.apply(struck, assets::text(&format!("roles/neo4j/sabotage/{id}.cypher"))?, false).await
    }

    async fn tear_down(&self) -> Result<(), ScenarioError> {
        self.apply(self.cluster.cores(), assets::text("roles/neo4j/remove.cypher")?, true).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_projects_statements_give_every_account_its_roles() {
        let ordered = ordered(assets::text("roles/neo4j/roles.cypher.j2").unwrap());
        assert_eq!(ordered.len(), DomainRole::ALL.len());
        assert_eq!(ordered["role_reader"], BTreeSet::from(["reader".to_owned()]));
    }

    #[test]
    fn an_account_with_another_role_is_told() {
        let ordered = listed(&["role_reader reader".into(), "role_admin admin".into(), "role_backup domain_none".into()]);
        assert_eq!(unlike(&ordered, &ordered), Vec::<String>::new());
        let seen = listed(&["role_reader reader publisher".into(), "role_backup".into()]);
        assert_eq!(
            unlike(&ordered, &seen),
            [
                "role_admin is not there, and should be admin",
                "role_backup has no role, and should be domain_none",
                "role_reader is publisher and reader, and should be reader",
            ]
        );
    }
}
