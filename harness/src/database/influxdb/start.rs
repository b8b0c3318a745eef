//! Starts a cluster or a single node, empty or from a backup.

use std::time::Duration;

use dora_fixtures::assets;
use futures_util::future::try_join_all;
use serde_json::json;

use super::{
    Form, Influx, InfluxClient, InfluxError,
    deployment::{ADMINISTRATOR, APPLICATION, PORT, Passwords},
    influxql, influxql_with,
};
use crate::{
    database::Cluster as _,
    security::{Secret, generate_secret},
    topology::{Exception, Ground, GroundError, PodSpec, Seat},
};

/// The user of the images.
const USER: &str = "influxdb";
/// A node that does not serve by then does not start.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// One attempt while a node boots.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(3);
/// Where a node finds the backup that it starts from.
const BACKUP_FOLDER: &str = "/dora/config/backup";

/// What a restored cluster starts from: the backup of each node, in the order of the nodes.
#[derive(Debug, Clone)]
pub struct Seed {
    /// File name and content, for each node.
    pub nodes: Vec<Vec<(String, Vec<u8>)>>,
    /// The databases in it.
    pub databases: Vec<String>,
    /// The password of the account that owns everything, as it was in the old cluster: the metadata bring it along.
    pub administrator: Secret,
}

impl Influx {
    /// Starts it with nodes whose names begin with `prefix` and returns when every node has its role. With a `seed` (cluster
    /// only: a single node restores while it serves) the nodes start on that backup, and its passwords are replaced.
    ///
    /// # Errors
    /// [`GroundError`], with log lines of the nodes.
    pub async fn start(ground: &Ground, form: Form, prefix: &str, seed: Option<Seed>) -> Result<Self, GroundError> {
        name_exceptions(ground, form);
        let seats = ground.seats(&form.node_names(&ground.topology().influxdb, prefix))?;
        let starts = seats.iter().enumerate().map(|(at, seat)| start_node(ground, form, &seats, at, seat, seed.as_ref()));
        let nodes = try_join_all(starts).await?;
        let influx = Self::new(form, prefix, nodes, ground.authority().certificate(), Passwords::generate());
        influx.make_users(ground, seed.as_ref().map(|seed| &seed.administrator)).await?;
        let first = influx.nodes()[0].name().to_owned();
        let ready = influx.nodes().into_iter().map(|node| {
            let (influx, first) = (&influx, &first);
            async move {
                let attempt = || async {
                    let health = influx.node_health(&node).await;
                    if health.healthy { Ok(()) } else { Err(health.observed) }
                };
                ground.wait_ready(node.name(), "ready", Some(first), READY_LIMIT, attempt).await
            }
        });
        try_join_all(ready).await?;
        Ok(influx)
    }

    /// The first user may be made without credentials, and is, as soon as the first node serves. In a restored cluster the old
    /// cluster's users are there instead: their passwords are replaced.
    async fn make_users(&self, ground: &Ground, old: Option<&Secret>) -> Result<(), GroundError> {
        let node = &self.nodes()[0];
        let nobody = generate_secret();
        let bootstrap = match old {
            Some(password) => self.access(ADMINISTRATOR, password),
            None => self.access("", &nobody),
        };
        let statement = |path: &str, user: &str, password: &Secret| {
            influxql_with(path, json!({ "user": user, "password": password })).map_err(|error| wrap(self, error))
        };
        let path = if old.is_some() { "administration/set_password" } else { "administration/create_administrator" };
        let first = statement(path, ADMINISTRATOR, &self.passwords().administrator)?;
        let question = influxql("monitoring/databases").map_err(|error| wrap(self, error))?;
        let (bootstrap, owner) = (client(self, bootstrap)?, client(self, self.administrator())?);
        let attempt = || async {
            match bootstrap.query(&first, None).await {
                Ok(_) => Ok(()),
                // An earlier attempt whose answer was lost may have worked: then the new password is good already.
                Err(error) => owner.query(question, None).await.map(drop).map_err(|_| error),
            }
        };
        let others = if self.form() == Form::Cluster { Some("a majority of the meta nodes") } else { None };
        ground.wait_ready(node.name(), "first user", others, READY_LIMIT, attempt).await?;
        let path = if old.is_some() { "administration/set_password" } else { "administration/create_user" };
        let second = statement(path, APPLICATION, &self.passwords().application)?;
        let attempt = || async { owner.query(&second, None).await.map(drop) };
        ground.wait_ready(node.name(), "second user", None, READY_LIMIT, attempt).await
    }
}

fn client(influx: &Influx, access: super::Access) -> Result<InfluxClient, GroundError> {
    InfluxClient::new(influx.nodes()[0].socket(PORT), access, ATTEMPT_LIMIT).map_err(|error| wrap(influx, error))
}

fn wrap(influx: &Influx, error: InfluxError) -> GroundError {
    GroundError::database(influx.form().name(), error)
}

async fn start_node(
    ground: &Ground,
    form: Form,
    seats: &[Seat],
    at: usize,
    seat: &Seat,
    seed: Option<&Seed>,
) -> Result<crate::topology::Node, GroundError> {
    let mut files = match form {
        Form::Cluster => cluster_files(seats, at, seat)?,
        Form::Single => single_files(seat)?,
    };
    if let Some(seed) = seed {
        let databases = seed.databases.join("\n") + "\n";
        files.push((format!("{BACKUP_FOLDER}/databases"), databases.into_bytes(), 0o600));
        let backup = seed.nodes.get(at).into_iter().flatten();
        files.extend(backup.map(|(name, content)| (format!("{BACKUP_FOLDER}/{name}"), content.clone(), 0o600)));
    }
    let hosts = seats.iter().map(|seat| (seat.name.clone(), seat.address)).collect();
    ground
        .start(PodSpec {
            seat: seat.clone(),
            cluster: form.name().into(),
            role: form.role().into(),
            image: form.image().into(),
            user: USER.into(),
            hosts,
            files,
            env: Vec::new(),
            capabilities: Vec::new(),
            volumes: Vec::new(),
            memory_bytes: form.nodes(&ground.topology().influxdb).memory_bytes(),
            loads_for: Duration::ZERO,
        })
        .await
}

type Files = Vec<(String, Vec<u8>, u32)>;

fn script(folder: &str, name: &str) -> Result<(String, Vec<u8>, u32), GroundError> {
    Ok((format!("/dora/bin/{name}"), assets::bytes(&format!("config/{folder}/{name}"))?.to_vec(), 0o755))
}

fn cluster_files(seats: &[Seat], at: usize, seat: &Seat) -> Result<Files, GroundError> {
    let folder = Form::Cluster.image();
    let peer = |(index, seat): (usize, &Seat)| json!({ "index": index + 1, "name": seat.name, "address": seat.address });
    let peers: Vec<_> = seats.iter().enumerate().map(peer).collect();
    let context = json!({
        "index": at + 1,
        "address": seat.address,
        "peers": peers,
        "hinted_handoff": true,
        "tls_version_min": "TLSv1.3",
    });
    let server = assets::render(&format!("config/{folder}/influxdb.toml.j2"), &context)?;
    let proxy = assets::render(&format!("config/{folder}/stunnel.conf.j2"), &context)?;
    Ok(vec![
        ("/dora/config/influxdb.toml".into(), server.into_bytes(), 0o600),
        ("/dora/config/stunnel.conf".into(), proxy.into_bytes(), 0o600),
        script(folder, "start.sh")?,
        script(folder, "meta-leader.sh")?,
        script(folder, "backup.sh")?,
        script(folder, "restore.sh")?,
    ])
}

fn single_files(seat: &Seat) -> Result<Files, GroundError> {
    let folder = Form::Single.image();
    let context = json!({ "address": seat.address, "jwt_secret": generate_secret().reveal(), "tls_version_min": "tls1.3" });
    let server = assets::render(&format!("config/{folder}/influxdb.toml.j2"), &context)?;
    Ok(vec![
        ("/dora/config/influxdb.toml".into(), server.into_bytes(), 0o600),
        script(folder, "start.sh")?,
        script(folder, "backup.sh")?,
        script(folder, "restore.sh")?,
    ])
}

fn name_exceptions(ground: &Ground, form: Form) {
    match form {
        Form::Cluster => ground.except(Exception {
            place: "influxdb: influxd to stunnel, inside one pod".into(),
            clause: "SEC-TLS-LINKS".into(),
            what: "plaintext over the pod's loopback device".into(),
            why: "release 0.11 cannot encrypt the links between its nodes; stunnel in the same pod carries them in mutual TLS 1.3".into(),
        }),
        Form::Single => ground.except(Exception {
            place: "influxdb-single: backup port 8088, on the pod's loopback device only".into(),
            clause: "SEC-TLS-LINKS".into(),
            what: "plaintext".into(),
            why: "backup and restore of release 1.8 know no TLS; they run inside the node".into(),
        }),
    }
    ground.except(Exception {
        place: format!("{}: from a node's first answer to its first user", form.name()),
        clause: "SEC-AUTH-IDB".into(),
        what: "the first user can be made without credentials".into(),
        why: "the engine knows no other way to make it; it is done with the first answer, before any data are there".into(),
    });
    ground.except(Exception {
        place: format!("{}: port {PORT} of every node, /ping", form.name()),
        clause: "SEC-AUTH-IDB".into(),
        what: "that a node serves, and its release, are told without a login".into(),
        why: "for load balancers; release 0.11 has no login for it".into(),
    });
}
