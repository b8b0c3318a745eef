//! Who owns which slots of a Cluster, read from `CLUSTER NODES`.

use std::{net::Ipv4Addr, ops::RangeInclusive};

use crate::topology::Node;

/// A master with its slots, and its replicas.
#[derive(Debug, Clone)]
pub struct Shard {
    /// The master.
    pub master: Node,
    /// Its identity in the Cluster.
    pub id: String,
    /// Its replicas, dead ones included.
    pub replicas: Vec<Node>,
    /// Its slots.
    pub slots: Vec<RangeInclusive<u16>>,
}

impl Shard {
    /// Whether it owns the slot.
    pub fn owns(&self, slot: u16) -> bool {
        self.slots.iter().any(|range| range.contains(&slot))
    }

    /// Its first slots, at most so many.
    pub fn first_slots(&self, count: usize) -> Vec<u16> {
        self.slots.iter().cloned().flatten().take(count).collect()
    }
}

/// One line of `CLUSTER NODES`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    id: String,
    address: Ipv4Addr,
    /// The identity of its master; [`None`] for a master.
    master: Option<String>,
    failed: bool,
    slots: Vec<RangeInclusive<u16>>,
}

/// The shards by the word of one node: masters that own slots and are not held for failed.
pub(super) fn shards(text: &str, nodes: &[Node]) -> Vec<Shard> {
    let lines: Vec<Line> = text.lines().filter_map(line).collect();
    let node = |line: &Line| nodes.iter().find(|node| node.address() == line.address).cloned();
    lines
        .iter()
        .filter(|line| line.master.is_none() && !line.failed && !line.slots.is_empty())
        .filter_map(|master| {
            let replicas = lines.iter().filter(|line| line.master.as_ref() == Some(&master.id)).filter_map(node).collect();
            Some(Shard { master: node(master)?, id: master.id.clone(), replicas, slots: master.slots.clone() })
        })
        .collect()
}

/// `id ip:port@bus[,name] flags master ping pong epoch link slots…`; slots on the move stand in brackets and belong to their old owner.
fn line(text: &str) -> Option<Line> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [id, address, flags, master, _ping, _pong, _epoch, _link, slots @ ..] = words.as_slice() else { return None };
    let flags: Vec<&str> = flags.split(',').collect();
    Some(Line {
        id: (*id).to_owned(),
        address: address.split(':').next()?.parse().ok()?,
        master: (*master != "-").then(|| (*master).to_owned()),
        failed: flags.contains(&"fail"),
        slots: slots.iter().filter(|slot| !slot.starts_with('[')).filter_map(|slot| range(slot)).collect(),
    })
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    match text.split_once('-') {
        Some((first, last)) => Some(first.parse().ok()?..=last.parse().ok()?),
        None => text.parse().ok().map(|slot| slot..=slot),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_master_tells_its_slots() {
        let master = line("07c3 10.0.0.4:6379@16379,rdc1 myself,master - 0 1426238317239 4 connected 0-5459 7000 [93->-292f]").unwrap();
        assert_eq!(master.slots, vec![0..=5459, 7000..=7000]);
        assert_eq!((master.master, master.failed), (None, false));
    }

    #[test]
    fn a_replica_names_its_master_and_the_dead_are_told() {
        let replica = line("2eb7 10.0.0.7:6379@16379 slave,fail 07c3 1426238316232 1426238316232 5 disconnected").unwrap();
        assert_eq!(replica.master.as_deref(), Some("07c3"));
        assert!(replica.failed && replica.slots.is_empty());
        // A node that may have failed has not.
        assert!(!line("2eb7 10.0.0.7:6379@16379 master,fail? - 0 0 5 connected 1").unwrap().failed);
        assert_eq!(line("nonsense"), None);
    }
}
