//! A running InfluxDB, cluster or single node: who its nodes are, how a client gets in, whether all is well.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use dora_fixtures::queries::statements;
use futures_util::future::{join_all, try_join_all};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::sleep;

use super::{Access, Form, InfluxClient, InfluxError, influxql, influxql_with};
use crate::{
    database::{Cluster, ConnectionInfo},
    engine::EngineError,
    patience::{stretched, within},
    security::{Secret, generate_secret},
    topology::{Node, NodeHealth, NodeRecord},
};

/// The client port of every node.
pub const PORT: u16 = 8086;
/// The account that owns everything.
pub(super) const ADMINISTRATOR: &str = "admin";
/// The account of the application.
pub(super) const APPLICATION: &str = "application";
/// A statement that takes longer has failed.
const STATEMENT_LIMIT: Duration = Duration::from_secs(10);
/// An order that every node has to hear is given again for so long.
const ORDER_LIMIT: Duration = Duration::from_secs(20);
/// Each attempt uses up one dead connection of the engine's pool, which can hold dozens of them.
const ORDER_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// How the engine says that one did not hear it.
const NODE_NOT_HEARD: &str = "may be down";

/// The passwords of one deployment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Passwords {
    /// Of the account that owns everything.
    pub administrator: Secret,
    /// Of the application.
    pub application: Secret,
}

impl Passwords {
    pub(super) fn generate() -> Self {
        Self { administrator: generate_secret(), application: generate_secret() }
    }
}

/// A running InfluxDB.
#[derive(Debug)]
pub struct Influx {
    form: Form,
    prefix: String,
    nodes: Vec<Node>,
    authority: String,
    passwords: Passwords,
}

/// A deployment as data, secrets included.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Saved {
    form: Form,
    prefix: String,
    nodes: Vec<NodeRecord>,
    authority: String,
    passwords: Passwords,
}

impl Influx {
    pub(super) fn new(form: Form, prefix: &str, nodes: Vec<Node>, authority: &str, passwords: Passwords) -> Self {
        Self { form, prefix: prefix.to_owned(), nodes, authority: authority.to_owned(), passwords }
    }

    pub(super) fn save(&self) -> Saved {
        Saved {
            form: self.form,
            prefix: self.prefix.clone(),
            nodes: self.nodes.iter().map(Node::record).collect(),
            authority: self.authority.clone(),
            passwords: self.passwords.clone(),
        }
    }

    pub(super) fn load(engine: &crate::engine::Engine, saved: Saved) -> Self {
        let nodes = saved.nodes.into_iter().map(|record| Node::attach(engine, record)).collect();
        Self { form: saved.form, prefix: saved.prefix, nodes, authority: saved.authority, passwords: saved.passwords }
    }

    /// Cluster or single node.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Copies of every point: one on each node, so that each holds everything.
    pub fn copies(&self) -> usize {
        self.nodes.len()
    }

    /// What its nodes' names begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Its passwords.
    pub fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    /// How the account that owns everything gets in.
    pub fn administrator(&self) -> Access {
        self.access(ADMINISTRATOR, &self.passwords.administrator)
    }

    /// How the application gets in.
    pub fn application(&self) -> Access {
        self.access(APPLICATION, &self.passwords.application)
    }

    /// How anybody gets in; an empty name sends no credentials.
    pub fn access(&self, user: &str, password: &Secret) -> Access {
        let statements_by_get = self.form.statements_by_get();
        Access { authority: self.authority.clone(), user: user.to_owned(), password: password.clone(), statements_by_get }
    }

    /// A client of one node for `access`, with a limit for each request.
    ///
    /// # Errors
    /// [`InfluxError::Setup`].
    pub fn client(&self, node: &Node, access: Access, limit: Duration) -> Result<InfluxClient, InfluxError> {
        InfluxClient::new(node.socket(PORT), access, limit)
    }

    /// The owner's client of one node.
    ///
    /// # Errors
    /// [`InfluxError::Setup`].
    pub fn owner(&self, node: &Node) -> Result<InfluxClient, InfluxError> {
        self.client(node, self.administrator(), STATEMENT_LIMIT)
    }

    /// Makes the domain's database with its retention policies, unless it is there, and lets the application in.
    ///
    /// # Errors
    /// [`InfluxError`], or a template's error as [`InfluxError::Setup`].
    pub async fn ensure_domain(&self, database: &str) -> Result<(), InfluxError> {
        let context = json!({ "database": database, "replication": self.copies() });
        let schema = influxql_with("database", context)?;
        self.ensure(database, &statements(&schema)).await
    }

    /// Makes a plain database with so many copies of every point, unless it is there, and lets the application in.
    ///
    /// # Errors
    /// [`InfluxError`], or a template's error as [`InfluxError::Setup`].
    pub async fn ensure_database(&self, database: &str, copies: usize) -> Result<(), InfluxError> {
        let context = json!({ "database": database, "copies": copies });
        let schema = influxql_with("administration/plain", context)?;
        self.ensure(database, &statements(&schema)).await
    }

    async fn ensure(&self, database: &str, schema: &[&str]) -> Result<(), InfluxError> {
        let owner = self.owner(&self.nodes[0])?;
        if owner.query(influxql("monitoring/databases")?, None).await?.first_column().iter().any(|name| name == database) {
            return Ok(());
        }
        for statement in schema {
            self.order(statement).await?;
        }
        self.grant_application(database).await?;
        // The others hear of it from the meta leader a moment later; a write there would be refused until then.
        let grants = influxql_with("monitoring/grants", json!({ "user": APPLICATION }))?;
        let heard = |node: &Node| {
            let owner = self.owner(node);
            let grants = grants.as_str();
            async move {
                let knows = || async {
                    let owner = owner.as_ref().map_err(ToString::to_string)?;
                    let granted = owner.query(grants, None).await.map_err(|error| error.to_string())?;
                    if granted.first_column().iter().any(|name| name == database) {
                        Ok(())
                    } else {
                        Err("it does not know the database yet".to_owned())
                    }
                };
                within("the database on every node", STATEMENT_LIMIT, Duration::from_millis(50), knows).await
            }
        };
        try_join_all(self.nodes.iter().map(heard)).await.map_err(|error| InfluxError::Broken(error.to_string()))?;
        Ok(())
    }

    /// Lets the application into a database.
    ///
    /// # Errors
    /// [`InfluxError`].
    pub async fn grant_application(&self, database: &str) -> Result<(), InfluxError> {
        let statement = influxql_with("administration/grant_all", json!({ "database": database, "user": APPLICATION }))?;
        self.order(&statement).await
    }

    /// Removes a database.
    ///
    /// # Errors
    /// [`InfluxError`].
    pub async fn drop_database(&self, database: &str) -> Result<(), InfluxError> {
        self.order(&influxql_with("administration/drop_database", json!({ "database": database }))?).await
    }

    /// Gives an order that every node has to hear. One that was away may still be spoken to through a connection that is dead, which the engine
    /// finds by using it: the order is given again.
    async fn order(&self, statement: &str) -> Result<(), InfluxError> {
        let owner = self.owner(&self.nodes[0])?;
        let began = Instant::now();
        loop {
            match owner.query(statement, None).await {
                Err(InfluxError::Refused { text, .. }) if text.contains(NODE_NOT_HEARD) && began.elapsed() < stretched(ORDER_LIMIT) => {
                    sleep(ORDER_AGAIN_AFTER).await;
                }
                answer => return answer.map(drop),
            }
        }
    }

    /// All databases of the users.
    ///
    /// # Errors
    /// [`InfluxError`].
    pub async fn databases(&self) -> Result<Vec<String>, InfluxError> {
        let names = self.owner(&self.nodes[0])?.query(influxql("monitoring/databases")?, None).await?.first_column();
        Ok(names.into_iter().filter(|name| name != "_internal").collect())
    }

    /// What one node says of its role.
    pub async fn node_health(&self, node: &Node) -> NodeHealth {
        let expected = match self.form {
            Form::Cluster => format!("{} among {}", self.form.role(), self.nodes.len()),
            Form::Single => self.form.role().to_owned(),
        };
        let observed = self.observe(node).await.unwrap_or_else(|error| error.to_string());
        NodeHealth { node: node.name().to_owned(), healthy: observed == expected, expected, observed }
    }

    async fn observe(&self, node: &Node) -> Result<String, InfluxError> {
        let owner = self.client(node, self.administrator(), Duration::from_secs(3))?;
        if self.form == Form::Single {
            owner.query(influxql("monitoring/databases")?, None).await?;
            return Ok(self.form.role().to_owned());
        }
        let servers = owner.query(influxql("monitoring/servers")?, None).await?;
        let count = |kind: &str| servers.named(kind).map_or(0, |series| series.values.len());
        let (data, meta) = (count("data_nodes"), count("meta_nodes"));
        if data == meta {
            Ok(format!("{} among {data}", self.form.role()))
        } else {
            Ok(format!("member of {meta} meta nodes and {data} data nodes"))
        }
    }

    /// Whether nothing waits in this node's queues for other nodes; otherwise for whom.
    ///
    /// # Errors
    /// [`InfluxError`] when the node does not say.
    pub async fn waiting_hints(&self, node: &Node) -> Result<Vec<u64>, InfluxError> {
        let diagnostics = self.owner(node)?.query(influxql("monitoring/diagnostics")?, None).await?;
        let Some(queues) = diagnostics.named("hh") else { return Ok(Vec::new()) };
        let (Some(id), Some(head), Some(tail)) = (queues.column("node"), queues.column("head"), queues.column("tail")) else {
            return Ok(Vec::new());
        };
        let waits = |row: &&Vec<serde_json::Value>| !is_drained(row.get(head), row.get(tail));
        Ok(queues.values.iter().filter(waits).filter_map(|row| row.get(id)?.as_u64()).collect())
    }
}

/// A queue's ends are `file:offset`; behind the last entry stands a footer of eight bytes, which the tail's offset may include.
fn is_drained(head: Option<&serde_json::Value>, tail: Option<&serde_json::Value>) -> bool {
    let end = |value: Option<&serde_json::Value>| {
        let (file, offset) = value?.as_str()?.rsplit_once(':')?;
        Some((file.to_owned(), offset.parse::<u64>().ok()?))
    };
    match (end(head), end(tail)) {
        (Some((head_file, head)), Some((tail_file, tail))) => head_file == tail_file && tail.saturating_sub(head) <= 8,
        // No file, no entries.
        _ => true,
    }
}

#[async_trait]
impl Cluster for Influx {
    fn name(&self) -> &str {
        self.form.name()
    }

    fn nodes(&self) -> Vec<Node> {
        self.nodes.clone()
    }

    async fn health(&self) -> Vec<NodeHealth> {
        join_all(self.nodes.iter().map(|node| self.node_health(node))).await
    }

    fn connections(&self) -> Vec<ConnectionInfo> {
        let method = if self.form.statements_by_get() { "-G " } else { "" };
        let password = self.passwords.administrator.reveal();
        let describe = |node: &Node| ConnectionInfo {
            name: format!("{} ({})", self.form.name(), node.name()),
            command: format!(
                "curl --cacert {{ca}} -u {ADMINISTRATOR}:{password} {method}https://{}/query --data-urlencode 'q=SHOW DATABASES'",
                node.socket(PORT)
            ),
            url: format!("https://{ADMINISTRATOR}:{password}@{}", node.socket(PORT)),
        };
        self.nodes.iter().map(describe).collect()
    }

    async fn destroy(&self) -> Result<(), EngineError> {
        for outcome in join_all(self.nodes.iter().map(Node::destroy)).await {
            outcome?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_queue_is_drained_when_only_its_footer_is_left() {
        assert!(is_drained(Some(&json!("/dora/data/hh/2/1:1916")), Some(&json!("/dora/data/hh/2/1:1924"))));
        assert!(!is_drained(Some(&json!("/dora/data/hh/2/1:0")), Some(&json!("/dora/data/hh/2/1:1924"))));
        assert!(!is_drained(Some(&json!("/dora/data/hh/2/1:1924")), Some(&json!("/dora/data/hh/2/2:8"))));
        assert!(is_drained(Some(&json!("")), Some(&json!(""))));
    }
}
