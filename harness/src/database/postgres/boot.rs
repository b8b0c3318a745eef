//! Starting a cluster: all pods at once; each waits by itself for what it needs.

use std::time::Duration;

use dora_fixtures::{
    assets,
    topology::{Nodes, Postgres},
};
use futures_util::future::{join_all, try_join_all};
use serde::Serialize;

use super::{APPLICATION, Credentials, DATABASE, PostgresCluster, Repository, patroni::PORT as REST_PORT};
use crate::topology::{Exception, Ground, GroundError, Node, NodeHealth, PodSpec, Seat};

/// The cluster's name.
const CLUSTER: &str = "postgres";
/// From the start of the pods to the last replica.
const READY_LIMIT: Duration = Duration::from_secs(90);
/// Server connections of the pooler for the application.
const POOL_SIZE: u32 = 40;

/// What to start.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// What every node's name starts with.
    pub prefix: String,
    /// The repository that the first leader's data come from; without one it starts empty.
    pub seed: Option<Repository>,
    /// Whether it is one server with one etcd member, whatever the profile.
    pub is_alone: bool,
}

/// Starts a cluster with new credentials and returns when every node has its role.
///
/// # Errors
/// [`GroundError`] with the last log lines; the nodes are removed then, so that their names are free again.
pub(super) async fn start(ground: &Ground, plan: Plan) -> Result<PostgresCluster, GroundError> {
    let known = ground.nodes().len();
    let started = start_all(ground, plan).await;
    if started.is_err() {
        let nodes = ground.nodes();
        let left: Vec<Node> = nodes.into_iter().skip(known).filter(|node| node.cluster() == CLUSTER).collect();
        // The first failure is the one to tell; what cannot be removed now goes with the run.
        let _ = join_all(left.iter().map(Node::destroy)).await;
    }
    started
}

async fn start_all(ground: &Ground, plan: Plan) -> Result<PostgresCluster, GroundError> {
    let kinds = &ground.topology().postgres;
    let names = |nodes: &Nodes| if plan.is_alone { vec![nodes.numbered(1, &plan.prefix)] } else { nodes.names(&plan.prefix) };
    let etcd = ground.seats(&names(&kinds.etcd))?;
    let servers = ground.seats(&names(&kinds.server))?;
    let pooler = ground.seats(&[kinds.pooler.only(&plan.prefix)])?.remove(0);
    let credentials = Credentials::generate();
    let drafts = Drafts { ground, plan: &plan, credentials: &credentials, etcd: &etcd, servers: &servers, pooler: &pooler };
    let specs = etcd
        .iter()
        .map(|seat| drafts.etcd_member(seat))
        .chain(servers.iter().map(|seat| drafts.server(seat)))
        .chain([drafts.pooler()])
        .collect::<Result<Vec<_>, _>>()?;
    let mut nodes = try_join_all(specs.into_iter().map(|spec| ground.start(spec))).await?;
    let pooler = nodes.remove(etcd.len() + servers.len());
    let servers = nodes.split_off(etcd.len());
    let cluster = PostgresCluster {
        etcd: nodes,
        servers,
        pooler,
        credentials: credentials.clone(),
        authority: ground.authority().certificate().to_owned(),
        identity: ground.authority().issue_client("dora")?,
    };
    ready(ground, &cluster, plan.seed.is_some()).await?;
    name_exceptions(ground);
    Ok(cluster)
}

/// What is answered without a login.
fn name_exceptions(ground: &Ground) {
    ground.except(Exception {
        place: format!("{CLUSTER}: port {REST_PORT} of every server, Patroni's REST API"),
        clause: "SEC-AUTH-PG".into(),
        what: "roles, history, metrics and the settings of the cluster can be read without a login".into(),
        why: "HAProxy and the other Patronis ask for the leader without one, and Patroni demands it only for what changes something; \
              the answers hold no password and no row"
            .into(),
    });
}

/// Waits for every node's role.
async fn ready(ground: &Ground, cluster: &PostgresCluster, restores: bool) -> Result<(), GroundError> {
    let etcd_name = cluster.etcd[0].name().to_owned();
    let phase = if restores { "restores and has its role" } else { "has its role" };
    let members = cluster.etcd.iter().map(|member| async {
        ground.wait_ready(member.name(), "has a leader", None, READY_LIMIT, || async { verdict(cluster.etcd_health(member).await) }).await
    });
    let servers = cluster.servers.iter().map(|server| {
        let etcd_name = &etcd_name;
        async move {
            let ask = || async { verdict(cluster.server_health(server).await) };
            ground.wait_ready(server.name(), phase, Some(etcd_name), READY_LIMIT, ask).await
        }
    });
    let pooler = async {
        let ask = || async { verdict(cluster.pooler_health().await) };
        ground.wait_ready(cluster.pooler.name(), "leads to the primary", Some("the primary"), READY_LIMIT, ask).await
    };
    tokio::try_join!(try_join_all(members), try_join_all(servers), pooler)?;
    Ok(())
}

fn verdict(health: NodeHealth) -> Result<(), String> {
    if health.healthy { Ok(()) } else { Err(health.observed) }
}

/// What all nodes' configurations are drawn from.
struct Drafts<'a> {
    ground: &'a Ground,
    plan: &'a Plan,
    credentials: &'a Credentials,
    etcd: &'a [Seat],
    servers: &'a [Seat],
    pooler: &'a Seat,
}

#[derive(Serialize)]
struct EtcdVariables<'a> {
    name: &'a str,
    address: String,
    token: String,
    members: &'a [Seat],
}

#[derive(Serialize)]
struct ServerVariables<'a> {
    scope: &'a str,
    name: &'a str,
    address: String,
    members: &'a [Seat],
    etcd: &'a [Seat],
    superuser_password: &'a str,
    replicator_password: &'a str,
    rewind_password: &'a str,
    rest_password: &'a str,
    restore: bool,
    restore_passphrase: &'a str,
    backup_passphrase: &'a str,
    database: &'a str,
    app_user: &'a str,
    app_password: &'a str,
}

#[derive(Serialize)]
struct PoolerVariables<'a> {
    database: &'a str,
    pool_size: u32,
    app_user: &'a str,
    app_password: &'a str,
    members: &'a [Seat],
}

impl Drafts<'_> {
    fn kinds(&self) -> &'static Postgres {
        &self.ground.topology().postgres
    }

    fn spec(&self, seat: &Seat, role: &str, image: &str, user: &str, nodes: &Nodes, files: Vec<(String, Vec<u8>, u32)>) -> PodSpec {
        let all = self.etcd.iter().chain(self.servers).chain([self.pooler]);
        PodSpec {
            seat: seat.clone(),
            cluster: CLUSTER.to_owned(),
            role: role.to_owned(),
            image: image.to_owned(),
            user: user.to_owned(),
            hosts: all.map(|seat| (seat.name.clone(), seat.address)).collect(),
            files,
            env: Vec::new(),
            capabilities: Vec::new(),
            volumes: Vec::new(),
            memory_bytes: nodes.memory_bytes(),
            loads_for: Duration::ZERO,
        }
    }

    fn etcd_member(&self, seat: &Seat) -> Result<PodSpec, GroundError> {
        let token = format!("{}-{}postgres", self.ground.run(), self.plan.prefix);
        let variables = EtcdVariables { name: &seat.name, address: seat.address.to_string(), token, members: self.etcd };
        Ok(self.spec(seat, "consensus", "etcd", "etcd", &self.kinds().etcd, files("etcd", &variables)?))
    }

    fn server(&self, seat: &Seat) -> Result<PodSpec, GroundError> {
        let secrets = self.credentials;
        let variables = ServerVariables {
            scope: "dora",
            name: &seat.name,
            address: seat.address.to_string(),
            members: self.servers,
            etcd: self.etcd,
            superuser_password: secrets.superuser.reveal(),
            replicator_password: secrets.replicator.reveal(),
            rewind_password: secrets.rewind.reveal(),
            rest_password: secrets.rest.reveal(),
            restore: self.plan.seed.is_some(),
            restore_passphrase: self.plan.seed.as_ref().map_or("", |seed| seed.passphrase.reveal()),
            backup_passphrase: secrets.backup.reveal(),
            database: DATABASE,
            app_user: APPLICATION,
            app_password: secrets.application.reveal(),
        };
        let mut files = files("postgres", &variables)?;
        if let Some(seed) = &self.plan.seed {
            // Encrypted throughout, so the mode protects nothing that the cipher does not.
            files.extend(seed.files.iter().map(|(path, content)| (format!("/dora/restore/{path}"), content.clone(), 0o644)));
        }
        let mut spec = self.spec(seat, "server", "postgres", "postgres", &self.kinds().server, files);
        spec.volumes.push(("backup".to_owned(), "/dora/backup".to_owned()));
        Ok(spec)
    }

    fn pooler(&self) -> Result<PodSpec, GroundError> {
        let variables = PoolerVariables {
            database: DATABASE,
            pool_size: POOL_SIZE,
            app_user: APPLICATION,
            app_password: self.credentials.application.reveal(),
            members: self.servers,
        };
        Ok(self.spec(self.pooler, "pooler", "pgbouncer", "postgres", &self.kinds().pooler, files("pgbouncer", &variables)?))
    }
}

/// A kind of node's files: the start script, and everything else below `/dora/config`, templates filled.
fn files(kind: &str, variables: &impl Serialize) -> Result<Vec<(String, Vec<u8>, u32)>, GroundError> {
    let folder = format!("config/{kind}");
    let mut files = Vec::new();
    for file in assets::list(&folder)? {
        let entry = match (file.path.as_str(), file.path.strip_suffix(".j2")) {
            ("start.sh", _) => ("/dora/bin/start.sh".to_owned(), file.bytes.to_vec(), 0o755),
            (path, Some(name)) => {
                (format!("/dora/config/{name}"), assets::render(&format!("{folder}/{path}"), variables)?.into_bytes(), 0o600)
            }
            (path, None) => (format!("/dora/config/{path}"), file.bytes.to_vec(), 0o644),
        };
        files.push(entry);
    }
    Ok(files)
}
