//! Which ports are looked at, and what they answer from each zone.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use dora_harness::{
    network::{
        Enforced, Policy, listeners,
        seat::{Answer, Seat},
    },
    topology::Node,
};
use futures_util::future::try_join_all;
use rand::RngExt as _;

use crate::ScenarioError;

/// A kernel answers within microseconds; this leaves room for a second attempt, which comes after one second.
const LISTENING_LIMIT: Duration = Duration::from_millis(2200);
/// Nobody listens there: whatever answers does so at once.
const FURTHER_LIMIT: Duration = Duration::from_millis(700);
/// Ports that people leave open, and those of other software.
const USUAL: [u16; 10] = [22, 25, 80, 111, 443, 2049, 3306, 8080, 9100, 9200];
/// Random ports of each node beside the usual ones.
const RANDOM_COUNT: usize = 40;

/// A port of a node.
#[derive(Debug, Clone)]
pub(super) struct Port {
    /// The node.
    pub node: Node,
    /// Its number.
    pub number: u16,
    /// The zones that may reach it.
    pub allowed: BTreeSet<String>,
    /// Whether the policy knows it.
    pub is_known: bool,
    /// Whether a process of the node listens on it, and not for the node alone, by the kernel's table.
    pub is_listening: bool,
}

impl Port {
    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.node.socket(self.number)
    }

    /// As people write it.
    pub fn name(&self) -> String {
        format!("{}:{}", self.node.name(), self.number)
    }

    /// Whether it is one of a row of its own, or of the sample.
    pub fn is_of_interest(&self) -> bool {
        self.is_known || self.is_listening
    }
}

/// Every port of the policy, every port on which the kernel says that something listens, and a sample, for each node.
pub(super) async fn ports(policy: &Policy, nodes: &[Enforced]) -> Result<Vec<Port>, ScenarioError> {
    let of_nodes = try_join_all(nodes.iter().map(|enforced| ports_of(policy, &enforced.node))).await?;
    Ok(of_nodes.into_iter().flatten().collect())
}

async fn ports_of(policy: &Policy, node: &Node) -> Result<Vec<Port>, ScenarioError> {
    let table = listeners(node).await.map_err(|error| ScenarioError::client(format!("read the socket table of {}", node.name()), error))?;
    let listening: BTreeSet<u16> = table.iter().filter(|socket| !socket.inside_only).map(|socket| socket.port).collect();
    // A port for the node alone is one of the sample: from outside nobody listens there.
    let mut numbers: BTreeSet<u16> = table.iter().map(|socket| socket.port).chain(USUAL).collect();
    let service = policy.service_of(node);
    let known: BTreeSet<u16> = service.iter().flat_map(|service| service.ports.values().copied()).collect();
    numbers.extend(&known);
    let mut random = rand::rng();
    numbers.extend((0..RANDOM_COUNT).map(|_| random.random_range(1..=u16::MAX)));
    let port = |number: u16| Port {
        node: node.clone(),
        number,
        allowed: policy
            .zones
            .iter()
            .filter(|zone| service.is_some_and(|service| policy.allows(&zone.name, service, number)))
            .map(|zone| zone.name.clone())
            .collect(),
        is_known: known.contains(&number),
        is_listening: listening.contains(&number),
    };
    Ok(numbers.into_iter().map(port).collect())
}

/// Those on which something listens.
pub(super) fn listening(ports: &[Port]) -> Vec<Port> {
    ports.iter().filter(|port| port.is_listening).cloned().collect()
}

/// What the ports answered, by zone and address.
pub(super) struct Seen {
    zones: Vec<String>,
    answers: BTreeMap<(String, SocketAddr), Answer>,
    ports: Vec<Port>,
}

impl Seen {
    /// The zones from which was looked, in the order of the policy.
    pub fn zones(&self) -> &[String] {
        &self.zones
    }

    /// The ports that were looked at.
    pub fn ports(&self) -> &[Port] {
        &self.ports
    }

    /// What a port answered; silence where it was not looked at.
    pub fn answer(&self, zone: &str, port: &Port) -> Answer {
        self.answers.get(&(zone.to_owned(), port.address())).copied().unwrap_or(Answer::Silent)
    }
}

/// Connects to each port from each zone, all zones side by side.
pub(super) async fn from_all_zones(seats: &[Seat], ports: &[Port]) -> Result<Seen, ScenarioError> {
    let (near, far): (Vec<&Port>, Vec<&Port>) = ports.iter().partition(|port| port.is_of_interest());
    let (near, far): (Vec<SocketAddr>, Vec<SocketAddr>) =
        (near.iter().map(|port| port.address()).collect(), far.iter().map(|port| port.address()).collect());
    let of_zones = try_join_all(seats.iter().map(|seat| async {
        let mut probed = seat.probe(&near, LISTENING_LIMIT).await?;
        if !far.is_empty() {
            probed.extend(seat.probe(&far, FURTHER_LIMIT).await?);
        }
        Ok::<_, ScenarioError>(probed.into_iter().map(|probed| ((seat.zone().to_owned(), probed.address), probed.answer)))
    }))
    .await?;
    Ok(Seen {
        zones: seats.iter().map(|seat| seat.zone().to_owned()).collect(),
        answers: of_zones.into_iter().flatten().collect(),
        ports: ports.to_vec(),
    })
}
