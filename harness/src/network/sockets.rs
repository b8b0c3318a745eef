//! On which ports and addresses a pod's processes listen, by the kernel's own tables.

use std::{collections::BTreeSet, net::Ipv4Addr, time::Duration};

use crate::topology::Node;

/// Reading a table takes well under a second.
const EXEC_LIMIT: Duration = Duration::from_secs(10);
/// From here on the kernel gives ports to sockets that ask for none (`ip_local_port_range`, ip(7)): a datagram socket there may be a client's.
const EPHEMERAL: u16 = 32_768;
/// In the header of each table.
const HEADER: &str = "local_address";

/// What a socket speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    /// As people write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }

    /// The kernel's tables; a kernel without IP version 6 lacks the second.
    const fn tables(self) -> [&'static str; 2] {
        match self {
            Self::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
            Self::Udp => ["/proc/net/udp", "/proc/net/udp6"],
        }
    }

    /// What a listening socket has in the table's `st` column: `TCP_LISTEN`, or `TCP_CLOSE`, in which a datagram socket without a peer is.
    const fn listening(self) -> &'static str {
        match self {
            Self::Tcp => "0A",
            Self::Udp => "07",
        }
    }
}

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
        let [first, second] = transport.tables();
        let output = node.exec_in_pod(&["cat", first, second], &[], EXEC_LIMIT).await.map_err(|error| error.to_string())?;
        if !output.stdout.contains(HEADER) {
            return Err(format!("{first} is no table of sockets: {}{}", output.stdout, output.stderr));
        }
        found.extend(read(transport, &output.stdout));
    }
    Ok(found)
}

/// Tables of proc(5): the local address is hexadecimal, each four bytes in the machine's order.
fn read(transport: Transport, table: &str) -> BTreeSet<Listening> {
    let sockets = table.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, _remote, state) = (fields.next()?, fields.next()?, fields.next()?);
        let (address, port) = local.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        (state == transport.listening()).then(|| Listening { port, inside_only: is_loopback(address), transport })
    });
    sockets.filter(|socket| transport == Transport::Tcp || (!socket.inside_only && socket.port < EPHEMERAL)).collect()
}

fn is_loopback(address: &str) -> bool {
    match address.len() {
        8 => u32::from_str_radix(address, 16).is_ok_and(|bits| Ipv4Addr::from(bits.swap_bytes()).is_loopback()),
        _ => address == "00000000000000000000000001000000" || (address.starts_with("0000000000000000FFFF0000") && address.ends_with("7F")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let found: Vec<(u16, bool)> = read(Transport::Tcp, table).into_iter().map(|socket| (socket.port, socket.inside_only)).collect();
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
