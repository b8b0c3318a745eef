//! What can be planted in the cluster, its configuration or its clients.

use dora_harness::{database::neo4j::CONFIGURATION, patience::within, topology::Node};

use super::target::{HEALTH_EVERY, HEALTH_LIMIT, Target};
use crate::ScenarioError;

/// A planted defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// A follower is stopped.
    FollowerDown,
    /// A follower is frozen: it is there, and votes for nobody.
    FollowerFrozen,
    /// Clients keep to the first routing table that they got.
    TablePinned,
    /// Clients forget the bookmark.
    BookmarkDropped,
    /// Clients acknowledge writes that they only remember, and send many at once later.
    WriteBehind,
    /// The watch takes a node that answers a read for a writable one.
    ReadsCounted,
    /// Not the leader is cut off, but a follower.
    FollowerCutOff,
    /// Clients send reads where writes go.
    ReadsAtWriter,
    /// Clients read at replicas only.
    ReplicasOnly,
    /// The replica's configuration names cores that there are not: it shows when the replica starts next.
    ReplicaAstray,
    /// The replica is stopped.
    ReplicaDown,
    /// Clients do not wait for a server that has yet to catch up.
    Impatient,
}

impl Defect {
    /// The defect that a scenario calls by this name.
    pub fn named(id: &str) -> Option<Self> {
        let defect = match id {
            "follower-already-down" => Self::FollowerDown,
            "follower-frozen" => Self::FollowerFrozen,
            "table-pinned" => Self::TablePinned,
            "bookmark-dropped" => Self::BookmarkDropped,
            "write-behind" => Self::WriteBehind,
            "reads-counted" => Self::ReadsCounted,
            "follower-cut-off" => Self::FollowerCutOff,
            "reads-at-writer" => Self::ReadsAtWriter,
            "replicas-only" => Self::ReplicasOnly,
            "replica-astray" => Self::ReplicaAstray,
            "replica-down" => Self::ReplicaDown,
            "impatient" => Self::Impatient,
            _ => return None,
        };
        Some(defect)
    }
}

/// Port of discovery, in the configuration's words, and one where nobody listens.
const DISCOVERY: (&str, &str) = (":5000", ":5999");

/// Plants a defect of the cluster; those of the clients are in the clients.
pub async fn plant(target: &Target, defect: Defect) -> Result<(), ScenarioError> {
    match defect {
        Defect::FollowerDown => target.first_follower().await?.kill().await?,
        Defect::FollowerFrozen => target.first_follower().await?.pause().await?,
        Defect::ReplicaDown => target.replica()?.kill().await?,
        Defect::ReplicaAstray => redirect(target.replica()?, DISCOVERY.0, DISCOVERY.1).await?,
        _ => {}
    }
    Ok(())
}

/// Removes it, and waits until the cluster is whole.
pub async fn remove(target: &Target, defect: Defect) -> Result<(), ScenarioError> {
    if defect == Defect::ReplicaAstray {
        let replica = target.replica()?;
        redirect(replica, DISCOVERY.1, DISCOVERY.0).await?;
        replica.kill().await?;
    }
    for member in target.cluster.members() {
        let state = member.state().await?;
        if state.paused {
            member.unpause().await?;
        } else if !state.running {
            member.start().await?;
        }
    }
    within("a healthy cluster", HEALTH_LIMIT, HEALTH_EVERY, || target.healthy()).await?;
    Ok(())
}

/// Changes where a member looks for others.
async fn redirect(node: &Node, from: &str, to: &str) -> Result<(), ScenarioError> {
    Ok(node.edit_file(CONFIGURATION, from, to).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ha::neo4j::SCENARIOS;

    #[test]
    fn every_sabotage_plants_something() {
        for (scenario, sabotage) in
            SCENARIOS.iter().flat_map(|scenario| scenario.sabotages.iter().map(move |sabotage| (scenario, sabotage)))
        {
            assert!(Defect::named(sabotage.id).is_some(), "{} {}", scenario.id, sabotage.id);
        }
    }
}
