//! A Redis Cluster: masters that share the slots, a replica of each.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use async_trait::async_trait;
use futures_util::future::{join_all, try_join_all};
use redis::{RedisResult, aio::MultiplexedConnection};
use serde::{Deserialize, Serialize};

use super::{
    access::{Access, Account, Passwords, ask, fields, info},
    health::{health, serves},
    pods::{self, PORT, Persistence, ServerPlan},
    slots::{Shard, shards},
};
use crate::{
    database::{Cluster, ConnectionInfo},
    engine::Engine,
    patience::within,
    topology::{Ground, GroundError, Node, NodeHealth, NodeRecord},
};

/// Slots of every Redis Cluster.
const SLOTS: usize = 16_384;
/// Port of the Cluster bus, where the nodes talk to each other.
const BUS_PORT: u16 = 16_379;
const READY_LIMIT: Duration = Duration::from_secs(40);
/// A first connection to a node that serves.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);

/// The running Cluster.
#[derive(Debug)]
pub struct Sharded {
    nodes: Vec<Node>,
    access: Access,
}

/// The Cluster as data.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ShardedState {
    nodes: Vec<NodeRecord>,
    access: Access,
}

impl Sharded {
    /// Its name.
    pub const NAME: &'static str = "redis-cluster";

    /// Starts the profile's nodes, makes them one Cluster, and returns when every node has its role.
    ///
    /// # Errors
    /// [`GroundError`], with the log lines of the nodes that did not come up.
    pub async fn start(ground: &Ground) -> Result<Self, GroundError> {
        let passwords = Passwords::generate();
        let access = Access { authority: ground.authority().certificate().to_owned(), passwords: passwords.clone() };
        let sizes = &ground.topology().redis;
        let seats = ground.seats(&sizes.cluster.names(""))?;
        let plan = ServerPlan {
            cluster_name: Self::NAME,
            role: "master or replica of a shard",
            replica_of: None,
            sharded: true,
            min_replicas: 0,
            sentinels: &[],
            snapshot: None,
            persistence: Persistence::default(),
            memory_bytes: sizes.cluster.memory_bytes(),
            data_mib: sizes.data_mib(),
        };
        let nodes = try_join_all(seats.iter().map(|seat| {
            let spec = pods::server(seat, &seats, &passwords, &plan);
            let access = &access;
            async move {
                let node = ground.start(spec?).await?;
                ground.wait_ready(node.name(), "serve", None, READY_LIMIT, || serves(access, &node)).await?;
                Ok::<_, GroundError>(node)
            }
        }))
        .await?;
        let cluster = Self { nodes, access };
        let ends: Vec<&str> = seats.first().into_iter().chain(seats.last()).map(|seat| seat.name.as_str()).collect();
        ground
            .boot()
            .phase(Self::NAME, "form", Some(&ends.join(" … ")), cluster.form())
            .await
            .map_err(|error| GroundError::database(Self::NAME, error))?;
        ground
            .wait_ready(Self::NAME, "ready", Some("gossip"), READY_LIMIT, || async {
                crate::platform::all_healthy(&cluster.health().await)
            })
            .await?;
        pods::name_exceptions(ground, Self::NAME, "Cluster bus, replica → master");
        Ok(cluster)
    }

    /// Slots to the masters (the first half), everybody introduced to everybody, a replica to each master.
    async fn form(&self) -> Result<(), String> {
        let masters = self.nodes.len() / 2;
        // Everybody starts at once: one attempt may be left waiting.
        let connected = self.nodes.iter().map(|node| {
            within("a connection to a node of the Cluster", CONNECT_LIMIT, Duration::from_millis(200), || async {
                self.access.connect(node.socket(PORT), Account::Admin).await.map_err(words)
            })
        });
        let mut connections = try_join_all(connected).await.map_err(|late| late.last)?;
        let ids =
            try_join_all(connections.iter_mut().map(|connection| ask::<String>(connection, &["CLUSTER", "MYID"]))).await.map_err(words)?;
        for (index, connection) in connections.iter_mut().enumerate() {
            let epoch = (index + 1).to_string();
            // Distinct epochs before the nodes meet: otherwise they settle it by collisions, one at a time.
            ask::<()>(connection, &["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await.map_err(words)?;
            if index < masters {
                let (first, last) = (SLOTS * index / masters, SLOTS * (index + 1) / masters - 1);
                ask::<()>(connection, &["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]).await.map_err(words)?;
            }
        }
        // Gossip would spread the acquaintance of one with all, but only within seconds.
        for (index, connection) in connections.iter_mut().enumerate() {
            for peer in &self.nodes[index + 1..] {
                let meet = ["CLUSTER", "MEET", &peer.address().to_string(), &PORT.to_string(), &BUS_PORT.to_string()];
                ask::<()>(connection, &meet).await.map_err(words)?;
            }
        }
        try_join_all(connections.iter_mut().skip(masters).zip(&ids).map(|(connection, master)| follow(connection, master))).await?;
        Ok(())
    }

    /// How a client gets in.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Where the nodes listen: a client begins at any of them.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.socket(PORT)).collect()
    }

    /// The shards by the word of one node.
    ///
    /// # Errors
    /// Any error of the client.
    pub async fn shards_at(&self, node: &Node) -> RedisResult<Vec<Shard>> {
        let mut connection = self.access.connect(node.socket(PORT), Account::Admin).await?;
        Ok(shards(&ask::<String>(&mut connection, &["CLUSTER", "NODES"]).await?, &self.nodes))
    }

    /// The shards by the word of the first node that answers, in the order of their first slots.
    ///
    /// # Errors
    /// What the last node said.
    pub async fn shards(&self) -> Result<Vec<Shard>, String> {
        let mut last = "the Cluster has no node".to_owned();
        for node in &self.nodes {
            match self.shards_at(node).await {
                Ok(mut shards) => {
                    shards.sort_by_key(|shard| shard.first_slots(1));
                    return Ok(shards);
                }
                Err(error) => last = format!("{}: {error}", node.name()),
            }
        }
        Err(last)
    }

    /// One field of `CLUSTER INFO` on a node.
    ///
    /// # Errors
    /// Any error of the client.
    pub async fn cluster_field(&self, node: &Node, name: &str) -> RedisResult<String> {
        let mut connection = self.access.connect(node.socket(PORT), Account::Admin).await?;
        Ok(fields(&ask::<String>(&mut connection, &["CLUSTER", "INFO"]).await?).remove(name).unwrap_or_default())
    }

    /// Sends the same command to every node, one after the other.
    ///
    /// # Errors
    /// The first refusal, or node that does not answer.
    pub async fn tell_all(&self, words: &[&str]) -> RedisResult<()> {
        for node in &self.nodes {
            let mut connection = self.access.connect(node.socket(PORT), Account::Admin).await?;
            ask::<()>(&mut connection, words).await?;
        }
        Ok(())
    }

    /// Its role where it has one of the two that are right; otherwise what it is instead.
    async fn node_role(&self, node: &Node) -> RedisResult<Result<String, String>> {
        let mut connection = self.access.connect(node.socket(PORT), Account::Admin).await?;
        let state = fields(&ask::<String>(&mut connection, &["CLUSTER", "INFO"]).await?);
        let field = |fields: &BTreeMap<String, String>, name: &str| fields.get(name).cloned().unwrap_or_default();
        if field(&state, "cluster_state") != "ok" || field(&state, "cluster_slots_ok") != SLOTS.to_string() {
            return Ok(Err(format!(
                "in a Cluster that is {} with {} slots",
                field(&state, "cluster_state"),
                field(&state, "cluster_slots_ok")
            )));
        }
        if field(&state, "cluster_known_nodes") != self.nodes.len().to_string() {
            return Ok(Err(format!("acquainted with {} nodes", field(&state, "cluster_known_nodes"))));
        }
        let replication = info(&mut connection, "replication").await?;
        Ok(match field(&replication, "role").as_str() {
            "master" if field(&replication, "slave0").contains("state=online") => Ok("master with a replica".into()),
            "master" => Err("master without a replica".into()),
            _ if field(&replication, "master_link_status") == "up" => Ok("replica".into()),
            _ => Err("replica whose link is down".into()),
        })
    }

    async fn health_of(&self, node: &Node) -> NodeHealth {
        match self.node_role(node).await {
            // Either role is right: a shard's two nodes swap them at a failover.
            Ok(Ok(role)) => health(node, &role.clone(), Ok(role)),
            Ok(Err(other)) => health(node, "master with a replica, or replica", Err(other)),
            Err(error) => health(node, "master with a replica, or replica", Err(format!("unreachable: {error}"))),
        }
    }

    pub(super) fn state(&self) -> ShardedState {
        ShardedState { nodes: self.nodes.iter().map(Node::record).collect(), access: self.access.clone() }
    }

    pub(super) fn attach(engine: &Engine, state: ShardedState) -> Self {
        Self { nodes: state.nodes.into_iter().map(|record| Node::attach(engine, record)).collect(), access: state.access }
    }
}

#[async_trait]
impl Cluster for Sharded {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn nodes(&self) -> Vec<Node> {
        self.nodes.clone()
    }

    async fn health(&self) -> Vec<NodeHealth> {
        join_all(self.nodes.iter().map(|node| self.health_of(node))).await
    }

    fn connections(&self) -> Vec<ConnectionInfo> {
        let password = self.access.passwords.app.reveal();
        let first = self.nodes.first().map(Node::address);
        first
            .map(|address| ConnectionInfo {
                name: "redis-cluster (any node; the client follows the slots)".into(),
                command: format!("REDISCLI_AUTH={password} redis-cli -c -h {address} -p {PORT} --tls --cacert {{ca}} --user app"),
                url: format!("rediss://app:{password}@{address}:{PORT}"),
            })
            .into_iter()
            .collect()
    }
}

/// Becomes a replica, as soon as the node has heard of that master.
async fn follow(connection: &mut MultiplexedConnection, master: &str) -> Result<(), String> {
    let deadline = tokio::time::Instant::now() + crate::patience::stretched(READY_LIMIT);
    loop {
        match ask::<()>(connection, &["CLUSTER", "REPLICATE", master]).await {
            Ok(()) => return Ok(()),
            Err(error) if tokio::time::Instant::now() >= deadline => return Err(words(error)),
            Err(_not_yet_met) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that map_err wants")]
fn words(error: redis::RedisError) -> String {
    error.to_string()
}
