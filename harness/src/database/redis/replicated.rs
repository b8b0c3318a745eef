//! A master, its replicas, and the Sentinels that choose another master when it dies.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::future::{join_all, try_join_all};
use redis::{RedisResult, aio::MultiplexedConnection};
use serde::{Deserialize, Serialize};

use super::{
    access::{Access, Account, MASTER_NAME, Passwords, ask, info},
    health::{health, is_current, serves},
    pods::{self, PORT, Persistence, SENTINEL_PORT, SentinelPlan, ServerPlan},
    sentinels::{Sentinels, identity},
};
use crate::{
    database::{Cluster, ConnectionInfo},
    engine::{Engine, EngineError},
    topology::{Ground, GroundError, Node, NodeHealth, NodeRecord, Seat},
};

/// A server that starts takes well under a second; a loaded machine is given this.
const READY_LIMIT: Duration = Duration::from_secs(40);

/// How to call the profile's nodes, and what to begin with.
#[derive(Debug, Clone, Default)]
pub struct ReplicatedPlan {
    /// Put before every node's name, so that a restored set is told from the one before.
    pub prefix: String,
    /// A snapshot that the master begins with.
    pub snapshot: Option<Vec<u8>>,
}

/// The running set.
#[derive(Debug)]
pub struct Replicated {
    servers: Vec<Node>,
    sentinels: Sentinels,
    access: Access,
    prefix: String,
}

/// The set as data.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ReplicatedState {
    servers: Vec<NodeRecord>,
    sentinels: Vec<NodeRecord>,
    access: Access,
    quorum: usize,
    prefix: String,
}

impl Replicated {
    /// Its name.
    pub const NAME: &'static str = "redis";

    /// Starts the set with new passwords and returns when every node has its role. What was started of a set that does not come up is removed
    /// again.
    ///
    /// # Errors
    /// [`GroundError`], with the log lines of the nodes that did not come up.
    pub async fn start(ground: &Ground, plan: &ReplicatedPlan) -> Result<Self, GroundError> {
        let mut started = Vec::new();
        let outcome = Self::start_nodes(ground, plan, &mut started).await;
        if outcome.is_err() {
            // The start's own error is the one to tell.
            let _ = join_all(started.iter().map(Node::destroy)).await;
        }
        outcome
    }

    async fn start_nodes(ground: &Ground, plan: &ReplicatedPlan, started: &mut Vec<Node>) -> Result<Self, GroundError> {
        let passwords = Passwords::generate();
        let access = Access { authority: ground.authority().certificate().to_owned(), passwords: passwords.clone() };
        let sizes = &ground.topology().redis;
        let server_seats = ground.seats(&sizes.server.names(&plan.prefix))?;
        let sentinel_seats = ground.seats(&sizes.sentinel.names(&plan.prefix))?;
        let seats: Vec<Seat> = server_seats.iter().chain(&sentinel_seats).cloned().collect();
        let addresses: Vec<SocketAddr> = sentinel_seats.iter().map(|seat| SocketAddr::from((seat.address, SENTINEL_PORT))).collect();
        let master = server_seats[0].address;
        let copies = server_seats.len() - 1;
        let servers = try_join_all(server_seats.iter().enumerate().map(|(index, seat)| {
            let server = ServerPlan {
                cluster_name: Self::NAME,
                role: "master or replica",
                replica_of: (index > 0).then_some(master),
                sharded: false,
                // With one replica only, the survivor of a failover is alone and must take writes nevertheless.
                min_replicas: usize::from(copies > 1),
                sentinels: &addresses,
                snapshot: plan.snapshot.as_deref().filter(|_| index == 0),
                persistence: Persistence::default(),
                memory_bytes: sizes.server.memory_bytes(),
                data_mib: sizes.data_mib(),
            };
            let spec = pods::server(seat, &seats, &passwords, &server);
            async move { ground.start(spec?).await }
        }))
        .await?;
        started.extend(servers.iter().cloned());
        // A Sentinel that finds no master within a second begins a failover, so the Sentinels start when there is one to find.
        let first = servers[0].clone();
        ground.wait_ready(first.name(), "serve", None, READY_LIMIT, || serves(&access, &first)).await?;
        let ids: Vec<(Seat, String)> = sentinel_seats.iter().map(|seat| (seat.clone(), identity())).collect();
        let replicas: Vec<Ipv4Addr> = server_seats[1..].iter().map(|seat| seat.address).collect();
        let quorum = ids.len() / 2 + 1;
        let memory_bytes = sizes.sentinel.memory_bytes();
        let watch = SentinelPlan { cluster_name: Self::NAME, master, replicas: &replicas, sentinels: &ids, quorum, memory_bytes };
        let sentinels = try_join_all(ids.iter().map(|(seat, id)| {
            let spec = pods::sentinel(seat, id, &seats, &passwords, &watch);
            async move { ground.start(spec?).await }
        }))
        .await?;
        started.extend(sentinels.iter().cloned());
        let sentinels = Sentinels::new(sentinels, access.clone(), quorum);
        let set = Self { servers, sentinels, access, prefix: plan.prefix.clone() };
        let waited_for = (copies > 0).then(|| first.name());
        ground
            .wait_ready(Self::NAME, "ready", waited_for, READY_LIMIT, || async { crate::platform::all_healthy(&set.health().await) })
            .await?;
        if copies > 0 {
            pods::name_exceptions(ground, Self::NAME, "replica → master, Sentinel → server, Sentinel → Sentinel");
        }
        Ok(set)
    }

    /// How a client gets in.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Master and replicas.
    pub fn servers(&self) -> &[Node] {
        &self.servers
    }

    /// The Sentinels.
    pub fn sentinels(&self) -> &Sentinels {
        &self.sentinels
    }

    /// What stands before every node's name.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The master by the word of the first Sentinel that answers; where there is no Sentinel, the only server.
    ///
    /// # Errors
    /// What the last Sentinel said, or that it named a stranger.
    pub async fn master(&self) -> Result<Node, String> {
        let Some(address) = self.sentinels.master().await? else {
            return self.servers.first().cloned().ok_or_else(|| "the set has no server".to_owned());
        };
        self.servers
            .iter()
            .find(|node| node.address() == address)
            .cloned()
            .ok_or_else(|| format!("the Sentinels name {address}, which is no server of the set"))
    }

    /// A connection to the master.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn connect(&self, account: Account) -> Result<MultiplexedConnection, String> {
        let master = self.master().await?;
        self.access.connect(master.socket(PORT), account).await.map_err(|error| format!("{}: {error}", master.name()))
    }

    /// Sends `CONFIG SET name value` to every server.
    ///
    /// # Errors
    /// The first refusal, or server that does not answer.
    pub async fn set_on_servers(&self, name: &str, value: &str) -> RedisResult<()> {
        for server in &self.servers {
            let mut connection = self.access.connect(server.socket(PORT), Account::Admin).await?;
            ask::<()>(&mut connection, &["CONFIG", "SET", name, value]).await?;
        }
        Ok(())
    }

    async fn server_health(&self, node: &Node, master: Result<&Node, &String>) -> NodeHealth {
        let is_master = master.is_ok_and(|master| master.name() == node.name());
        let expected = if is_master { "master" } else { "replica" };
        let observed = match master {
            Err(error) => Err(format!("without a known master ({error})")),
            Ok(master) => self.server_role(node, master, is_master).await,
        };
        health(node, expected, observed)
    }

    async fn server_role(&self, node: &Node, master: &Node, is_master: bool) -> Result<String, String> {
        let asked = async {
            let mut connection = self.access.connect(node.socket(PORT), Account::Admin).await?;
            info(&mut connection, "replication").await
        };
        let said = asked.await.map_err(|error| format!("unreachable: {error}"))?;
        let field = |name: &str| said.get(name).map_or("", String::as_str);
        match (is_master, field("role")) {
            (true, "master") => {
                let copies = self.servers.len() - 1;
                let online = (0..copies).filter(|index| is_current(field(&format!("slave{index}")))).count();
                if online == copies { Ok("master".into()) } else { Err(format!("master with {online} of {copies} current replicas")) }
            }
            (false, "slave") => {
                let right = field("master_host") == master.address().to_string();
                match (right, field("master_link_status")) {
                    (true, "up") if field("master_sync_in_progress") == "0" => Ok("replica".into()),
                    (true, link) => Err(format!("replica whose link is {link}")),
                    (false, _) => Err(format!("replica of {}", field("master_host"))),
                }
            }
            (_, role) => Err(if role == "slave" { "replica".into() } else { role.to_owned() }),
        }
    }

    pub(super) fn state(&self) -> ReplicatedState {
        ReplicatedState {
            servers: self.servers.iter().map(Node::record).collect(),
            sentinels: self.sentinels.nodes().iter().map(Node::record).collect(),
            access: self.access.clone(),
            quorum: self.sentinels.quorum(),
            prefix: self.prefix.clone(),
        }
    }

    pub(super) fn attach(engine: &Engine, state: ReplicatedState) -> Self {
        let attach = |records: Vec<NodeRecord>| records.into_iter().map(|record| Node::attach(engine, record)).collect();
        Self {
            servers: attach(state.servers),
            sentinels: Sentinels::new(attach(state.sentinels), state.access.clone(), state.quorum),
            access: state.access,
            prefix: state.prefix,
        }
    }
}

#[async_trait]
impl Cluster for Replicated {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn nodes(&self) -> Vec<Node> {
        self.servers.iter().chain(self.sentinels.nodes()).cloned().collect()
    }

    async fn health(&self) -> Vec<NodeHealth> {
        let master = self.master().await;
        let servers = join_all(self.servers.iter().map(|node| self.server_health(node, master.as_ref())));
        let sentinels = join_all(self.sentinels.nodes().iter().map(|node| self.sentinels.health_of(node, master.as_ref())));
        let (servers, sentinels) = tokio::join!(servers, sentinels);
        servers.into_iter().chain(sentinels).collect()
    }

    fn connections(&self) -> Vec<ConnectionInfo> {
        let password = self.access.passwords.app.reveal();
        let line = |name: String, node: &Node, port: u16, more: &str| ConnectionInfo {
            name,
            command: format!("REDISCLI_AUTH={password} redis-cli -h {} -p {port} --tls --cacert {{ca}} --user app{more}", node.address()),
            url: format!("rediss://app:{password}@{}:{port}", node.address()),
        };
        let servers = self.servers.iter().enumerate().map(|(index, node)| {
            let role = if index == 0 { "master at the start" } else { "replica at the start" };
            line(format!("redis ({}, {role})", node.name()), node, PORT, "")
        });
        let more = format!(" sentinel get-master-addr-by-name {MASTER_NAME}");
        let sentinels =
            self.sentinels.nodes().iter().map(|node| line(format!("redis ({}, Sentinel)", node.name()), node, SENTINEL_PORT, &more));
        servers.chain(sentinels).collect()
    }

    async fn destroy(&self) -> Result<(), EngineError> {
        for outcome in join_all(self.nodes().iter().map(Node::destroy)).await {
            outcome?;
        }
        Ok(())
    }
}
