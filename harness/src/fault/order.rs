//! A fault as data: what a person orders, and what is kept until it is healed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    Bandwidth, ClockSkew, ConnectionReset, CpuPressure, DiskFull, DiskTrouble, Fault, FaultError, Kill, Kind, Latency, Loss,
    MemoryPressure, NameLoss, NodeLoss, Partition, Pause, PowerLoss, ProcessKill, Restart, Signal, Stop, firewall::random_id,
};
use crate::{
    engine::Engine,
    topology::{Node, NodeRecord},
};

/// Numbers and names of a fault; each kind reads its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Details {
    /// The node's TCP port that matters.
    pub port: u16,
    /// For `kill` and `process-kill`.
    pub signal: Signal,
    /// For `process-kill`: a part of the command line.
    pub process: Option<String>,
    /// For `stop` and `restart`, in milliseconds.
    pub grace_ms: u64,
    /// For `latency` and `slow-disk`, in milliseconds.
    pub delay_ms: u64,
    /// For `latency`, in milliseconds.
    pub jitter_ms: u64,
    /// For `loss`, from 0 to 1.
    pub share: f64,
    /// For `bandwidth`, in kilobits a second.
    pub kbit_per_s: u64,
    /// For `cpu-pressure`, in processors.
    pub cpus: f64,
    /// For `memory-pressure` and `disk-full`, in bytes.
    pub leave_bytes: u64,
    /// For `clock-skew`, in seconds.
    pub skew_s: i64,
    /// For `isolation`, `partition` and `bridge`.
    pub ways: Ways,
    /// For `isolation`, `partition` and `bridge`: whether clients lose the node, too.
    pub clients: bool,
}

/// Which direction of a link is cut, seen from the node that is aimed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ways {
    /// Both.
    Both,
    /// It hears nothing.
    Deaf,
    /// It is not heard.
    Mute,
}

impl std::str::FromStr for Ways {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "both" => Ok(Self::Both),
            "deaf" => Ok(Self::Deaf),
            "mute" => Ok(Self::Mute),
            _ => Err("write both, deaf or mute".into()),
        }
    }
}

/// A fault that is ordered, with everything that another process needs to heal it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// Its name.
    pub id: String,
    /// What.
    pub kind: Kind,
    /// At whom.
    pub node: NodeRecord,
    /// The other nodes that it concerns: for `isolation` and the probes any of the run, for `partition` and `bridge` the second side.
    pub peers: Vec<NodeRecord>,
    /// For `partition` and `bridge`: further nodes on the side of the one that is aimed at, each with its TCP port that matters.
    #[serde(default)]
    pub beside: Vec<(NodeRecord, u16)>,
    /// For `bridge`: the node that both sides reach.
    #[serde(default)]
    pub bridge: Option<NodeRecord>,
    /// How.
    pub details: Details,
}

impl Order {
    /// An order under a new name.
    pub fn new(kind: Kind, node: &Node, peers: &[Node], details: Details) -> Self {
        let peers = peers.iter().map(Node::record).collect();
        Self { id: random_id(), kind, node: node.record(), peers, beside: Vec::new(), bridge: None, details }
    }

    /// With further nodes on the side of the one that is aimed at, and the TCP port of each.
    #[must_use]
    pub fn beside(self, nodes: &[(Node, u16)]) -> Self {
        Self { beside: nodes.iter().map(|(node, port)| (node.record(), *port)).collect(), ..self }
    }

    /// With a node that both sides reach.
    #[must_use]
    pub fn through(self, bridge: &Node) -> Self {
        Self { bridge: Some(bridge.record()), ..self }
    }

    /// The fault.
    ///
    /// # Errors
    /// [`FaultError::Other`] when a detail is missing, [`FaultError::Unsupported`] for what nothing here can do.
    pub fn fault(&self, engine: &Engine) -> Result<Box<dyn Fault>, FaultError> {
        let node = Node::attach(engine, self.node.clone());
        let peers: Vec<Node> = self.peers.iter().map(|record| Node::attach(engine, record.clone())).collect();
        let beside = self.beside.iter().map(|(record, _)| Node::attach(engine, record.clone()));
        let role = node.role().to_owned();
        let Details { port, signal, grace_ms, delay_ms, jitter_ms, share, kbit_per_s, cpus, leave_bytes, skew_s, .. } = self.details;
        let (grace, delay) = (Duration::from_millis(grace_ms), Duration::from_millis(delay_ms));
        let peer = || peers.first().cloned().ok_or_else(|| FaultError::Other("a peer is needed; name one with --peers".into()));
        Ok(match self.kind {
            Kind::Kill => Box::new(Kill::new(node, role, port).signal(signal)),
            Kind::Pause => Box::new(Pause::new(node, role, port)),
            Kind::Stop => Box::new(Stop::new(node, role, port, grace)),
            Kind::Restart => Box::new(Restart::new(node, role, port, grace)),
            Kind::NodeLoss => Box::new(NodeLoss::new(node, role, port).named(&self.id)),
            Kind::ProcessKill => {
                let missing = || FaultError::Other("name the process, as a part of its command line, with --process".into());
                Box::new(ProcessKill::new(node, role, self.details.process.clone().ok_or_else(missing)?, signal))
            }
            Kind::Isolation => Box::new(self.cut(Partition::isolate(&node, &peers))),
            Kind::Partition => {
                peer()?;
                let side: Vec<Node> = std::iter::once(node).chain(beside).collect();
                Box::new(self.cut(Partition::between(&side, &peers)))
            }
            Kind::Bridge => {
                peer()?;
                let missing = || FaultError::Other("name the node that both sides reach with --bridge".into());
                let bridge = Node::attach(engine, self.bridge.clone().ok_or_else(missing)?);
                let side: Vec<Node> = std::iter::once(node).chain(beside).collect();
                Box::new(self.cut(Partition::bridge(&side, &bridge, &peers)))
            }
            Kind::Latency => {
                let latency = Latency::new(node, role, port, delay).jitter(Duration::from_millis(jitter_ms)).named(&self.id);
                Box::new(if peers.is_empty() { latency } else { latency.towards(&peers) })
            }
            Kind::Loss => Box::new(Loss::new(node, role, peer()?, share).named(&self.id)),
            Kind::ConnectionReset => Box::new(ConnectionReset::new(node, role, port).named(&self.id)),
            Kind::Bandwidth => Box::new(Bandwidth::new(node, role, peer()?, kbit_per_s * 1000)),
            Kind::NameLoss => Box::new(NameLoss::new(node, role, &peers).named(&self.id)),
            Kind::CpuPressure => Box::new(CpuPressure::new(node, role, cpus)),
            Kind::MemoryPressure => Box::new(MemoryPressure::new(node, role, leave_bytes).named(&self.id)),
            Kind::DiskFull => Box::new(DiskFull::new(node, role, leave_bytes)),
            Kind::SlowDisk => Box::new(DiskTrouble::slow(node, role, delay)),
            Kind::FsyncError => Box::new(DiskTrouble::failing(node, role)),
            Kind::ClockSkew => Box::new(ClockSkew::new(node, role, skew_s)),
            Kind::PowerLoss => Box::new(PowerLoss::new(node, role, port)),
            Kind::LostFsync => Box::new(PowerLoss::of_a_lying_disk(node, role, port, delay)),
        })
    }

    fn cut(&self, partition: Partition) -> Partition {
        let partition = match self.details.ways {
            Ways::Both => partition,
            Ways::Deaf => partition.deaf(),
            Ways::Mute => partition.mute(),
        };
        let partition = self
            .beside
            .iter()
            .fold(partition.on_port(self.details.port), |partition, (node, port)| partition.on_port_of(node.name(), *port));
        if self.details.clients { partition.and_clients() } else { partition }.named(&self.id)
    }
}
