//! Starts a replica set: nodes, initiation, accounts.

use std::{net::Ipv4Addr, time::Duration};

use dora_fixtures::assets;
use futures_util::future::try_join_all;
use mongodb::bson::{Document, doc};
use serde_json::json;

use super::{
    ADMIN, APPLICATION, Access, Connection, MongodbError, OPERATOR, PORT, Passwords, Reach, ReplicaSet, SetRecord, error::limited,
    revocation::REVOCATION_LISTS,
};
use crate::{
    database::Cluster as _,
    platform::all_healthy,
    security::generate_secret,
    topology::{Ground, GroundError, Node, PodSpec, Seat},
};

/// Which set to start.
#[derive(Debug, Clone)]
pub struct SetSpec {
    /// The cluster's name.
    pub cluster: String,
    /// The replica set's name.
    pub set: String,
    /// The data nodes' names.
    pub data_nodes: Vec<String>,
    /// Memory limit of a data node, in bytes.
    pub memory_bytes: i64,
    /// The node that votes and holds no data, if there is one.
    pub arbiter: Option<ArbiterSpec>,
}

/// The arbiter of a set.
#[derive(Debug, Clone)]
pub struct ArbiterSpec {
    /// Its name.
    pub name: String,
    /// Its memory limit, in bytes.
    pub memory_bytes: i64,
}

impl SetSpec {
    /// The names of all nodes, the arbiter's last.
    fn names(&self) -> Vec<String> {
        self.data_nodes.iter().chain(self.arbiter.as_ref().map(|arbiter| &arbiter.name)).cloned().collect()
    }

    /// The node of that name as an arbiter, if it is one.
    fn as_arbiter(&self, name: &str) -> Option<&ArbiterSpec> {
        self.arbiter.as_ref().filter(|arbiter| arbiter.name == name)
    }
}

/// From the start of a container to a listening server.
const LISTEN_LIMIT: Duration = Duration::from_secs(60);
/// One phase of making a set of the servers.
const PHASE_LIMIT: Duration = Duration::from_secs(60);
/// One request during the start.
const REQUEST_LIMIT: Duration = Duration::from_secs(15);
/// `AlreadyInitialized`: an earlier attempt's answer was lost.
const ALREADY_INITIATED: i32 = 23;
/// Collections that the application and the trials write to lie in these databases.
pub const APPLICATION_DATABASES: [&str; 2] = [super::DATABASE, super::TRIALS];

impl ReplicaSet {
    /// Starts a set with new passwords; every node has its role when this returns.
    ///
    /// # Errors
    /// [`GroundError`], with the nodes' last log lines where a phase took too long.
    pub async fn start(ground: &Ground, spec: SetSpec) -> Result<Self, GroundError> {
        let cluster = spec.cluster.clone();
        let failed = |error: MongodbError| GroundError::database(&cluster, error);
        let names = spec.names();
        let seats = ground.seats(&names)?;
        let nodes = try_join_all((0..seats.len()).map(|index| start_node(ground, &spec, &seats, index))).await?;
        let record = SetRecord {
            cluster: spec.cluster.clone(),
            set: spec.set.clone(),
            nodes: nodes.iter().map(Node::record).collect(),
            arbiter: spec.arbiter.is_some(),
            passwords: Passwords { admin: generate_secret(), application: generate_secret(), operator: generate_secret() },
            authority: ground.authority().certificate().to_owned(),
        };
        let set = Self::attach(ground.engine(), record).map_err(failed)?;
        let first = member_connection(ground, &set, &nodes[0]).map_err(failed)?;
        let others: Vec<&str> = names.iter().skip(1).map(String::as_str).collect();
        let others = (!others.is_empty()).then(|| others.join(", "));
        let config = config(&spec, &nodes);
        ground.wait_ready(&cluster, "initiated", others.as_deref(), PHASE_LIMIT, || initiate(&first, &config)).await?;
        let primary = ground.wait_ready(&cluster, "primary elected", others.as_deref(), PHASE_LIMIT, || set.primary()).await?;
        let primary = member_connection(ground, &set, &primary).map_err(failed)?;
        // Majority-acknowledged, so this waits for the others' initial copy.
        ground.boot().phase(&cluster, "accounts", others.as_deref(), create_accounts(&primary, &set)).await.map_err(failed)?;
        ground.wait_ready(&cluster, "ready", others.as_deref(), PHASE_LIMIT, || async { all_healthy(&set.health().await) }).await?;
        Ok(set)
    }
}

async fn start_node(ground: &Ground, spec: &SetSpec, seats: &[Seat], index: usize) -> Result<Node, GroundError> {
    let seat = seats[index].clone();
    let arbiter = spec.as_arbiter(&seat.name);
    let context = json!({
        "address": seat.address,
        "replica_set": spec.set,
        "cache_gib": f64::from(ground.topology().mongodb.cache_mib()) / 1024.0,
        "oplog_mib": 128,
        "disabled_tls": ["TLS1_0", "TLS1_1", "TLS1_2"],
    });
    let config = assets::render("config/mongodb/mongod.conf.j2", context)?;
    let start = assets::text("config/mongodb/start.sh")?;
    // All certificates of a new set are the root's own.
    let lists = ground.authority().revocation_list()?;
    let node = ground
        .start(PodSpec {
            seat,
            cluster: spec.cluster.clone(),
            role: if arbiter.is_some() { "arbiter" } else { "data node" }.into(),
            image: "mongodb".into(),
            user: "mongodb".into(),
            hosts: seats.iter().map(|seat| (seat.name.clone(), seat.address)).collect(),
            files: vec![
                ("/dora/config/mongod.conf".into(), config.into_bytes(), 0o600),
                (REVOCATION_LISTS.into(), lists.into_bytes(), 0o644),
                ("/dora/bin/start.sh".into(), start.as_bytes().to_vec(), 0o755),
            ],
            env: Vec::new(),
            capabilities: Vec::new(),
            volumes: Vec::new(),
            memory_bytes: arbiter.map_or(spec.memory_bytes, |arbiter| arbiter.memory_bytes),
            loads_for: Duration::ZERO,
        })
        .await?;
    ground
        .wait_ready(node.name(), "listening", None, LISTEN_LIMIT, || async {
            if node.accepts(PORT).await { Ok(()) } else { Err("the port refuses") }
        })
        .await?;
    Ok(node)
}

/// Members recognise each other by certificate; one of the harness's own is therefore full authority over the set, and no server has to
/// let an anonymous first user in from its localhost. The key lives in this process only.
fn member_connection(ground: &Ground, set: &ReplicaSet, node: &Node) -> Result<Connection, MongodbError> {
    let what = "log in as a member";
    let identity = ground.authority().issue_node("harness", Ipv4Addr::LOCALHOST).map_err(|error| MongodbError::unusable(what, error))?;
    let access: Access = set.access().with_identity(&identity).map_err(MongodbError::driver(what))?;
    access.open(&Reach::Member(node.socket(PORT)), REQUEST_LIMIT).map_err(MongodbError::driver(what))
}

/// Short time-outs: the defaults (10 s) are for links between continents. All priorities are equal, so a returned node does not take its
/// role back with a second outage.
fn config(spec: &SetSpec, nodes: &[Node]) -> Document {
    let members: Vec<Document> = (0_i32..)
        .zip(nodes)
        .map(|(id, node)| {
            let arbiter = spec.as_arbiter(node.name()).is_some();
            doc! { "_id": id, "host": node.socket(PORT).to_string(), "arbiterOnly": arbiter, "priority": i32::from(!arbiter) }
        })
        .collect();
    doc! {
        "_id": &spec.set,
        "version": 1,
        "members": members,
        "settings": {
            "electionTimeoutMillis": 2_000,
            "heartbeatIntervalMillis": 500,
            // A killed pod is silent: without this an arbiter counts it for another 10 s.
            "heartbeatTimeoutSecs": 2,
            // A new primary waits this long for writes that only the dead one may have; majority-acknowledged ones are not among them.
            "catchUpTimeoutMillis": 1_000,
        },
    }
}

async fn initiate(first: &Connection, config: &Document) -> Result<(), MongodbError> {
    let admin = first.database("admin");
    match limited("initiate the set", REQUEST_LIMIT, admin.run_command(doc! { "replSetInitiate": config.clone() })).await {
        Err(MongodbError::Driver { source, .. }) if is_command_error(&source, ALREADY_INITIATED) => Ok(()),
        other => other.map(|_answer| ()),
    }
}

fn is_command_error(error: &mongodb::error::Error, code: i32) -> bool {
    matches!(&*error.kind, mongodb::error::ErrorKind::Command(command) if command.code == code)
}

async fn create_accounts(primary: &Connection, set: &ReplicaSet) -> Result<(), MongodbError> {
    let admin = primary.database("admin");
    if set.record().arbiter {
        // With one of its two data nodes dead the set would refuse every write by default; who needs a majority asks for it.
        let concern = doc! { "setDefaultRWConcern": 1, "defaultWriteConcern": { "w": 1 } };
        limited("set the default write concern", REQUEST_LIMIT, admin.run_command(concern)).await?;
    }
    let write: Vec<Document> = APPLICATION_DATABASES.iter().map(|database| doc! { "role": "readWrite", "db": database }).collect();
    let passwords = set.passwords();
    let accounts = [
        (ADMIN, &passwords.admin, vec![doc! { "role": "root", "db": "admin" }]),
        (APPLICATION, &passwords.application, write),
        (OPERATOR, &passwords.operator, vec![doc! { "role": "backup", "db": "admin" }, doc! { "role": "restore", "db": "admin" }]),
    ];
    for (name, password, roles) in accounts {
        let command = doc! {
            "createUser": name,
            "pwd": password.reveal(),
            "roles": roles,
            "mechanisms": ["SCRAM-SHA-256"],
            "writeConcern": { "w": "majority", "wtimeout": 30_000 },
        };
        limited("create an account", REQUEST_LIMIT * 2, admin.run_command(command)).await?;
    }
    Ok(())
}
