//! The pooler, misled: it points at one server and not at whoever leads, or it does not pool.

use std::net::{IpAddr, Ipv4Addr};

use dora_harness::{
    database::postgres::{PostgresCluster, SERVER_PORT},
    engine::EngineError,
    topology::Node,
};

use crate::ScenarioError;

const FILE: &str = "/dora/config/pgbouncer.ini";
/// Where the proxy beside it listens, which knows the leader.
const FOLLOWING: &str = "host=127.0.0.1 port=5000";

/// How pooling is switched off: the standard text, and the other.
const BY_SESSION: [(&str, &str); 2] =
    [("pool_mode = transaction", "pool_mode = session"), ("default_pool_size = 40", "default_pool_size = 100")];

fn pinned_to(address: Ipv4Addr) -> String {
    format!("host={} port={SERVER_PORT}", IpAddr::from(address))
}

/// Points the pooler at a server.
pub async fn pin(cluster: &PostgresCluster, server: &Node) -> Result<(), ScenarioError> {
    cluster.pooler().edit_file(FILE, FOLLOWING, &pinned_to(server.address())).await?;
    // It reads its configuration again.
    Ok(cluster.pooler().signal("HUP").await?)
}

/// Gives every client a server connection of its own.
pub async fn pool_by_session(cluster: &PostgresCluster) -> Result<(), ScenarioError> {
    for (standard, changed) in BY_SESSION {
        cluster.pooler().edit_file(FILE, standard, changed).await?;
    }
    Ok(cluster.pooler().signal("HUP").await?)
}

/// Undoes whatever was changed.
pub async fn restore(cluster: &PostgresCluster) -> Result<(), ScenarioError> {
    let pinned = cluster.servers().iter().map(|server| (FOLLOWING, pinned_to(server.address())));
    let by_session = BY_SESSION.into_iter().map(|(standard, changed)| (standard, changed.to_owned()));
    for (standard, changed) in pinned.chain(by_session) {
        match cluster.pooler().edit_file(FILE, &changed, standard).await {
            Ok(()) => cluster.pooler().signal("HUP").await?,
            // The file lacks that text: this was not changed.
            Err(EngineError::Exec { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
