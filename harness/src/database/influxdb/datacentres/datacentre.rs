//! One of the two: its node, its bucket, its tokens.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::{
    TokenClient,
    client::text_of,
    start::{BUCKET, ROLE},
};
use crate::{
    database::influxdb::{InfluxError, PORT},
    security::{Secret, remember},
    topology::{Node, NodeHealth},
};

/// A call of the administration's interface that takes longer has failed.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// A node that does not tell of itself by then is not healthy.
const HEALTH_LIMIT: Duration = Duration::from_secs(3);

/// A datacentre: one node with one bucket.
#[derive(Debug, Clone)]
pub struct Datacentre {
    /// Its node.
    pub node: Node,
    pub(super) authority: String,
    /// Id of the organisation.
    pub(super) organisation: String,
    /// Id of the bucket.
    pub(super) bucket: String,
    /// The token of the account that owns everything.
    pub(super) owner: Secret,
    /// The application's token: it reads and writes the bucket, nothing else.
    pub(super) application: Secret,
}

/// A token that may write one bucket.
#[derive(Debug, Clone)]
pub(super) struct Permit {
    pub(super) id: String,
    pub(super) token: Secret,
}

impl Datacentre {
    /// The owner's client.
    ///
    /// # Errors
    /// [`InfluxError::Setup`].
    pub fn owner(&self) -> Result<TokenClient, InfluxError> {
        TokenClient::new(self.node.socket(PORT), &self.authority, Some(&self.owner), CALL_LIMIT)
    }

    /// The application's client, with a limit for each request.
    ///
    /// # Errors
    /// [`InfluxError::Setup`].
    pub fn application(&self, limit: Duration) -> Result<TokenClient, InfluxError> {
        TokenClient::new(self.node.socket(PORT), &self.authority, Some(&self.application), limit)
    }

    /// Writes points with this client into the bucket.
    ///
    /// # Errors
    /// As [`TokenClient::write`].
    pub async fn write(&self, client: &TokenClient, lines: String) -> Result<(), InfluxError> {
        client.write(&self.organisation, &self.bucket, lines).await
    }

    /// Whether it serves its bucket.
    pub async fn health(&self) -> NodeHealth {
        let ask = async {
            let client = TokenClient::new(self.node.socket(PORT), &self.authority, Some(&self.owner), HEALTH_LIMIT)?;
            client.call(Method::GET, &format!("/api/v2/buckets/{}", self.bucket), None).await
        };
        let observed = match ask.await {
            Ok(bucket) if bucket["name"] == BUCKET => ROLE.to_owned(),
            Ok(bucket) => format!("a node whose bucket is {}", bucket["name"]),
            Err(error) => error.to_string(),
        };
        NodeHealth { node: self.node.name().to_owned(), expected: ROLE.to_owned(), healthy: observed == ROLE, observed }
    }

    /// A token that may do this (`read`, `write`) with the bucket and nothing else.
    pub(super) async fn permit(&self, purpose: &str, actions: &[&str]) -> Result<Permit, InfluxError> {
        let permission =
            |action: &&str| json!({ "action": action, "resource": { "type": "buckets", "id": self.bucket, "orgID": self.organisation } });
        let permissions: Vec<_> = actions.iter().map(permission).collect();
        let body = json!({ "description": purpose, "orgID": self.organisation, "permissions": permissions });
        let made = self.owner()?.call(Method::POST, "/api/v2/authorizations", Some(&body)).await?;
        Ok(Permit { id: text_of(&made, "/id")?, token: remember("a token that InfluxDB issued", text_of(&made, "/token")?) })
    }

    /// Makes a token worthless.
    pub(super) async fn withdraw(&self, permit: &Permit) -> Result<(), InfluxError> {
        self.owner()?.call(Method::DELETE, &format!("/api/v2/authorizations/{}", permit.id), None).await.map(drop)
    }
}
