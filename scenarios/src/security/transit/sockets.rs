//! Compares what listens with what the model says.

use std::collections::BTreeSet;

use dora_harness::{
    security::ListeningSockets,
    topology::{Node, Reach, Wiring},
};
use dora_reports::evidence::Finding;

/// What is different on one node.
pub(super) struct Difference {
    /// The findings.
    pub findings: Vec<Finding>,
    /// TCP ports that other nodes can reach and that the model does not have there.
    pub undeclared: Vec<u16>,
}

/// The node's table against the model.
pub(super) fn compare(wiring: &Wiring, node: &Node, sockets: &ListeningSockets) -> Difference {
    let listeners = wiring.listeners(node);
    let ports = |on: Reach| listeners.iter().filter(|listener| listener.on == on).map(|listener| listener.port).collect::<BTreeSet<_>>();
    let (network, loopback) = (ports(Reach::Network), ports(Reach::Loopback));
    let found: (BTreeSet<u16>, BTreeSet<u16>) = (sockets.on_network().collect(), sockets.on_loopback().collect());
    let mut findings = Vec::new();
    let name = node.name();
    let mut undeclared = Vec::new();
    for port in found.0.difference(&network) {
        undeclared.push(*port);
        findings.push(if loopback.contains(port) {
            Finding::violation("listener-exposed", format!("{name}:{port} listens for the network and is meant for the node itself only"))
        } else {
            Finding::violation("undeclared-listener", format!("{name}:{port} listens and is not in the model"))
        });
    }
    for port in found.1.iter().filter(|port| !network.contains(port) && !loopback.contains(port)) {
        findings.push(Finding::violation("undeclared-listener", format!("{name}: 127.x:{port} listens and is not in the model")));
    }
    // The model has no datagram sockets.
    for (address, port) in &sockets.udp {
        findings
            .push(Finding::violation("undeclared-listener", format!("{name}: UDP {address} port {port} listens and is not in the model")));
    }
    for port in network.difference(&found.0) {
        findings.push(Finding::violation("missing-listener", format!("{name}:{port} is in the model and nobody listens there")));
    }
    for port in loopback.iter().filter(|port| !found.0.contains(port) && !found.1.contains(port)) {
        findings.push(Finding::violation("missing-listener", format!("{name}: 127.x:{port} is in the model and nobody listens there")));
    }
    let files = listeners.iter().filter(|listener| listener.on == Reach::Socket).map(|listener| listener.path.as_str());
    for path in files.filter(|path| !sockets.files.iter().any(|file| file == path)) {
        findings.push(Finding::violation("missing-listener", format!("{name}:{path} is in the model and nobody listens there")));
    }
    Difference { findings, undeclared }
}
