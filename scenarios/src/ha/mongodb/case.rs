//! What is broken in each scenario, and how the set shows that it knows.

use std::sync::Arc;

use dora_harness::{
    database::{
        Cluster as _,
        mongodb::{MemberState, PORT, ReplicaSet, StepDown},
    },
    fault::{Fault, Kill, Partition, Pause, Together},
    topology::Node,
};

use super::super::{Strike, is_hit};
use crate::{ScenarioError, security::mongodb::client_error};

/// The case of a scenario: aimed at the roles of the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    /// The primary's process dies.
    PrimaryKilled,
    /// The primary freezes, and comes back.
    PrimaryPaused,
    /// Nobody reaches the primary, clients neither.
    PrimaryIsolated,
    /// Only its peers do not reach the primary.
    PrimaryCutFromPeers,
    /// The primary hands its role over.
    Switchover,
    /// A secondary's process dies.
    SecondaryKilled,
    /// A secondary freezes.
    SecondaryPaused,
    /// A secondary loses its peers, not its clients: it falls behind.
    SecondaryCutFromPeers,
    /// Both secondaries die.
    MajorityLost,
    /// All members die at once.
    AllNodesKilled,
    /// The arbiter dies.
    ArbiterLost,
}

impl Case {
    /// A member loses its peers; clients still reach it.
    pub(super) fn isolation(set: &ReplicaSet, node: &Node) -> Partition {
        Partition::isolate(node, &set.nodes()).on_port(PORT)
    }

    /// The fault, and whom it hits. `chosen`: the secondary that a sabotage was planted at. `forced`: an order is carried out also where
    /// the set would refuse it.
    pub(super) async fn strike(self, set: &Arc<ReplicaSet>, chosen: Option<Node>, forced: bool) -> Result<Strike, ScenarioError> {
        let primary = set.primary().await.map_err(client_error)?;
        let secondaries: Vec<Node> = set.data_nodes().iter().filter(|node| node.name() != primary.name()).cloned().collect();
        let secondary = || {
            let first = chosen.clone().or_else(|| secondaries.first().cloned());
            first.ok_or_else(|| ScenarioError::Missing("the set has no secondary".into()))
        };
        let kill = |node: &Node, role: MemberState| Box::new(Kill::new(node.clone(), role.to_string(), PORT)) as Box<dyn Fault>;
        let (fault, hit): (Box<dyn Fault>, Vec<Node>) = match self {
            Self::PrimaryKilled => (kill(&primary, MemberState::Primary), vec![primary]),
            Self::PrimaryPaused => (Box::new(Pause::new(primary.clone(), MemberState::Primary.to_string(), PORT)), vec![primary]),
            Self::PrimaryIsolated => (Box::new(Self::isolation(set, &primary).and_clients()), vec![primary]),
            Self::PrimaryCutFromPeers => (Box::new(Self::isolation(set, &primary)), vec![primary]),
            Self::Switchover => {
                let order = StepDown::new(Arc::clone(set), primary.clone());
                (Box::new(if forced { order.forced() } else { order }), vec![primary])
            }
            Self::SecondaryKilled => {
                let node = secondary()?;
                (kill(&node, MemberState::Secondary), vec![node])
            }
            Self::SecondaryPaused => {
                let node = secondary()?;
                (Box::new(Pause::new(node.clone(), MemberState::Secondary.to_string(), PORT)), vec![node])
            }
            Self::SecondaryCutFromPeers => {
                let node = secondary()?;
                (Box::new(Self::isolation(set, &node)), vec![node])
            }
            Self::MajorityLost => {
                let faults = secondaries.iter().map(|node| kill(node, MemberState::Secondary)).collect();
                (Box::new(Together::new(faults)), secondaries)
            }
            Self::AllNodesKilled => {
                let role = |node: &Node| if node.name() == primary.name() { MemberState::Primary } else { MemberState::Secondary };
                let faults = set.data_nodes().iter().map(|node| kill(node, role(node))).collect();
                (Box::new(Together::new(faults)), set.data_nodes().to_vec())
            }
            Self::ArbiterLost => {
                let arbiter = set.nodes().split_off(set.data_nodes().len());
                let faults = arbiter.iter().map(|node| kill(node, MemberState::Arbiter)).collect();
                (Box::new(Together::new(faults)), arbiter)
            }
        };
        Ok(Strike { fault, hit })
    }

    /// `Ok` once the set itself knows.
    pub(super) async fn is_noticed(self, set: &ReplicaSet, hit: &[Node]) -> Result<(), String> {
        let survivors: Vec<Node> = set.data_nodes().iter().filter(|node| !is_hit(hit, node)).cloned().collect();
        match self {
            Self::PrimaryKilled | Self::PrimaryPaused | Self::PrimaryIsolated | Self::PrimaryCutFromPeers | Self::Switchover => {
                set.primary_among(&survivors).await.map(drop).map_err(|error| error.to_string())
            }
            Self::SecondaryKilled | Self::SecondaryPaused | Self::SecondaryCutFromPeers | Self::ArbiterLost => {
                let down = set.counted_as_down().await.map_err(|error| error.to_string())?;
                let missing = hit.iter().find(|node| !down.contains(&node.socket(PORT).to_string()));
                missing.map_or(Ok(()), |node| Err(format!("the primary counts {} as up", node.name())))
            }
            Self::MajorityLost => {
                for node in &survivors {
                    if set.state(node).await.map_err(|error| error.to_string())? == MemberState::Primary {
                        return Err(format!("{} is still primary", node.name()));
                    }
                }
                Ok(())
            }
            Self::AllNodesKilled => {
                for node in hit {
                    if node.accepts(PORT).await {
                        return Err(format!("{} still accepts", node.name()));
                    }
                }
                Ok(())
            }
        }
    }
}
