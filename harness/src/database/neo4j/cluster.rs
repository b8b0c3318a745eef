//! The causal cluster: cores, of which one leads, and read replicas that follow.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{join_all, try_join_all};
use serde::{Deserialize, Serialize};

use super::{
    bolt_one::BoltOne,
    client::{Dialect, GraphClient, GraphError, Login, USER, cypher},
    pods::{self, BOLT, BackupFiles, HTTPS, MemberPlan, Mode},
};
use crate::{
    database::{Cluster, ConnectionInfo},
    engine::Engine,
    security::{Secret, generate_secret},
    topology::{Exception, Ground, GroundError, Node, NodeHealth, NodeRecord},
};

const NAME: &str = "neo4j";
/// From the first process to the last role; a restored cluster first restores.
const START_LIMIT: Duration = Duration::from_secs(150);
/// One question about a role.
const QUESTION_LIMIT: Duration = Duration::from_secs(3);
/// What a member says of itself when it leads.
pub const LEADER: &str = "LEADER";

/// A started causal cluster.
#[derive(Debug)]
pub struct CausalCluster {
    cores: Vec<Node>,
    replicas: Vec<Node>,
    authority: String,
    password: Secret,
}

/// A cluster as data, secrets included.
#[derive(Debug, Serialize, Deserialize)]
pub struct CausalClusterRecord {
    cores: Vec<NodeRecord>,
    replicas: Vec<NodeRecord>,
    authority: String,
    password: Secret,
}

impl CausalCluster {
    /// Starts the profile's cores and replicas with a new password, from empty data or from a backup. Names start with `prefix`.
    ///
    /// # Errors
    /// [`GroundError`].
    pub async fn start(ground: &Ground, prefix: &str, backup: BackupFiles) -> Result<Self, GroundError> {
        let sizes = &ground.topology().neo4j;
        let cores = sizes.core.count();
        let mut all = sizes.core.names(prefix);
        all.extend(sizes.read_replica.names(prefix));
        let seats = ground.seats(&all)?;
        let addresses: Vec<_> = seats[..cores].iter().map(|seat| seat.address).collect();
        let password = generate_secret();
        let users = pods::cluster_users(&password)?;
        let plan = MemberPlan { sizes, cluster: NAME, all: &seats, cores: &addresses, users: &users, backup: &backup };
        let mut specs = Vec::new();
        for (index, seat) in seats.iter().enumerate() {
            let mode = if index < cores { Mode::Core } else { Mode::ReadReplica };
            specs.push(pods::member(seat, mode, &plan)?);
        }
        let mut started = try_join_all(specs.into_iter().map(|spec| ground.start(spec))).await?;
        let replica_nodes = started.split_off(cores);
        let cluster = Self { cores: started, replicas: replica_nodes, authority: ground.authority().certificate().to_owned(), password };
        // Boxed: the compiler's depth limit for nested futures is near.
        Box::pin(cluster.wait_until_serving(ground)).await?;
        for exception in exceptions(&cluster.cores) {
            ground.except(exception);
        }
        Ok(cluster)
    }

    async fn wait_until_serving(&self, ground: &Ground) -> Result<(), GroundError> {
        let cores = self.cores.iter().map(|core| async move {
            ground
                .wait_ready(core.name(), "ready", Some("the other cores"), START_LIMIT, || async { self.role(core).await.map(drop) })
                .await
        });
        let leader = ground
            .wait_ready(NAME, "leader elected", Some("a majority of the cores"), START_LIMIT, || async { self.leader().await.map(drop) });
        let replicas = self.replicas.iter().map(|replica| async move {
            ground
                .wait_ready(replica.name(), "ready", Some("the leader"), START_LIMIT, || async { self.role(replica).await.map(drop) })
                .await
        });
        tokio::try_join!(try_join_all(cores), leader, try_join_all(replicas))?;
        Ok(())
    }

    /// The cluster as data.
    pub fn record(&self) -> CausalClusterRecord {
        CausalClusterRecord {
            cores: self.cores.iter().map(Node::record).collect(),
            replicas: self.replicas.iter().map(Node::record).collect(),
            authority: self.authority.clone(),
            password: self.password.clone(),
        }
    }

    /// A handle of the cluster that the record describes.
    pub fn attach(engine: &Engine, record: CausalClusterRecord) -> Self {
        let nodes = |records: Vec<NodeRecord>| records.into_iter().map(|node| Node::attach(engine, node)).collect();
        Self { cores: nodes(record.cores), replicas: nodes(record.replicas), authority: record.authority, password: record.password }
    }

    /// The cores.
    pub fn cores(&self) -> &[Node] {
        &self.cores
    }

    /// The read replicas.
    pub fn replicas(&self) -> &[Node] {
        &self.replicas
    }

    /// Cores and replicas.
    pub fn members(&self) -> impl Iterator<Item = &Node> {
        self.cores.iter().chain(&self.replicas)
    }

    /// The password of this cluster.
    pub fn password(&self) -> &Secret {
        &self.password
    }

    /// How its clients log in.
    pub fn login(&self, limit: Duration) -> Login {
        Login { authority: self.authority.clone(), password: Some(self.password.clone()), limit }
    }

    /// A client of one member, whatever its role.
    ///
    /// # Errors
    /// [`GraphError`].
    pub async fn client_of(&self, node: &Node, limit: Duration) -> Result<GraphClient, GraphError> {
        GraphClient::connect(Dialect::Three, node.socket(BOLT), &self.login(limit)).await
    }

    /// A connection to one member, whatever its role, that knows bookmarks.
    ///
    /// # Errors
    /// [`GraphError`].
    pub async fn session_of(&self, node: &Node, limit: Duration) -> Result<BoltOne, GraphError> {
        BoltOne::connect(node.socket(BOLT), &self.login(limit)).await
    }

    /// What a member says of itself: `LEADER`, `FOLLOWER` or `READ_REPLICA`. It answers only when its store is open.
    ///
    /// # Errors
    /// [`GraphError`].
    pub async fn role(&self, node: &Node) -> Result<String, GraphError> {
        let mut client = self.client_of(node, QUESTION_LIMIT).await?;
        let rows = client.ask(cypher("monitoring/role")?).await?;
        rows.first().and_then(|row| row["role"].as_str()).map(ToOwned::to_owned).ok_or_else(|| GraphError::Broken("no role".into()))
    }

    /// The core that says that it leads; all are asked at once.
    ///
    /// # Errors
    /// [`GraphError::NoLeader`].
    pub async fn leader(&self) -> Result<Node, GraphError> {
        let answers = join_all(self.cores.iter().map(|core| self.role(core))).await;
        let leads = answers.iter().position(|answer| answer.as_deref().is_ok_and(|role| role == LEADER));
        leads.map(|index| self.cores[index].clone()).ok_or_else(|| {
            let words = self.cores.iter().zip(&answers).map(|(core, answer)| match answer {
                Ok(role) => format!("{} is {role}", core.name()),
                Err(error) => format!("{}: {error}", core.name()),
            });
            GraphError::NoLeader(words.collect::<Vec<_>>().join(", "))
        })
    }
}

#[async_trait]
impl Cluster for CausalCluster {
    fn name(&self) -> &str {
        NAME
    }

    fn nodes(&self) -> Vec<Node> {
        self.members().cloned().collect()
    }

    async fn health(&self) -> Vec<NodeHealth> {
        let members: Vec<&Node> = self.members().collect();
        let roles = join_all(members.iter().map(|node| self.role(node))).await;
        let leaders = roles.iter().filter(|role| role.as_deref().is_ok_and(|role| role == LEADER)).count();
        members
            .iter()
            .zip(roles)
            .enumerate()
            .map(|(index, (node, role))| {
                let is_core = index < self.cores.len();
                let expected = if is_core { "leader or follower, one leader" } else { "read replica" };
                let fits = |role: &str| if is_core { matches!(role, LEADER | "FOLLOWER") && leaders == 1 } else { role == "READ_REPLICA" };
                let healthy = role.as_deref().is_ok_and(fits);
                let observed = match role {
                    Ok(role) if is_core && leaders != 1 => format!("{} among {leaders} leaders", role.to_lowercase()),
                    Ok(role) => role.to_lowercase().replace('_', " "),
                    Err(error) => format!("unreachable ({error})"),
                };
                NodeHealth { node: node.name().to_owned(), expected: expected.to_owned(), observed, healthy }
            })
            .collect()
    }

    fn connections(&self) -> Vec<ConnectionInfo> {
        self.members()
            .map(|node| ConnectionInfo {
                name: format!("{NAME} ({} {})", node.role(), node.name()),
                command: format!(
                    "curl --tlsv1.3 --cacert {{ca}} -u '{USER}:{}' https://{}:{HTTPS}/db/data/",
                    self.password.reveal(),
                    node.address()
                ),
                url: format!("bolt+s://{USER}:{}@{}:{BOLT} (Bolt 1, CA {{ca}})", self.password.reveal(), node.address()),
            })
            .collect()
    }
}

/// What this version cannot do.
fn exceptions(cores: &[Node]) -> Vec<Exception> {
    let place = cores.iter().map(Node::name).collect::<Vec<_>>().join(", ");
    vec![
        Exception {
            place: format!("{place}: port 5000"),
            clause: "SEC-TLS-LINKS".into(),
            what: "discovery between members is neither encrypted nor authenticated".into(),
            why: "its library has TLS in its commercial edition only; it carries names, addresses and roles, no data".into(),
        },
        Exception {
            place: format!("{place}: port 6362 on the node's loopback"),
            clause: "SEC-TLS-LINKS".into(),
            what: "online backup is not encrypted".into(),
            why: "this version's backup protocol has no TLS; it listens inside the node only".into(),
        },
        Exception {
            place: format!("{place}: port 7474 on the node's loopback"),
            clause: "SEC-TLS-LINKS".into(),
            what: "a plain HTTP connector exists".into(),
            why: "the server refuses to run without one; it listens inside the node only".into(),
        },
        Exception {
            place: format!("{NAME}: port {HTTPS} of every member, /db/manage/server/core and /db/manage/server/read-replica"),
            clause: "SEC-AUTH-NEO".into(),
            what: "whether a member leads or answers reads is told without a login".into(),
            why: "a read replica looks for a leader before it starts, and holds no password; the answers are states, no data".into(),
        },
    ]
}
