//! Which node's packets reach which other node, each direction for itself.
//!
//! A TCP connection needs both directions, so it cannot tell which one is cut. Datagrams can: each node sends its own power of two
//! of them to every other one, to a port where nothing listens, and the receiving kernel counts what arrives. The sum tells who came through.
//! The counters are those of `/proc/net/snmp`, before any program; the firewall's own counters, the injector's word, are not asked.

use std::time::Duration;

use dora_fixtures::assets;
use futures_util::future::{join_all, try_join_all};

use crate::topology::Node;

/// Reading a counter or sending takes well under a second.
const EXEC_LIMIT: Duration = Duration::from_secs(10);
/// With one more node the number of datagrams doubles.
const NODES_MAX: usize = 12;

/// One direction of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// Who sends.
    pub from: String,
    /// Who receives.
    pub to: String,
    /// Whether it arrived.
    pub arrives: bool,
}

/// Tries all links between the nodes, both directions.
///
/// # Errors
/// What kept the probe from working: too many nodes, an engine's refusal, or foreign datagrams among its own.
pub async fn seen_flows(nodes: &[Node]) -> Result<Vec<Flow>, String> {
    if nodes.len() > NODES_MAX {
        return Err(format!("{} nodes are too many to probe at once, {NODES_MAX} are the most", nodes.len()));
    }
    let before = try_join_all(nodes.iter().map(arrived)).await?;
    let sent = join_all(nodes.iter().enumerate().map(|(index, node)| {
        let to: Vec<&Node> = nodes.iter().filter(|other| other.name() != node.name()).collect();
        async move { send(node, &to, 1 << index).await }
    }))
    .await;
    sent.into_iter().collect::<Result<Vec<()>, _>>()?;
    let after = try_join_all(nodes.iter().map(arrived)).await?;
    let names: Vec<&str> = nodes.iter().map(Node::name).collect();
    let counts: Vec<u64> = before.iter().zip(&after).map(|(before, after)| after.saturating_sub(*before)).collect();
    decode(&names, &counts)
}

/// How many of `count` datagrams from one node to another got lost.
///
/// # Errors
/// What kept the probe from working.
pub async fn lost(from: &Node, to: &Node, count: u64) -> Result<u64, String> {
    let before = arrived(to).await?;
    send(from, &[to], count).await?;
    let came = arrived(to).await?.saturating_sub(before);
    count.checked_sub(came).ok_or_else(|| format!("{} received {came} datagrams of {count}, some are not the probe's", to.name()))
}

/// How many datagrams reached the node's address without finding a listener, since its pod started.
///
/// # Errors
/// The engine's refusal, or counters in a form that is not known.
pub async fn arrived(node: &Node) -> Result<u64, String> {
    let output = node.exec_in_pod(&["cat", "/proc/net/snmp"], &[], EXEC_LIMIT).await.map_err(|error| error.to_string())?;
    no_ports(&output.stdout).ok_or_else(|| format!("the kernel of {} counts no datagrams", node.name()))
}

/// Sends `count` datagrams from the node to each of the others.
///
/// # Errors
/// The engine's refusal.
async fn send(from: &Node, to: &[&Node], count: u64) -> Result<(), String> {
    let script = assets::text("config/fault/send-datagrams.sh").map_err(|error| error.to_string())?;
    let count = count.to_string();
    let addresses: Vec<String> = to.iter().map(|node| node.address().to_string()).collect();
    let mut command = vec!["bash", "-s", "--", &count];
    command.extend(addresses.iter().map(String::as_str));
    let output = from.exec_in_pod(&command, script.as_bytes(), EXEC_LIMIT).await.map_err(|error| error.to_string())?;
    if output.code == 0 { Ok(()) } else { Err(format!("{} could not send: {}", from.name(), output.stderr.trim())) }
}

/// `NoPorts` of the two `Udp:` lines, names and values.
fn no_ports(snmp: &str) -> Option<u64> {
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, values) = (lines.next()?, lines.next()?);
    let at = names.split_whitespace().position(|name| name == "NoPorts")?;
    values.split_whitespace().nth(at)?.parse().ok()
}

/// Who came through to whom, when node *i* sent 2^*i* datagrams to each other one.
fn decode(names: &[&str], counts: &[u64]) -> Result<Vec<Flow>, String> {
    let mut flows = Vec::new();
    for (receiver, (name, count)) in names.iter().zip(counts).enumerate() {
        if count >> names.len() != 0 || count >> receiver & 1 == 1 {
            return Err(format!("{name} received {count} datagrams, among them some that are not the probe's"));
        }
        for (sender, from) in names.iter().enumerate().filter(|(sender, _)| *sender != receiver) {
            flows.push(Flow { from: (*from).to_owned(), to: (*name).to_owned(), arrives: count >> sender & 1 == 1 });
        }
    }
    Ok(flows)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SNMP: &str =
        "Ip: Forwarding DefaultTTL\nIp: 1 64\nUdp: InDatagrams NoPorts InErrors\nUdp: 12 34 0\nUdpLite: InDatagrams NoPorts\nUdpLite: 0 0";

    #[test]
    fn the_kernels_table_is_read() {
        assert_eq!(no_ports(SNMP), Some(34));
        assert_eq!(no_ports("Ip: 1"), None);
    }

    #[test]
    fn the_sum_tells_who_came_through() {
        // b hears a (1) and c (4); a hears only c (4); c hears nobody.
        let flows = decode(&["a", "b", "c"], &[4, 5, 0]).unwrap();
        let arrives: Vec<(&str, &str)> = flows.iter().filter(|f| f.arrives).map(|f| (f.from.as_str(), f.to.as_str())).collect();
        assert_eq!(arrives, [("c", "a"), ("a", "b"), ("c", "b")]);
        assert_eq!(flows.len(), 6);
    }

    #[test]
    fn foreign_datagrams_are_noticed() {
        assert!(decode(&["a", "b"], &[4, 0]).is_err());
        assert!(decode(&["a", "b"], &[1, 0]).is_err());
    }
}
