//! On which ports and addresses a pod's processes listen, by the kernel's own tables.

use std::{collections::BTreeSet, net::IpAddr};

use crate::{security::Transport, topology::Node};

/// A listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listening {
    /// The port.
    pub port: u16,
    /// Whether only the pod itself reaches it.
    pub inside_only: bool,
    /// What it speaks.
    pub transport: Transport,
}

/// The listening sockets of a pod, each port and reach once. Of datagram sockets only those that others can reach and that no client is given.
///
/// # Errors
/// The engine's refusal, or its word when what it read is no table: nothing read is not nothing there.
pub async fn listeners(node: &Node) -> Result<BTreeSet<Listening>, String> {
    let mut found = BTreeSet::new();
    for transport in [Transport::Tcp, Transport::Udp] {
        found.extend(reach(transport, transport.listeners(node).await.map_err(|error| error.to_string())?));
    }
    Ok(found)
}

fn reach(transport: Transport, sockets: BTreeSet<(IpAddr, u16)>) -> impl Iterator<Item = Listening> {
    sockets.into_iter().map(move |(address, port)| Listening { port, inside_only: address.is_loopback(), transport })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(transport: Transport, table: &str) -> BTreeSet<Listening> {
        reach(transport, transport.read(table)).collect()
    }

    #[test]
    fn the_kernels_tables_are_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue
   0: 00000000:18EB 00000000:0000 0A 00000000:00000000
   1: 0100007F:1388 00000000:0000 0A 00000000:00000000
   2: 0A0112C6:18EB 010112C6:D2F0 01 00000000:00000000
  sl  local_address                         remote_address                        st
   0: 00000000000000000000000000000000:1F48 00000000000000000000000000000000:0000 0A 0
   1: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0
   2: 0000000000000000FFFF00000100007F:0051 00000000000000000000000000000000:0000 0A 0";
        let found: Vec<(u16, bool)> = read(Transport::Tcp, table).iter().map(|socket| (socket.port, socket.inside_only)).collect();
        assert_eq!(found, [(80, true), (81, true), (5000, true), (6379, false), (8008, false)]);
    }

    #[test]
    fn datagram_sockets_that_others_reach_count() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue
   0: 00000000:00A1 00000000:0000 07 00000000:00000000
   1: 0B00007F:0035 00000000:0000 07 00000000:00000000
   2: 00000000:8000 00000000:0000 07 00000000:00000000
   3: 0A0112C6:0202 010112C6:D2F0 01 00000000:00000000";
        let found: Vec<Listening> = read(Transport::Udp, table).into_iter().collect();
        assert_eq!(found, [Listening { port: 161, inside_only: false, transport: Transport::Udp }]);
    }
}
