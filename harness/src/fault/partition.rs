//! Links between nodes are cut.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::future::try_join_all;

use super::{
    Fault, FaultError, Firewall,
    firewall::{Rule, Verdict},
    probe::{Connection, Flow, connection, seen_flows},
};
use crate::topology::Node;

/// Silence that lasts this long is no slow answer: on a bridge an answer takes microseconds.
const PROBE_LIMIT: Duration = Duration::from_millis(500);

/// Which direction of the links is cut, seen from the first side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ways {
    Both,
    /// The first side hears nothing of the second.
    Deaf,
    /// The second side hears nothing of the first.
    Mute,
}

/// A partition: two sides between which packets vanish, both ways or one way. Nodes that are on neither side still reach both.
/// The rules stand in the pods of the first side, so they outlive a restart of a database.
///
/// Clients in the harness reach all nodes, unless the partition says otherwise.
#[derive(Debug, Clone)]
pub struct Partition {
    name: &'static str,
    first: Vec<Node>,
    second: Vec<Node>,
    /// Nodes on neither side, whose links must stay whole.
    untouched: Vec<Node>,
    ways: Ways,
    /// Whether the first side is cut from everyone, known or not.
    from_everyone: bool,
    clients: bool,
    /// The client ports that are asked, by the names of nodes of the first side.
    ports: BTreeMap<String, u16>,
    firewalls: BTreeMap<String, Firewall>,
}

impl Partition {
    fn new(name: &'static str, first: Vec<Node>, second: Vec<Node>, untouched: Vec<Node>) -> Self {
        let (ways, ports, firewalls) = (Ways::Both, BTreeMap::new(), BTreeMap::new());
        Self { name, first, second, untouched, ways, from_everyone: false, clients: false, ports, firewalls }.with_rules()
    }

    /// Cuts one node from every other node of the run; `peers` are those that the probe asks.
    pub fn isolate(node: &Node, peers: &[Node]) -> Self {
        let others = peers.iter().filter(|peer| peer.name() != node.name()).cloned().collect();
        Self { from_everyone: true, ..Self::new("isolation", vec![node.clone()], others, Vec::new()) }.with_rules()
    }

    /// Cuts all links between two sides; those within a side stay.
    pub fn between(one: &[Node], other: &[Node]) -> Self {
        Self::new("partition", one.to_vec(), other.to_vec(), Vec::new())
    }

    /// Two sides that both still reach the bridge, and only through it each other.
    pub fn bridge(one: &[Node], bridge: &Node, other: &[Node]) -> Self {
        Self::new("bridge", one.to_vec(), other.to_vec(), vec![bridge.clone()])
    }

    /// Only what goes from the second side to the first is lost.
    #[must_use]
    pub fn deaf(self) -> Self {
        Self { ways: Ways::Deaf, ..self }.with_rules()
    }

    /// Only what goes from the first side to the second is lost.
    #[must_use]
    pub fn mute(self) -> Self {
        Self { ways: Ways::Mute, ..self }.with_rules()
    }

    /// Nodes on neither side, whose links must stay whole: the probe's positive control.
    #[must_use]
    pub fn sparing(mut self, nodes: &[Node]) -> Self {
        let is_known = |node: &Node| self.nodes().iter().any(|known| known.name() == node.name());
        let further: Vec<Node> = nodes.iter().filter(|node| !is_known(node)).cloned().collect();
        self.untouched.extend(further);
        self
    }

    /// The first side's client port: what a client meets there is asked, too.
    #[must_use]
    pub fn on_port(self, port: u16) -> Self {
        let ports = self.first.iter().map(|node| (node.name().to_owned(), port)).collect();
        Self { ports, ..self }
    }

    /// As [`Partition::on_port`], of one node of the first side that has a port of its own.
    #[must_use]
    pub fn on_port_of(mut self, node: &str, port: u16) -> Self {
        self.ports.insert(node.to_owned(), port);
        self
    }

    /// Clients in the harness lose the first side, too (both ways, whichever way its peers lose).
    #[must_use]
    pub fn and_clients(self) -> Self {
        Self { clients: true, ..self }.with_rules()
    }

    /// Under the name of an earlier fault, to heal what another process injected.
    #[must_use]
    pub fn named(mut self, id: &str) -> Self {
        self.firewalls = self.firewalls.into_iter().map(|(node, firewall)| (node, firewall.named(id))).collect();
        self
    }

    fn nodes(&self) -> Vec<Node> {
        self.first.iter().chain(&self.second).chain(&self.untouched).cloned().collect()
    }

    fn with_rules(mut self) -> Self {
        self.firewalls = self
            .first
            .iter()
            .map(|node| {
                let earlier = self.firewalls.get(node.name()).cloned().unwrap_or_default();
                let (incoming, outgoing) = (self.rules(node, Ways::Mute), self.rules(node, Ways::Deaf));
                (node.name().to_owned(), earlier.holding(incoming, outgoing))
            })
            .collect();
        self
    }

    /// A node's rules for packets of one direction: none but the clients' when only the other way (`spared`) is cut.
    fn rules(&self, node: &Node, spared: Ways) -> Vec<Rule> {
        let mut rules = Vec::new();
        if self.clients {
            rules.push(Rule::peer(node.gateway(), Verdict::Drop));
        }
        if self.ways == spared {
            return rules;
        }
        if self.from_everyone {
            rules.extend([Rule::loopback(Verdict::Pass), Rule::peer(node.gateway(), Verdict::Pass), Rule::all(Verdict::Drop)]);
        } else {
            rules.extend(self.second.iter().map(|peer| Rule::peer(peer.address(), Verdict::Drop)));
        }
        rules
    }

    /// Whether packets from one node to another must arrive while the partition lasts.
    fn must_arrive(&self, flow: &Flow) -> bool {
        let in_first = |name: &str| self.first.iter().any(|node| node.name() == name);
        let in_second = |name: &str| self.second.iter().any(|node| node.name() == name);
        let lost = (self.ways != Ways::Deaf && in_first(&flow.from) && in_second(&flow.to))
            || (self.ways != Ways::Mute && in_second(&flow.from) && in_first(&flow.to));
        !lost
    }

    async fn clients_meet(&self, wanted: Connection) -> Result<(), String> {
        for node in &self.first {
            let Some(&port) = self.ports.get(node.name()) else { continue };
            let met = connection(node.socket(port), PROBE_LIMIT).await;
            if met != wanted {
                return Err(format!("clients find port {port} of {} {met:?}", node.name()));
            }
        }
        Ok(())
    }

    /// Asks all links, and compares with what must be.
    async fn flows_are(&self, must_arrive: impl Fn(&Flow) -> bool) -> Result<(), String> {
        let flows = seen_flows(&self.nodes()).await?;
        let wrong: Vec<String> = flows
            .iter()
            .filter(|flow| flow.arrives != must_arrive(flow))
            .map(|flow| format!("{} → {} {}", flow.from, flow.to, if flow.arrives { "arrives" } else { "is lost" }))
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join(", ")) }
    }
}

fn names(nodes: &[Node]) -> String {
    nodes.iter().map(Node::name).collect::<Vec<_>>().join("+")
}

#[async_trait]
impl Fault for Partition {
    fn kind(&self) -> &'static str {
        self.name
    }

    fn target(&self) -> String {
        let sign = match self.ways {
            Ways::Both => "x",
            Ways::Deaf => "hears nothing of",
            Ways::Mute => "is not heard by",
        };
        let other = if self.from_everyone { "all nodes".to_owned() } else { names(&self.second) };
        let clients = if self.clients { " and clients" } else { "" };
        format!("{} {sign} {other}{clients}", names(&self.first))
    }

    async fn inject(&self) -> Result<(), FaultError> {
        let puts = self.first.iter().filter_map(|node| self.firewalls.get(node.name()).map(|firewall| firewall.put(node)));
        try_join_all(puts).await?;
        Ok(())
    }

    fn confirmed_by(&self) -> String {
        let ports: BTreeSet<u16> = self.ports.values().copied().collect();
        let listed = ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let clients = match (ports.len(), self.clients) {
            (0, _) => String::new(),
            (1, true) => format!("; port {listed} is silent to clients"),
            (1, false) => format!("; port {listed} accepts clients"),
            (_, true) => format!("; ports {listed} are silent to clients"),
            (_, false) => format!("; ports {listed} accept clients"),
        };
        format!("datagrams between all pairs arrive where they must and nowhere else, by the receivers' kernel counters{clients}")
    }

    async fn is_broken(&self) -> Result<(), String> {
        self.flows_are(|flow| self.must_arrive(flow)).await?;
        self.clients_meet(if self.clients { Connection::Silent } else { Connection::Accepted }).await
    }

    async fn heal(&self) -> Result<(), FaultError> {
        let removals = self.first.iter().filter_map(|node| self.firewalls.get(node.name()).map(|firewall| firewall.remove(node)));
        try_join_all(removals).await?;
        Ok(())
    }

    fn healed_by(&self) -> String {
        "datagrams between all pairs arrive, by the receivers' kernel counters".into()
    }

    async fn is_mended(&self) -> Result<(), String> {
        self.flows_are(|_flow| true).await?;
        self.clients_meet(Connection::Accepted).await
    }
}
