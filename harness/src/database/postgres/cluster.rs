//! A started cluster.

use std::{net::SocketAddr, time::Duration};

use async_trait::async_trait;
use dora_fixtures::assets;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{PgConnection, Row as _};
use tokio::time::timeout;

use super::{APPLICATION, AccessError, DATABASE, ETCD_PORT, Login, MemberState, POOLER_PORT, SERVER_PORT, connect, patroni};
use crate::{
    database::{Cluster, ConnectionInfo},
    engine::EngineError,
    patience::within,
    security::{Identity, Secret, client_config_with_identity, generate_secret},
    topology::{Ground, GroundError, Node, NodeHealth},
};

/// A connection that is not there by then does not come.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// One small question.
pub(super) const ASK_LIMIT: Duration = Duration::from_secs(5);
/// A server that gave no answer for once does so by then.
const FIND_LIMIT: Duration = Duration::from_secs(20);
/// Sending a signal inside a node.
const SIGNAL_LIMIT: Duration = Duration::from_secs(15);

/// What the servers of a cluster say of themselves.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Those that say that they are the primary.
    pub primaries: Vec<Node>,
    /// Those that follow.
    pub followers: Vec<Node>,
    /// Those that gave no answer, and why.
    pub silent: Vec<(Node, String)>,
}

impl Standing {
    /// The one that is primary.
    ///
    /// # Errors
    /// What every server said, when none or more than one is.
    pub fn only_primary(&self) -> Result<Node, String> {
        match self.primaries.as_slice() {
            [primary] => Ok(primary.clone()),
            [one, other, ..] => Err(format!("{} and {} are both primary", one.name(), other.name())),
            [] => {
                let follow = self.followers.iter().map(|node| format!("{} follows", node.name()));
                let said = follow.chain(self.silent.iter().map(|(node, why)| format!("{}: {why}", node.name())));
                Err(format!("no server is primary ({})", said.collect::<Vec<_>>().join("; ")))
            }
        }
    }
}

/// All passwords of one cluster; another cluster has others.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Credentials {
    /// Role `postgres`.
    pub superuser: Secret,
    /// Role `replicator`.
    pub replicator: Secret,
    /// Role `rewind`, for `pg_rewind`.
    pub rewind: Secret,
    /// User `dora` of Patroni's REST API.
    pub rest: Secret,
    /// Role `app`.
    pub application: Secret,
    /// Passphrase of the backup repository.
    pub backup: Secret,
}

impl Credentials {
    /// New ones.
    pub fn generate() -> Self {
        Self {
            superuser: generate_secret(),
            replicator: generate_secret(),
            rewind: generate_secret(),
            rest: generate_secret(),
            application: generate_secret(),
            backup: generate_secret(),
        }
    }
}

/// A cluster of `PostgreSQL` servers with its etcd and its pooler.
#[derive(Debug, Clone)]
pub struct PostgresCluster {
    pub(super) etcd: Vec<Node>,
    pub(super) servers: Vec<Node>,
    pub(super) pooler: Node,
    pub(super) credentials: Credentials,
    pub(super) authority: String,
    /// etcd asks its clients for a certificate.
    pub(super) identity: Identity,
}

/// What a server says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Role {
    follows: bool,
    fed: bool,
    followers: i64,
    synchronous: i64,
}

impl PostgresCluster {
    /// Starts a single server with its etcd and pooler beside the platform; their names begin with `prefix`.
    ///
    /// # Errors
    /// [`GroundError`], with the last log lines.
    pub async fn start_alone(ground: &Ground, prefix: &str) -> Result<Self, GroundError> {
        super::boot::start(ground, super::Plan { prefix: prefix.to_owned(), is_alone: true, seed: None }).await
    }

    /// The `PostgreSQL` servers.
    pub fn servers(&self) -> &[Node] {
        &self.servers
    }

    /// The etcd members.
    pub fn etcd(&self) -> &[Node] {
        &self.etcd
    }

    /// The pooler.
    pub fn pooler(&self) -> &Node {
        &self.pooler
    }

    /// Its passwords.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Certificate of the authority that signed its nodes', PEM.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// A login of the application to any address that leads to the cluster.
    pub fn application_login(&self, address: SocketAddr) -> Login {
        self.login(address, APPLICATION, &self.credentials.application)
    }

    /// A login of the superuser to one server.
    pub fn superuser_login(&self, server: &Node) -> Login {
        self.login(server.socket(SERVER_PORT), "postgres", &self.credentials.superuser)
    }

    fn login(&self, address: SocketAddr, user: &str, password: &Secret) -> Login {
        Login {
            address,
            user: user.to_owned(),
            password: password.clone(),
            database: DATABASE.to_owned(),
            authority: Some(self.authority.clone()),
        }
    }

    /// The server that says of itself that it is the primary.
    ///
    /// # Errors
    /// What every server said, when none or more than one is.
    pub async fn primary(&self) -> Result<Node, String> {
        self.standing().await.only_primary()
    }

    /// What every server says of itself.
    pub async fn standing(&self) -> Standing {
        let roles = join_all(self.servers.iter().map(|server| self.role(server))).await;
        let mut standing = Standing { primaries: Vec::new(), followers: Vec::new(), silent: Vec::new() };
        for (server, role) in self.servers.iter().cloned().zip(roles) {
            match role {
                Ok(role) if role.follows => standing.followers.push(server),
                Ok(_) => standing.primaries.push(server),
                Err(why) => standing.silent.push((server, why)),
            }
        }
        standing
    }

    /// [`PostgresCluster::primary`], asked again for some time: on a busy machine a server may give no answer for once.
    ///
    /// # Errors
    /// What every server said in the end, when none or more than one is.
    pub async fn find_primary(&self) -> Result<Node, String> {
        within("one primary", FIND_LIMIT, Duration::from_millis(500), || self.primary()).await.map_err(|late| late.last)
    }

    /// A connection of the application to the primary itself, past the pooler.
    ///
    /// # Errors
    /// [`PostgresCluster::primary`]'s, or the client's words.
    pub async fn primary_connection(&self) -> Result<PgConnection, String> {
        let primary = self.primary().await?;
        connect(&self.application_login(primary.socket(SERVER_PORT)), CONNECT_LIMIT).await.map_err(|e| e.to_string())
    }

    /// How many followers have applied everything that the primary wrote.
    ///
    /// # Errors
    /// In words.
    pub async fn caught_up(&self) -> Result<usize, String> {
        let primary = self.primary().await?;
        let mut connection = connect(&self.superuser_login(&primary), CONNECT_LIMIT).await.map_err(|e| e.to_string())?;
        let question = sql("monitoring/caught_up")?;
        let count: i64 = timeout(ASK_LIMIT, sqlx::query_scalar(question).fetch_one(&mut connection))
            .await
            .map_err(|_elapsed| AccessError::Deadline(ASK_LIMIT).to_string())?
            .map_err(|e| e.to_string())?;
        Ok(usize::try_from(count).unwrap_or_default())
    }

    /// What Patroni on the given server says of all.
    ///
    /// # Errors
    /// In words.
    pub async fn patroni_view(&self, from: &Node) -> Result<Vec<MemberState>, String> {
        patroni::view(self, from).await
    }

    /// Freezes Patroni on a server, or lets it go on; `PostgreSQL` itself is not touched.
    ///
    /// # Errors
    /// [`EngineError`], also when Patroni's process is not in the state that was asked for.
    pub async fn freeze_patroni(&self, server: &Node, frozen: bool) -> Result<(), EngineError> {
        let signal = if frozen { "STOP" } else { "CONT" };
        server.exec_ok(&["sh", "/dora/config/signal-patroni.sh", signal], &[], SIGNAL_LIMIT).await?;
        Ok(())
    }

    async fn role(&self, server: &Node) -> Result<Role, String> {
        let question = sql("monitoring/role")?;
        let ask = async {
            let mut connection = connect(&self.superuser_login(server), CONNECT_LIMIT).await?;
            let row = sqlx::query(question).fetch_one(&mut connection).await?;
            Ok::<_, AccessError>(Role {
                follows: row.try_get("follows")?,
                fed: row.try_get("fed")?,
                followers: row.try_get("followers")?,
                synchronous: row.try_get("synchronous")?,
            })
        };
        timeout(ASK_LIMIT, ask).await.map_err(|_elapsed| AccessError::Deadline(ASK_LIMIT).to_string())?.map_err(|e| e.to_string())
    }

    /// Health of one server; a primary has followers, one of them synchronous, where there is anybody to follow.
    pub(super) async fn server_health(&self, server: &Node) -> NodeHealth {
        let others = i64::try_from(self.servers.len()).unwrap_or(i64::MAX) - 1;
        let expected = if others > 0 { "primary with synchronous standby, or streaming replica" } else { "primary" };
        let (observed, healthy) = match self.role(server).await {
            Ok(Role { follows: true, fed, .. }) => {
                (if fed { "streaming replica" } else { "replica that does not stream" }.to_owned(), fed && others > 0)
            }
            Ok(Role { followers, synchronous, .. }) if others > 0 => (
                format!("primary, {followers} of {others} followers stream, {synchronous} synchronous"),
                followers == others && synchronous > 0,
            ),
            Ok(_) => ("primary".to_owned(), true),
            Err(error) => (error, false),
        };
        NodeHealth { node: server.name().to_owned(), expected: expected.to_owned(), observed, healthy }
    }

    /// Health of one etcd member, asked as a client with a certificate.
    pub(super) async fn etcd_health(&self, member: &Node) -> NodeHealth {
        let asked = self.etcd_role(member).await;
        let (observed, healthy) = match asked {
            Ok(role) => (role, true),
            Err(error) => (error, false),
        };
        NodeHealth { node: member.name().to_owned(), expected: "leader or follower".to_owned(), observed, healthy }
    }

    pub(super) async fn etcd_role(&self, member: &Node) -> Result<String, String> {
        let tls = client_config_with_identity(&self.authority, &self.identity).map_err(|e| e.to_string())?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .timeout(CONNECT_LIMIT)
            .build()
            .map_err(|e| e.to_string())?;
        let url = format!("https://{}/v3/maintenance/status", member.socket(ETCD_PORT));
        let answer = client.post(url).body("{}").send().await.map_err(|e| e.to_string())?;
        let status: Value = answer.json().await.map_err(|e| e.to_string())?;
        match (status["leader"].as_str(), status["header"]["member_id"].as_str()) {
            (Some(leader), Some(own)) if leader != "0" => Ok(if leader == own { "leader" } else { "follower" }.to_owned()),
            _ => Err("it knows no leader".to_owned()),
        }
    }

    /// Health of the pooler: an application's question gets an answer through it.
    pub(super) async fn pooler_health(&self) -> NodeHealth {
        let (observed, healthy) = match self.ask_through_the_pooler().await {
            Ok(()) => ("leads to the primary".to_owned(), true),
            Err(error) => (error, false),
        };
        NodeHealth { node: self.pooler.name().to_owned(), expected: "leads to the primary".to_owned(), observed, healthy }
    }

    async fn ask_through_the_pooler(&self) -> Result<(), String> {
        let question = sql("monitoring/alive")?;
        let ask = async {
            let mut connection = connect(&self.application_login(self.pooler.socket(POOLER_PORT)), CONNECT_LIMIT).await?;
            sqlx::query(question).execute(&mut connection).await?;
            Ok::<_, AccessError>(())
        };
        timeout(ASK_LIMIT, ask).await.map_err(|_elapsed| AccessError::Deadline(ASK_LIMIT).to_string())?.map_err(|e| e.to_string())
    }
}

/// A statement of this project's own, by its path below `schema/postgres` without ending.
pub(super) fn sql(path: &str) -> Result<&'static str, String> {
    assets::text(&format!("schema/postgres/{path}.sql")).map_err(|e| e.to_string())
}

#[async_trait]
impl Cluster for PostgresCluster {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn nodes(&self) -> Vec<Node> {
        self.etcd.iter().chain(&self.servers).chain([&self.pooler]).cloned().collect()
    }

    async fn health(&self) -> Vec<NodeHealth> {
        let (etcd, servers, pooler) = tokio::join!(
            join_all(self.etcd.iter().map(|member| self.etcd_health(member))),
            join_all(self.servers.iter().map(|server| self.server_health(server))),
            self.pooler_health(),
        );
        etcd.into_iter().chain(servers).chain([pooler]).collect()
    }

    fn connections(&self) -> Vec<ConnectionInfo> {
        let info = |name: String, user: &str, password: &Secret, address: SocketAddr| {
            let url = format!("postgresql://{user}:{}@{address}/{DATABASE}?sslmode=verify-full&sslrootcert={{ca}}", password.reveal());
            ConnectionInfo { name, command: format!("psql '{url}'"), url }
        };
        let pooled =
            info("postgres (through the pooler)".to_owned(), APPLICATION, &self.credentials.application, self.pooler.socket(POOLER_PORT));
        let direct = self.servers.iter().map(|server| {
            info(format!("postgres ({}, superuser)", server.name()), "postgres", &self.credentials.superuser, server.socket(SERVER_PORT))
        });
        [pooled].into_iter().chain(direct).collect()
    }
}
