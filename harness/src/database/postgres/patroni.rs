//! Patroni's REST API: who is leader, who follows.

use std::time::Duration;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;

use super::PostgresCluster;
use crate::{security::client_config, topology::Node};

/// Patroni's port.
pub(super) const PORT: u16 = 8008;
/// A call that takes longer is no answer.
const LIMIT: Duration = Duration::from_secs(3);

/// A switchover is answered when the other leads.
const SWITCHOVER_LIMIT: Duration = Duration::from_secs(30);
/// Who may change something.
const USER: &str = "dora";

/// What Patroni says of one node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct MemberState {
    /// The node.
    pub name: String,
    /// `leader`, `sync_standby`, `replica`, ….
    pub role: String,
    /// `running`, `streaming`, `stopped`, ….
    pub state: String,
}

#[derive(Deserialize)]
struct View {
    members: Vec<MemberState>,
}

/// A client that trusts the run's authority only.
fn client(cluster: &PostgresCluster) -> Result<reqwest::Client, String> {
    let tls = client_config(cluster.authority()).map_err(|e| e.to_string())?;
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .connect_timeout(Duration::from_secs(1))
        .timeout(LIMIT)
        .build()
        .map_err(|e| e.to_string())
}

/// What one node answers to a question.
async fn ask<A: DeserializeOwned>(cluster: &PostgresCluster, of: &Node, path: &str) -> Result<A, String> {
    let url = format!("https://{}/{path}", of.socket(PORT));
    let answer = client(cluster)?.get(url).send().await.map_err(|e| words(&e))?.error_for_status().map_err(|e| words(&e))?;
    answer.json().await.map_err(|e| words(&e))
}

/// The cluster as one node sees it.
pub(super) async fn view(cluster: &PostgresCluster, from: &Node) -> Result<Vec<MemberState>, String> {
    Ok(ask::<View>(cluster, from, "cluster").await?.members)
}

/// The settings of the whole cluster.
pub(super) async fn settings(cluster: &PostgresCluster, from: &Node) -> Result<serde_json::Value, String> {
    ask(cluster, from, "config").await
}

/// Whether one node's Patroni is in maintenance mode, by its own word.
pub(super) async fn is_paused(cluster: &PostgresCluster, of: &Node) -> Result<bool, String> {
    let status: serde_json::Value = ask(cluster, of, "patroni").await?;
    Ok(status["pause"] == true)
}

/// Merges a JSON document into the settings; null removes one.
pub(super) async fn change_settings(cluster: &PostgresCluster, from: &Node, change: &'static str) -> Result<(), String> {
    let url = format!("https://{}/config", from.socket(PORT));
    let request = client(cluster)?.patch(url).basic_auth(USER, Some(cluster.credentials.rest.reveal())).body(change);
    request.send().await.map_err(|e| words(&e))?.error_for_status().map_err(|e| words(&e))?;
    Ok(())
}

/// Hands the leadership over, and waits for it.
pub(super) async fn switch_over(cluster: &PostgresCluster, from: &Node, to: &Node) -> Result<(), String> {
    let url = format!("https://{}/switchover", from.socket(PORT));
    let order = json!({ "leader": from.name(), "candidate": to.name() }).to_string();
    let request = client(cluster)?.post(url).basic_auth(USER, Some(cluster.credentials.rest.reveal())).body(order);
    let answer = request.timeout(SWITCHOVER_LIMIT).send().await.map_err(|e| words(&e))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    Err(format!("{status}: {}", answer.text().await.unwrap_or_default()))
}

/// The whole chain of causes: the outermost alone says little more than "error sending request".
fn words(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
