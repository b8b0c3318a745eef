//! Source and remote, and the replication between them.

use async_trait::async_trait;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use tokio::sync::RwLock;

use super::{
    Datacentre,
    client::text_of,
    datacentre::Permit,
    start::{BUCKET, NAME},
};
use crate::{
    database::{
        Cluster, ConnectionInfo,
        influxdb::{InfluxError, PORT},
    },
    engine::EngineError,
    topology::{Ground, Node, NodeHealth},
};

/// What the queue holds at most: at some 200 bytes for a small write, hours of an outage. The server refuses less than half of it.
const QUEUE_BYTES_MAX: u64 = 64 << 20;
/// What waited longer is thrown away; a week is the server's own default, and longer than an outage here.
const QUEUE_AGE_MAX_S: u64 = 7 * 24 * 3_600;

/// Two datacentres.
#[derive(Debug)]
pub struct Datacentres {
    /// Where the application writes.
    pub source: Datacentre,
    /// Where everything is sent on to.
    pub remote: Datacentre,
    link: RwLock<Option<Link>>,
}

/// The replication, by the ids that the source gave.
#[derive(Debug, Clone)]
struct Link {
    target: String,
    replication: String,
    permit: Permit,
}

/// What waits for the remote, as the source tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Bytes that are still to be sent.
    pub waiting_bytes: u64,
    /// HTTP status of the remote's last answer; 0: none came.
    pub last_status: u64,
    /// Why the last attempt failed; empty when it did not.
    pub last_error: String,
}

impl Datacentres {
    pub(super) fn new(source: Datacentre, remote: Datacentre) -> Self {
        Self { source, remote, link: RwLock::default() }
    }

    /// Removes what there is of pairs of this run, also one that a cut-off start left.
    ///
    /// # Errors
    /// Any [`EngineError`] of the requests.
    pub async fn remove_all(ground: &Ground) -> Result<(), EngineError> {
        // Newest first: one that was removed before has the same names of volumes.
        for node in ground.nodes().iter().rev().filter(|node| node.cluster() == NAME) {
            node.destroy().await?;
        }
        Ok(())
    }

    /// Lets the source send what it is given from now on to the remote, with a token that may write the remote's bucket only.
    ///
    /// # Errors
    /// [`InfluxError`].
    pub async fn connect(&self) -> Result<(), InfluxError> {
        let permit = self.remote.permit("replication from the source", &["write"]).await?;
        let body = json!({
            "name": self.remote.node.name(),
            "orgID": self.source.organisation,
            "remoteURL": format!("https://{}:{PORT}", self.remote.node.name()),
            "remoteAPIToken": permit.token.reveal(),
            "remoteOrgID": self.remote.organisation,
            "allowInsecureTLS": false,
        });
        let made = self.source.owner()?.call(Method::POST, "/api/v2/remotes", Some(&body)).await?;
        let target = text_of(&made, "/id")?;
        let replication = self.replicate_to(&target).await?;
        *self.link.write().await = Some(Link { target, replication, permit });
        Ok(())
    }

    async fn replicate_to(&self, target: &str) -> Result<String, InfluxError> {
        let body = json!({
            "name": BUCKET,
            "orgID": self.source.organisation,
            "remoteID": target,
            "localBucketID": self.source.bucket,
            "remoteBucketID": self.remote.bucket,
            "maxQueueSizeBytes": QUEUE_BYTES_MAX,
            "maxAgeSeconds": QUEUE_AGE_MAX_S,
            // What the remote refuses stays in the queue: nothing is dropped in silence.
            "dropNonRetryableData": false,
        });
        let made = self.source.owner()?.call(Method::POST, "/api/v2/replications", Some(&body)).await?;
        text_of(&made, "/id")
    }

    /// Ends the replication; what waits is thrown away.
    ///
    /// # Errors
    /// [`InfluxError`].
    pub async fn disconnect(&self) -> Result<(), InfluxError> {
        if let Some(link) = self.link.write().await.take() {
            self.source.owner()?.call(Method::DELETE, &format!("/api/v2/replications/{}", link.replication), None).await?;
        }
        Ok(())
    }

    /// Removes the replication and makes it again, as somebody would who takes it for stuck: what waited is gone.
    ///
    /// # Errors
    /// [`InfluxError`].
    pub async fn make_anew(&self) -> Result<(), InfluxError> {
        let mut link = self.link.write().await;
        if let Some(link) = &mut *link {
            self.source.owner()?.call(Method::DELETE, &format!("/api/v2/replications/{}", link.replication), None).await?;
            link.replication = self.replicate_to(&link.target).await?;
        }
        Ok(())
    }

    /// Makes the replication's token worthless at the remote.
    ///
    /// # Errors
    /// [`InfluxError`].
    pub async fn withdraw_token(&self) -> Result<(), InfluxError> {
        match &*self.link.read().await {
            Some(link) => self.remote.withdraw(&link.permit).await,
            None => Ok(()),
        }
    }

    /// What waits for the remote; [`None`] without a replication.
    ///
    /// # Errors
    /// [`InfluxError`] when the source does not tell.
    pub async fn queue(&self) -> Result<Option<Queue>, InfluxError> {
        let Some(link) = self.link.read().await.clone() else { return Ok(None) };
        let told = self.source.owner()?.call(Method::GET, &format!("/api/v2/replications/{}", link.replication), None).await?;
        let number = |name: &str| told[name].as_u64().unwrap_or_default();
        Ok(Some(Queue {
            waiting_bytes: number("remainingBytesToBeSynced"),
            last_status: number("latestResponseCode"),
            last_error: told["latestErrorMessage"].as_str().unwrap_or_default().to_owned(),
        }))
    }
}

#[async_trait]
impl Cluster for Datacentres {
    fn name(&self) -> &str {
        NAME
    }

    fn nodes(&self) -> Vec<Node> {
        vec![self.source.node.clone(), self.remote.node.clone()]
    }

    async fn health(&self) -> Vec<NodeHealth> {
        join_all([self.source.health(), self.remote.health()]).await
    }

    fn connections(&self) -> Vec<ConnectionInfo> {
        let describe = |datacentre: &Datacentre| {
            let (socket, token) = (datacentre.node.socket(PORT), datacentre.owner.reveal());
            ConnectionInfo {
                name: format!("{NAME} ({})", datacentre.node.name()),
                command: format!("curl --cacert {{ca}} -H 'Authorization: Token {token}' https://{socket}/api/v2/buckets"),
                url: format!("https://{socket}"),
            }
        };
        [&self.source, &self.remote].map(describe).into()
    }
}
