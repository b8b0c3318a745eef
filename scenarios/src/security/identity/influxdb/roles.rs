//! The domain roles as accounts with grants, on the cluster and on the single node.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_fixtures::{
    Store, assets, queries,
    roles::{DomainRole, Probe},
};
use dora_harness::{
    database::{
        Cluster as _,
        influxdb::{Consistency, Influx, InfluxClient, InfluxError, influxql},
    },
    patience::within,
    topology::Node,
};
use serde_json::json;

use crate::{
    ScenarioError, Trial,
    security::identity::{Credentials, RoleSession, RoleTarget, Seen},
};

const REQUEST_LIMIT: Duration = Duration::from_secs(6);
/// A node of the cluster hears of a new account from the meta leader.
const HEARD_LIMIT: Duration = Duration::from_secs(15);

pub struct InfluxRoles {
    deployments: Vec<Arc<Influx>>,
    credentials: Credentials,
}

impl InfluxRoles {
    pub async fn of(trial: &Trial) -> Result<Self, ScenarioError> {
        let deployments = trial.platform().influxdb.deployments().await;
        if deployments.is_empty() {
            return Err(ScenarioError::Missing("no InfluxDB was started".into()));
        }
        Ok(Self { deployments, credentials: Credentials::generate() })
    }

    fn nodes(&self) -> Vec<(&Influx, Node)> {
        self.deployments.iter().flat_map(|influx| influx.nodes().into_iter().map(move |node| (&**influx, node))).collect()
    }
}

/// Runs the statements through every node: a node that has executed one knows of it. What an earlier node has done already is no error.
async fn apply(influx: &Influx, statements: &[&str]) -> Result<(), ScenarioError> {
    let failed = |error: InfluxError| ScenarioError::client("run a script of roles", error);
    for node in influx.nodes() {
        let owner = influx.owner(&node).map_err(failed)?;
        for statement in statements {
            match owner.query(statement, None).await {
                Err(InfluxError::Refused { text, .. }) if text.contains("already exists") || text.contains("not found") => {}
                other => drop(other.map_err(failed)?),
            }
        }
    }
    Ok(())
}

/// An answer that speaks of rights; a login that failed says `authorization failed` and is none.
fn is_refusal(error: &InfluxError) -> bool {
    matches!(error, InfluxError::Refused { text, .. } if text.contains("not authorized") || text.contains("error authorizing"))
}

struct Session(InfluxClient);

#[async_trait]
impl RoleSession for Session {
    async fn attempt(&mut self, probe: &Probe) -> Seen {
        let answer = match probe.via.as_deref() {
            Some("write") => self.0.write(&probe.object, probe.attempt.clone(), Consistency::Quorum).await,
            Some("read") => self.0.query_in(&probe.object, &probe.attempt, None).await.map(drop),
            _ => self.0.query(&probe.attempt, None).await.map(drop),
        };
        match answer {
            Ok(()) => Seen::Allowed,
            Err(error) if is_refusal(&error) => Seen::Denied,
            Err(InfluxError::Refused { text, .. }) if probe.passed.as_deref().is_some_and(|passed| text.contains(passed)) => Seen::Allowed,
            Err(error) => Seen::Other(error.to_string()),
        }
    }
}

#[async_trait]
impl RoleTarget for InfluxRoles {
    fn store(&self) -> Store {
        Store::Influxdb
    }

    /// Every node keeps its own copy of the accounts.
    fn places(&self) -> Vec<String> {
        self.nodes().iter().map(|(_, node)| node.name().to_owned()).collect()
    }

    async fn set_up(&self) -> Result<(), ScenarioError> {
        self.tear_down().await?;
        let roles = assets::render("roles/influxdb/roles.influxql.j2", self.credentials.context())?;
        for influx in &self.deployments {
            let databases = assets::render("roles/influxdb/databases.influxql.j2", json!({ "copies": influx.copies() }))?;
            apply(influx, &queries::statements(&databases)).await?;
            apply(influx, &queries::statements(&roles)).await?;
        }
        Ok(())
    }

    async fn session(&self, role: DomainRole, place: usize) -> Result<Box<dyn RoleSession>, ScenarioError> {
        let (influx, node) = self.nodes().swap_remove(place);
        let access = influx.access(&format!("role_{role}"), self.credentials.of(role));
        let client =
            influx.client(&node, access, REQUEST_LIMIT).map_err(|error| ScenarioError::client(format!("log in as {role}"), error))?;
        let question = influxql("monitoring/databases").map_err(|error| ScenarioError::client(format!("log in as {role}"), error))?;
        // Whoever is refused for want of rights is known.
        within("the role on the node", HEARD_LIMIT, Duration::from_millis(100), || async {
            match client.query(question, None).await {
                Err(error) if !is_refusal(&error) => Err(error),
                _ => Ok(()),
            }
        })
        .await?;
        Ok(Box::new(Session(client)))
    }

    async fn sabotage(&self, id: &str) -> Result<(), ScenarioError> {
        let script = assets::text(&format!("roles/influxdb/sabotage/{id}.influxql"))?;
        for influx in &self.deployments {
            apply(influx, &queries::statements(script)).await?;
        }
        Ok(())
    }

    async fn tear_down(&self) -> Result<(), ScenarioError> {
        let script = assets::text("roles/influxdb/remove.influxql")?;
        for influx in &self.deployments {
            apply(influx, &queries::statements(script)).await?;
        }
        Ok(())
    }
}
