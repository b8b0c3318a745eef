//! What captures say about the links of the model.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use dora_harness::{
    security::capture::{Canary, Captured, Framing, Stream, TLS_1_3, streams},
    topology::{CLIENT, Ends, Link, Node, Reach, Wiring},
};
use dora_reports::evidence::{Finding, ProbeCell, ProbeRow};

pub(super) const COLUMNS: [&str; 3] = ["captured", "made of", "canary"];
const TLS: &str = "TLS records";

/// A node's capture, put together.
pub(super) struct NodeTraffic {
    pub node: Node,
    pub streams: Vec<Stream>,
    /// The first packet off the loopback interface that holds the canary, in words.
    pub canary: Vec<String>,
    /// Whether the control was found.
    pub saw_control: bool,
    pub packets: usize,
    pub dropped: u64,
}

impl NodeTraffic {
    /// Reads a capture. The run's own control streams are found and left out of what is judged.
    pub fn of(captured: &Captured, canary: &Canary, control: &Canary) -> Self {
        let all = streams(&captured.packets);
        let text = control.text();
        let holds = |stream: &Stream, part: &str| {
            stream.pieces.iter().any(|(bytes, _)| bytes.windows(part.len()).any(|window| window == part.as_bytes()))
        };
        let saw_control = all.iter().any(|stream| holds(stream, &text));
        // The last bytes may be missing where a server ends the connection early; half of it tells whose stream it is.
        let begins = &text[..text.len() / 2];
        let controls: BTreeSet<_> = all.iter().filter(|stream| holds(stream, begins)).map(|stream| (stream.from, stream.to)).collect();
        // What is answered to a control is no link's either.
        let is_control = |stream: &Stream| controls.contains(&(stream.from, stream.to)) || controls.contains(&(stream.to, stream.from));
        let streams: Vec<Stream> = all.into_iter().filter(|stream| !is_control(stream)).collect();
        let mut found = BTreeSet::new();
        for packet in captured.packets.iter().filter(|packet| !packet.is_loopback) {
            if let Some(form) = canary.found_in(&packet.bytes) {
                let flow = packet.segment.map_or_else(|| "a packet".to_owned(), |segment| format!("{} to {}", segment.from, segment.to));
                found.insert(format!("{flow}: {form}"));
            }
        }
        for stream in streams.iter().filter(|stream| !stream.is_loopback) {
            if let Some(form) = stream.pieces.iter().find_map(|(bytes, _)| canary.found_in(bytes)) {
                found.insert(format!("{} to {}: {form}", stream.from, stream.to));
            }
        }
        Self {
            node: captured.node.clone(),
            saw_control,
            streams,
            canary: found.into_iter().take(3).collect(),
            packets: captured.packets.len(),
            dropped: captured.dropped,
        }
    }
}

/// One link at one of the nodes that it leads to.
struct Sight {
    segments: u64,
    peers: BTreeSet<Ipv4Addr>,
    framing: Framing,
    /// Versions that servers chose while it was watched.
    versions: BTreeSet<u16>,
    canary: Option<String>,
}

/// The rows of the links' matrix, with what is wrong in them.
pub(super) fn rows(wiring: &Wiring, traffic: &[NodeTraffic], canary: &Canary) -> (Vec<ProbeRow>, Vec<Finding>) {
    let (mut rows, mut findings) = (Vec::new(), Vec::new());
    for link in wiring.links() {
        let ends: Vec<&NodeTraffic> = traffic.iter().filter(|end| wiring.kind(&end.node) == Some(link.to.as_str())).collect();
        let begins = traffic.iter().any(|node| wiring.kind(&node.node) == Some(link.from.as_str())) || link.from == CLIENT;
        if ends.is_empty() || !begins || !is_possible(wiring, traffic, link) {
            continue;
        }
        let seen: Vec<(&NodeTraffic, Sight)> =
            ends.iter().filter_map(|end| Some((*end, sight(wiring, traffic, link, end, canary)?))).collect();
        let all: Vec<&str> = ends.iter().map(|end| end.node.name()).collect();
        let at: Vec<&str> = seen.iter().map(|(end, _sight)| end.node.name()).collect();
        for place in unseen(link, &all, &at) {
            let message = format!("no packet of the link `{}` to {place} was captured", link.purpose);
            findings.push(Finding::unconfirmed("link-not-seen", message));
            rows.push(ProbeRow {
                name: format!("{}: {} to {place}:{}", link.purpose, link.from, link.port),
                cells: vec![Some(ProbeCell::new("seen", "not seen")), None, None],
            });
        }
        for (end, sight) in seen {
            let name = format!("{}: {} to {}:{}", link.purpose, link.from, end.node.name(), link.port);
            let (row, mut wrong) = judge(link, name, &sight);
            rows.push(row);
            findings.append(&mut wrong);
        }
    }
    (rows, findings)
}

/// Where a link has to be seen and was not: nodes, or the kind of node where one of them would do.
fn unseen<'a>(link: &'a Link, all: &[&'a str], at: &[&str]) -> Vec<&'a str> {
    match link.ends {
        _ if link.when.is_some() => Vec::new(),
        Ends::Each => all.iter().copied().filter(|end| !at.contains(end)).collect(),
        Ends::One if at.is_empty() => vec![link.to.as_str()],
        Ends::One => Vec::new(),
    }
}

/// A link among nodes of one kind needs two of them, unless it stays inside one.
fn is_possible(wiring: &Wiring, traffic: &[NodeTraffic], link: &Link) -> bool {
    let count = traffic.iter().filter(|node| wiring.kind(&node.node) == Some(link.from.as_str())).count();
    link.from != link.to || link.on == Reach::Loopback || count > 1
}

fn sight(wiring: &Wiring, traffic: &[NodeTraffic], link: &Link, end: &NodeTraffic, canary: &Canary) -> Option<Sight> {
    let from: BTreeSet<Ipv4Addr> = if link.from == CLIENT {
        [end.node.gateway()].into()
    } else {
        traffic.iter().filter(|node| wiring.kind(&node.node) == Some(link.from.as_str())).map(|node| node.node.address()).collect()
    };
    let belongs = |stream: &&Stream| {
        let (here, there) = if stream.to.port() == link.port { (stream.to, stream.from) } else { (stream.from, stream.to) };
        if here.port() != link.port {
            return false;
        }
        match link.on {
            Reach::Loopback => stream.is_loopback,
            _ => !stream.is_loopback && *here.ip() == end.node.address() && from.contains(there.ip()),
        }
    };
    let streams: Vec<&Stream> = end.streams.iter().filter(belongs).collect();
    let peer = |stream: &Stream| if stream.to.port() == link.port { *stream.from.ip() } else { *stream.to.ip() };
    if streams.is_empty() {
        return None;
    }
    Some(Sight {
        segments: streams.iter().map(|stream| stream.segments).sum(),
        peers: streams.iter().map(|stream| peer(stream)).collect(),
        framing: streams.iter().map(|stream| stream.framing()).max().unwrap_or(Framing::Unknown),
        versions: streams.iter().flat_map(|stream| stream.chosen_versions()).collect(),
        canary: streams.iter().find_map(|stream| stream.pieces.iter().find_map(|(bytes, _)| canary.found_in(bytes))),
    })
}

/// What a link that has to be encrypted consists of. The version can be seen only where somebody connected while packets were captured.
fn made_of(sight: &Sight, framing: &str) -> ProbeCell {
    let is_new = sight.versions.iter().all(|version| *version >= TLS_1_3);
    let version = match (sight.versions.is_empty(), is_new) {
        (true, _) => "no handshake captured",
        (false, true) => "1.3 chosen",
        (false, false) => "an older version chosen",
    };
    ProbeCell {
        expected: TLS.to_owned(),
        observed: format!("{framing}, {version}"),
        ok: sight.framing == Framing::Tls && is_new,
        undecided: is_new && sight.framing == Framing::Unknown,
    }
}

fn judge(link: &Link, name: String, sight: &Sight) -> (ProbeRow, Vec<Finding>) {
    let mut findings = Vec::new();
    let peers = if sight.peers.len() > 1 { format!(" with {} peers", sight.peers.len()) } else { String::new() };
    let captured =
        ProbeCell { expected: "seen".into(), observed: format!("{} segments{peers}", sight.segments), ok: true, ..ProbeCell::default() };
    let framing = match sight.framing {
        Framing::Tls => TLS,
        Framing::Other => "other data",
        Framing::Unknown => "too little to tell",
    };
    if link.on == Reach::Loopback {
        let inside = ProbeCell {
            expected: "inside the pod".into(),
            observed: format!("inside the pod, {framing}"),
            ok: true,
            ..ProbeCell::default()
        };
        return (ProbeRow { name, cells: vec![Some(captured), Some(inside), None] }, findings);
    }
    let made_of = match &link.plain {
        Some(why) => ProbeCell {
            expected: "named exception".into(),
            observed: format!("{framing}, named exception: {why}"),
            ok: true,
            ..ProbeCell::default()
        },
        None => made_of(sight, framing),
    };
    if link.plain.is_none() {
        if let Some(version) = sight.versions.iter().find(|version| **version < TLS_1_3) {
            let message = format!("{name}: a server chose version {version:#06x}, which is older than TLS 1.3");
            findings.push(Finding::violation("link-below-tls-1-3", message));
        }
        match sight.framing {
            Framing::Other => findings.push(Finding::violation("link-in-plaintext", format!("{name} is not made of TLS records"))),
            Framing::Unknown => findings.push(Finding::unconfirmed("link-not-told", format!("{name}: {framing}"))),
            Framing::Tls => {}
        }
    }
    let canary = ProbeCell::new("absent", if sight.canary.is_some() { "present" } else { "absent" });
    (ProbeRow { name, cells: vec![Some(captured), Some(made_of), Some(canary)] }, findings)
}

/// Connections between nodes of the database that no link of the model describes.
pub(super) fn undeclared(wiring: &Wiring, traffic: &[NodeTraffic]) -> Vec<Finding> {
    let nodes: BTreeMap<Ipv4Addr, &Node> = traffic.iter().map(|node| (node.node.address(), &node.node)).collect();
    let described = |from: &Node, to: &Node, port: u16| {
        let (from, to) = (wiring.kind(from), wiring.kind(to));
        wiring.links().iter().any(|link| link.port == port && Some(link.from.as_str()) == from && Some(link.to.as_str()) == to)
    };
    let mut unknown = BTreeSet::new();
    for stream in traffic.iter().flat_map(|node| &node.streams).filter(|stream| !stream.is_loopback) {
        let (Some(from), Some(to)) = (nodes.get(stream.from.ip()), nodes.get(stream.to.ip())) else { continue };
        if !described(from, to, stream.to.port()) && !described(to, from, stream.from.port()) {
            // Clients use high ports: the lower one is the listener's.
            let (client, server, port) =
                if stream.to.port() < stream.from.port() { (from, to, stream.to.port()) } else { (to, from, stream.from.port()) };
            unknown.insert(format!("{} to {}:{port}", client.name(), server.name()));
        }
    }
    let found = |link: String| Finding::violation("undeclared-link", format!("{link} carries data and is not in the model"));
    unknown.into_iter().map(found).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_demanded_at_one_end_or_at_each() {
        let link =
            |text: &str| -> Link { toml::from_str(&format!("purpose = \"p\"\nfrom = \"a\"\nto = \"server\"\nport = 1\n{text}")).unwrap() };
        let all = ["s1", "s2"];
        let one = link("");
        assert_eq!(unseen(&one, &all, &[]), ["server"]);
        assert!(unseen(&one, &all, &["s2"]).is_empty());
        let each = link("ends = \"each\"");
        assert_eq!(unseen(&each, &all, &["s2"]), ["s1"]);
        assert_eq!(unseen(&each, &all, &[]), all);
        assert!(unseen(&each, &all, &all).is_empty());
        assert!(unseen(&link("when = \"a start\""), &all, &[]).is_empty());
    }
}
