//! The faults, aimed at the roles of the moment.

use dora_harness::{
    database::neo4j::BOLT,
    fault::{Fault, Kill, NodeLoss, Partition, Pause, Together},
    topology::Node,
};

use super::{defect::Defect, target::Target};
use crate::{ScenarioError, ha::Strike};

/// What befalls the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// The leader's process is killed.
    LeaderKilled,
    /// The leader is frozen.
    LeaderPaused,
    /// The leader is cut off from all members; clients still reach it.
    LeaderIsolated,
    /// One follower is killed.
    MinorityLost,
    /// Both followers are gone.
    MajorityLost,
    /// The read replica is gone.
    ReplicaLost,
    /// All cores are killed at once.
    AllCoresKilled,
    /// No fault of the outage driver: a scenario with a course of its own.
    None,
}

/// The fault of this moment.
pub async fn strike(target: &Target) -> Result<Strike, ScenarioError> {
    let leader = target.leader().await?;
    let followers = target.followers(&leader);
    let cores = target.cluster.cores();
    let (fault, hit): (Box<dyn Fault>, Vec<Node>) = match target.case {
        Case::LeaderKilled | Case::None => (Box::new(Kill::new(leader.clone(), "leader", BOLT)), vec![leader]),
        Case::LeaderPaused => (Box::new(Pause::new(leader.clone(), "leader", BOLT)), vec![leader]),
        Case::LeaderIsolated => {
            let members: Vec<Node> = target.cluster.members().cloned().collect();
            let cut_off = if target.defect == Some(Defect::FollowerCutOff) { target.first_follower().await? } else { leader.clone() };
            (Box::new(Partition::isolate(&cut_off, &members).on_port(BOLT)), vec![leader])
        }
        Case::MinorityLost => {
            // The last, as a planted defect takes the first.
            let follower = followers.last().cloned().ok_or_else(|| ScenarioError::Missing("the cluster has one core".into()))?;
            (Box::new(Kill::new(follower.clone(), "follower", BOLT)), vec![follower])
        }
        Case::MajorityLost => {
            let losses = followers.iter().map(|follower| Box::new(NodeLoss::new(follower.clone(), "follower", BOLT)) as Box<dyn Fault>);
            (Box::new(Together::new(losses.collect())), followers)
        }
        Case::ReplicaLost => {
            let replica = target.replica()?.clone();
            (Box::new(NodeLoss::new(replica.clone(), "read replica", BOLT)), vec![replica])
        }
        Case::AllCoresKilled => {
            let kills = cores.iter().map(|core| {
                let role = if core.name() == leader.name() { "leader" } else { "follower" };
                Box::new(Kill::new(core.clone(), role, BOLT)) as Box<dyn Fault>
            });
            (Box::new(Together::new(kills.collect())), cores.to_vec())
        }
    };
    Ok(Strike { fault, hit })
}
