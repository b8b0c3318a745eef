//! Starts two datacentres on empty data and connects them.

use std::time::Duration;

use dora_fixtures::assets;
use futures_util::future::try_join;
use reqwest::Method;
use serde_json::json;

use super::{Datacentre, Datacentres, TokenClient, client::text_of};
use crate::{
    database::influxdb::{InfluxError, PORT},
    security::generate_secret,
    topology::{Ground, GroundError, PodSpec, Seat},
};

/// The pair's name.
pub(super) const NAME: &str = "influxdb-datacentres";
/// The image's name in the catalogue, which is also the folder of the configuration.
pub const IMAGE: &str = "influxdb-replication";
/// What each node is there for.
pub(super) const ROLE: &str = "node of a datacentre";
/// The replicated bucket, the same name on both sides.
pub const BUCKET: &str = "ledger";
/// The only organisation of each.
const ORGANISATION: &str = "dora";
/// The user of the image.
const USER: &str = "influxdb";
/// An idle node takes some 80 MB; its write cache is bounded by the configuration.
const MEMORY_BYTES: i64 = 512 << 20;
/// A node that does not serve by then does not start.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// One attempt while a node boots.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(5);

impl Datacentres {
    /// Starts both and returns when the replication is set up.
    ///
    /// # Errors
    /// [`GroundError`], with log lines of the nodes.
    pub async fn start(ground: &Ground) -> Result<Self, GroundError> {
        let seats = ground.seats(&["dc1-influx".to_owned(), "dc2-influx".to_owned()])?;
        let (source, remote) = Box::pin(try_join(start_one(ground, &seats, 0), start_one(ground, &seats, 1))).await?;
        let pair = Self::new(source, remote);
        pair.connect().await.map_err(|error| GroundError::database(NAME, error))?;
        Ok(pair)
    }
}

async fn start_one(ground: &Ground, seats: &[Seat], at: usize) -> Result<Datacentre, GroundError> {
    let seat = &seats[at];
    let context = json!({ "address": seat.address, "tls_version_min": "1.3" });
    let server = assets::render(&format!("config/{IMAGE}/config.yml.j2"), &context)?;
    let start = assets::bytes(&format!("config/{IMAGE}/start.sh"))?.to_vec();
    let node = ground
        .start(PodSpec {
            seat: seat.clone(),
            cluster: NAME.into(),
            role: ROLE.into(),
            image: IMAGE.into(),
            user: USER.into(),
            hosts: seats.iter().map(|seat| (seat.name.clone(), seat.address)).collect(),
            files: vec![("/dora/config/config.yml".into(), server.into_bytes(), 0o600), ("/dora/bin/start.sh".into(), start, 0o755)],
            env: Vec::new(),
            capabilities: Vec::new(),
            volumes: Vec::new(),
            memory_bytes: MEMORY_BYTES,
            loads_for: Duration::ZERO,
        })
        .await?;
    let wrap = |error: InfluxError| GroundError::database(NAME, error);
    let authority = ground.authority().certificate().to_owned();
    let nobody = TokenClient::new(node.socket(PORT), &authority, None, ATTEMPT_LIMIT).map_err(wrap)?;
    let (owner, password) = (generate_secret(), generate_secret());
    // The first account may be made without credentials, once; an empty retention keeps points for ever.
    let first = json!({
        "username": "admin", "password": password.reveal(), "org": ORGANISATION, "bucket": BUCKET, "token": owner.reveal(),
        "retentionPeriodSeconds": 0,
    });
    let attempt = || nobody.call(Method::POST, "/api/v2/setup", Some(&first));
    let made = ground.wait_ready(node.name(), "first account", None, READY_LIMIT, attempt).await?;
    let mut datacentre = Datacentre {
        node,
        authority,
        organisation: text_of(&made, "/org/id").map_err(wrap)?,
        bucket: text_of(&made, "/bucket/id").map_err(wrap)?,
        application: owner.clone(),
        owner,
    };
    datacentre.application = datacentre.permit("application", &["read", "write"]).await.map_err(wrap)?.token;
    Ok(datacentre)
}
