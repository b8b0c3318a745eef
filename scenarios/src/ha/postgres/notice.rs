//! The platform's own word that something is broken.

use dora_harness::{
    database::{Cluster as _, postgres::PostgresCluster},
    topology::Node,
};

use super::super::is_hit;

/// A server that was not hit names a leader that was not hit.
pub async fn another_leads(cluster: &PostgresCluster, hit: &[Node]) -> Result<(), String> {
    let mut last = "no survivor".to_owned();
    for survivor in cluster.servers().iter().filter(|server| !is_hit(hit, server)) {
        match cluster.patroni_view(survivor).await {
            Ok(view) => match view.iter().find(|member| member.role == "leader" && member.state == "running") {
                Some(leader) if hit.iter().all(|node| node.name() != leader.name) => return Ok(()),
                _ => last = format!("{} knows no other leader", survivor.name()),
            },
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The primary no longer counts the standby that was hit among those that stream.
pub async fn follower_is_missed(cluster: &PostgresCluster, hit: &[Node]) -> Result<(), String> {
    let followers = cluster.followers().await?;
    match followers.iter().find(|follower| follower.streams && hit.iter().any(|node| node.name() == follower.name)) {
        Some(follower) => Err(format!("{} still streams", follower.name)),
        None => Ok(()),
    }
}

/// The primary counts nobody that streams.
pub async fn nobody_follows(cluster: &PostgresCluster) -> Result<(), String> {
    match cluster.followers().await?.iter().find(|follower| follower.streams) {
        Some(follower) => Err(format!("{} still streams", follower.name)),
        None => Ok(()),
    }
}

/// No member of etcd leads.
pub async fn etcd_has_no_leader(cluster: &PostgresCluster) -> Result<(), String> {
    match cluster.etcd_by_role().await {
        Ok((leader, _)) => Err(format!("{} leads", leader.name())),
        Err(_none) => Ok(()),
    }
}

/// The pooler finds no server.
pub async fn pooler_leads_nowhere(cluster: &PostgresCluster) -> Result<(), String> {
    let pooler = cluster.pooler().name();
    match cluster.health().await.into_iter().find(|node| node.node == pooler) {
        Some(health) if health.healthy => Err("the pooler still leads to a server".into()),
        _ => Ok(()),
    }
}

/// The members of etcd that were not hit have a leader.
pub async fn etcd_leads_on(cluster: &PostgresCluster, hit: &[Node]) -> Result<(), String> {
    let (leader, _) = cluster.etcd_by_role().await?;
    if is_hit(hit, &leader) { Err(format!("{} still leads", leader.name())) } else { Ok(()) }
}
