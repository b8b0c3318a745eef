//! A running replica set.

use std::{net::SocketAddr, time::Duration};

use async_trait::async_trait;
use futures_util::future::{join_all, select_ok};
use mongodb::{
    ClientSession,
    bson::{Document, doc},
    options::ClientOptions,
};
use serde::{Deserialize, Serialize};

use super::{Access, Connection, MemberState, MongodbError, Reach, error::limited};
use crate::{
    database::{Cluster, ConnectionInfo},
    engine::Engine,
    security::Secret,
    topology::{Node, NodeHealth, NodeRecord},
};

/// The client port of every member.
pub const PORT: u16 = 27017;
/// The account with all rights.
pub const ADMIN: &str = "admin";
/// The account of the application.
pub const APPLICATION: &str = "app";
/// The account that takes and restores backups.
pub const OPERATOR: &str = "operator";

/// A question about a role that takes longer has no answer.
const HELLO_LIMIT: Duration = Duration::from_secs(3);
/// An administrative command.
const ADMIN_LIMIT: Duration = Duration::from_secs(20);
/// How long an administrative command waits for a primary.
const SELECTION: Duration = Duration::from_secs(10);

/// The passwords of one set, generated for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passwords {
    /// Of [`ADMIN`].
    pub admin: Secret,
    /// Of [`APPLICATION`].
    pub application: Secret,
    /// Of [`OPERATOR`].
    pub operator: Secret,
}

/// What a set is, as data.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SetRecord {
    /// The cluster's name.
    pub cluster: String,
    /// The replica set's name.
    pub set: String,
    /// Its nodes; with an arbiter, the last one is it.
    pub nodes: Vec<NodeRecord>,
    /// Whether the last node is an arbiter.
    pub arbiter: bool,
    /// The passwords.
    pub passwords: Passwords,
    /// The certificate of the authority that all trust, PEM.
    pub authority: String,
}

/// A replica set with its clients.
#[derive(Debug)]
pub struct ReplicaSet {
    record: SetRecord,
    nodes: Vec<Node>,
    access: Access,
    /// One for each node, without a login: an arbiter knows no users.
    watchers: Vec<Connection>,
    admin: Connection,
}

impl ReplicaSet {
    /// A handle of the set that the record describes.
    ///
    /// # Errors
    /// [`MongodbError::Driver`] when the driver cannot be set up.
    pub fn attach(engine: &Engine, record: SetRecord) -> Result<Self, MongodbError> {
        let set_up = || MongodbError::driver("set the driver up");
        let nodes: Vec<Node> = record.nodes.iter().map(|node| Node::attach(engine, node.clone())).collect();
        let access = Access::anonymous(&record.authority).map_err(set_up())?;
        let watchers = nodes
            .iter()
            .map(|node| access.open(&Reach::Member(node.socket(PORT)), HELLO_LIMIT))
            .collect::<Result<_, _>>()
            .map_err(set_up())?;
        let reach = Reach::Set(record.set.clone(), nodes.iter().map(|node| node.socket(PORT)).collect());
        let admin = access.with_password(ADMIN, &record.passwords.admin).open(&reach, SELECTION).map_err(set_up())?;
        Ok(Self { record, nodes, access, watchers, admin })
    }

    /// The set as data, secrets included.
    pub fn record(&self) -> &SetRecord {
        &self.record
    }

    /// The replica set's name.
    pub fn set_name(&self) -> &str {
        &self.record.set
    }

    /// The passwords.
    pub fn passwords(&self) -> &Passwords {
        &self.record.passwords
    }

    /// Access without a login.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// The nodes that hold data.
    pub fn data_nodes(&self) -> &[Node] {
        &self.nodes[..self.nodes.len() - usize::from(self.record.arbiter)]
    }

    /// All members as a client finds the set.
    pub fn reach(&self) -> Reach {
        Reach::Set(self.record.set.clone(), self.nodes.iter().map(|node| node.socket(PORT)).collect())
    }

    /// A client that knows the whole set and logs in as the administrator.
    pub fn admin(&self) -> &Connection {
        &self.admin
    }

    /// Opens a client of the application.
    ///
    /// # Errors
    /// [`MongodbError::Driver`].
    pub fn application(&self, reach: &Reach, selection: Duration) -> Result<Connection, MongodbError> {
        let access = self.access.with_password(APPLICATION, &self.record.passwords.application);
        access.open(reach, selection).map_err(MongodbError::driver("set the driver up"))
    }

    /// As [`ReplicaSet::application`], with further options of the driver.
    ///
    /// # Errors
    /// [`MongodbError::Driver`].
    pub fn application_with(
        &self,
        reach: &Reach,
        selection: Duration,
        tune: impl FnOnce(&mut ClientOptions),
    ) -> Result<Connection, MongodbError> {
        let access = self.access.with_password(APPLICATION, &self.record.passwords.application);
        access.open_with(reach, selection, tune).map_err(MongodbError::driver("set the driver up"))
    }

    /// Opens a client of the administrator for one member, whatever its role.
    ///
    /// # Errors
    /// [`MongodbError::Driver`].
    pub fn administrator_of(&self, node: &Node) -> Result<Connection, MongodbError> {
        let access = self.access.with_password(ADMIN, &self.record.passwords.admin);
        access.open(&Reach::Member(node.socket(PORT)), SELECTION).map_err(MongodbError::driver("set the driver up"))
    }

    /// Opens a client of the account that takes and restores backups.
    ///
    /// # Errors
    /// [`MongodbError::Driver`].
    pub fn operator(&self) -> Result<Connection, MongodbError> {
        let access = self.access.with_password(OPERATOR, &self.record.passwords.operator);
        access.open(&self.reach(), SELECTION).map_err(MongodbError::driver("set the driver up"))
    }

    /// Runs a command on the database `admin`, on the primary.
    ///
    /// # Errors
    /// [`MongodbError`].
    pub async fn command(&self, what: &str, command: Document) -> Result<Document, MongodbError> {
        limited(what, ADMIN_LIMIT, self.admin.database("admin").run_command(command)).await
    }

    /// Asks one node for its role.
    ///
    /// # Errors
    /// [`MongodbError`] when it does not answer.
    pub async fn state(&self, node: &Node) -> Result<MemberState, MongodbError> {
        Ok(MemberState::read(&self.hello(node).await?))
    }

    /// What one node says of itself and of the set.
    ///
    /// # Errors
    /// [`MongodbError`] when it does not answer.
    pub async fn hello(&self, node: &Node) -> Result<Document, MongodbError> {
        let known = self.nodes.iter().position(|other| other.name() == node.name());
        let at = known.ok_or_else(|| MongodbError::unusable("ask for a role", format!("{} is no member", node.name())))?;
        hello(&self.watchers[at]).await
    }

    /// How far a member is behind the primary: by the latest writes that both speak of themselves. An idle primary writes once a second.
    ///
    /// # Errors
    /// [`MongodbError`] when one of them does not answer.
    pub async fn lag_of(&self, node: &Node) -> Result<Duration, MongodbError> {
        let last_write = async |node: &Node| {
            let hello = self.hello(node).await?;
            let last = hello.get_document("lastWrite").and_then(|last| last.get_datetime("lastWriteDate"));
            last.map(|date| date.timestamp_millis()).map_err(|error| MongodbError::unusable("read a member's latest write", error))
        };
        let primary = self.primary().await?;
        let behind_ms = last_write(&primary).await? - last_write(node).await?;
        // A member that is ahead has what the primary wrote between the two questions.
        Ok(Duration::from_millis(u64::try_from(behind_ms).unwrap_or_default()))
    }

    /// The node that takes writes, in its own word.
    ///
    /// # Errors
    /// [`MongodbError::Unusable`] when no node says so.
    pub async fn primary(&self) -> Result<Node, MongodbError> {
        self.primary_among(&self.nodes).await
    }

    /// The node among these that takes writes, in its own word; the first answer counts, so that a dead node delays nobody.
    ///
    /// # Errors
    /// [`MongodbError::Unusable`] when none says so.
    pub async fn primary_among(&self, nodes: &[Node]) -> Result<Node, MongodbError> {
        let none = |why: &str| MongodbError::unusable("find the primary", why);
        let asked: Vec<_> = nodes
            .iter()
            .map(|node| {
                Box::pin(async move {
                    match self.state(node).await? {
                        MemberState::Primary => Ok(node.clone()),
                        other => Err(none(&format!("{} is {other}", node.name()))),
                    }
                })
            })
            .collect();
        if asked.is_empty() {
            return Err(none("the set has no node"));
        }
        select_ok(asked).await.map(|(node, _others)| node)
    }

    /// Waits until every data node holds everything that was written so far.
    ///
    /// # Errors
    /// [`MongodbError`] when one of them does not within `limit`.
    pub async fn copied_everywhere(&self, limit: Duration) -> Result<(), MongodbError> {
        let copies = i32::try_from(self.data_nodes().len()).unwrap_or(i32::MAX);
        let milliseconds = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
        let concern = doc! { "w": copies, "wtimeout": milliseconds };
        // The note comes last in the oplog: who has it has all before it.
        self.command("write a note to all copies", doc! { "appendOplogNote": 1, "data": { "harness": "copied" }, "writeConcern": concern })
            .await?;
        Ok(())
    }

    /// A session whose reads at concern majority see everything that the primary knows now. Without it such a read may come from a
    /// committed snapshot that is behind the latest acknowledgement.
    ///
    /// # Errors
    /// [`MongodbError`].
    pub async fn settled_session(&self) -> Result<ClientSession, MongodbError> {
        let what = "settle the set";
        let mut session = limited(what, ADMIN_LIMIT, self.admin.start_session().causal_consistency(true)).await?;
        let concern = doc! { "w": "majority", "wtimeout": 15_000 };
        let note = doc! { "appendOplogNote": 1, "data": { "harness": "settled" }, "writeConcern": concern };
        limited(what, ADMIN_LIMIT, self.admin.database("admin").run_command(note).session(&mut session)).await?;
        Ok(session)
    }

    async fn node_health(&self, index: usize, node: &Node) -> NodeHealth {
        let is_arbiter = self.record.arbiter && index + 1 == self.nodes.len();
        let state = hello(&self.watchers[index]).await.map(|answer| MemberState::read(&answer));
        let fits = match &state {
            Ok(MemberState::Primary | MemberState::Secondary) => !is_arbiter,
            Ok(MemberState::Arbiter) => is_arbiter,
            Ok(MemberState::Other(_)) | Err(_) => false,
        };
        let expected = if is_arbiter { "arbiter" } else { "primary or secondary" };
        let observed = state.map_or_else(|error| error.to_string(), |state| state.to_string());
        NodeHealth { node: node.name().to_owned(), expected: expected.to_owned(), observed, healthy: fits }
    }
}

async fn hello(member: &Connection) -> Result<Document, MongodbError> {
    limited("ask for the role", HELLO_LIMIT, member.database("admin").run_command(doc! { "hello": 1 })).await
}

#[async_trait]
impl Cluster for ReplicaSet {
    fn name(&self) -> &str {
        &self.record.cluster
    }

    fn nodes(&self) -> Vec<Node> {
        self.nodes.clone()
    }

    async fn health(&self) -> Vec<NodeHealth> {
        let mut health = join_all(self.nodes.iter().enumerate().map(|(index, node)| self.node_health(index, node))).await;
        if !health.iter().any(|node| node.observed == "primary") {
            for node in health.iter_mut().filter(|node| node.observed == "secondary") {
                node.healthy = false;
                node.observed = "secondary of no primary".into();
            }
        }
        health
    }

    fn connections(&self) -> Vec<ConnectionInfo> {
        let hosts: Vec<String> = self.nodes.iter().map(|node| SocketAddr::to_string(&node.socket(PORT))).collect();
        let url = format!(
            "mongodb://{ADMIN}:{}@{}/?replicaSet={}&authMechanism=SCRAM-SHA-256&tls=true&tlsCAFile={{ca}}",
            self.record.passwords.admin.reveal(),
            hosts.join(","),
            self.record.set
        );
        vec![ConnectionInfo {
            name: format!("{} (replica set {})", self.record.cluster, self.record.set),
            command: format!("mongosh '{url}'"),
            url,
        }]
    }
}
