//! The domain roles as accounts of every core, with the engine's own roles.

use std::sync::Arc;

use async_trait::async_trait;
use dora_fixtures::{
    Store, assets, queries,
    roles::{DomainRole, Probe},
};
use dora_harness::{
    database::neo4j::{CausalCluster, USER},
    topology::Node,
};

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

    async fn sabotage(&self, id: &str) -> Result<(), ScenarioError> {
        let cores = self.cluster.cores();
        let struck = if id == "monitoring-reads-at-one-member" { &cores[cores.len() - 1..] } else { cores };
        self.apply(struck, assets::text(&format!("roles/neo4j/sabotage/{id}.cypher"))?, false).await
    }

    async fn tear_down(&self) -> Result<(), ScenarioError> {
        self.apply(self.cluster.cores(), assets::text("roles/neo4j/remove.cypher")?, true).await
    }
}
