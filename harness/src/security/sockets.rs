//! A pod's own tables of listening sockets, read from the kernel and not from the model.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use crate::{engine::EngineError, topology::Node};

/// Reading a table takes well under a second.
const EXEC_LIMIT: Duration = Duration::from_secs(10);
/// The engine's own name server, which it puts into the namespace of every container on a network of the user's.
const ENGINE_RESOLVER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11));
/// From here on the kernel gives ports to sockets that ask for none (`ip_local_port_range`, ip(7)): a datagram socket there may be a client's,
/// which looks the same as a server's.
const EPHEMERAL: u16 = 32_768;
/// In the header of each table of [`Transport`].
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

    /// Addresses and ports of a pod's listening sockets, by the kernel's tables. Of datagram sockets only those that other nodes can reach and
    /// that no client is given.
    ///
    /// # Errors
    /// As [`ListeningSockets::of`].
    pub(crate) async fn listeners(self, node: &Node) -> Result<BTreeSet<(IpAddr, u16)>, EngineError> {
        Ok(self.read(&table(node, &self.tables(), HEADER).await?))
    }

    pub(crate) fn read(self, tables: &str) -> BTreeSet<(IpAddr, u16)> {
        let sockets = tables.lines().filter_map(|line| socket(line, self.listening()));
        sockets.filter(|(address, port)| self == Self::Tcp || (!address.is_loopback() && *port < EPHEMERAL)).collect()
    }
}

/// What listens in a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListeningSockets {
    /// TCP: address and port, sorted, without the engine's name server.
    pub tcp: Vec<(IpAddr, u16)>,
    /// UDP: address and port, sorted; only those that other nodes can reach and that no client is given.
    pub udp: Vec<(IpAddr, u16)>,
    /// Files of stream sockets, sorted.
    pub files: Vec<String>,
}

impl ListeningSockets {
    /// Reads the tables of the pod's network namespace.
    ///
    /// # Errors
    /// Any [`EngineError`] of reading; [`EngineError::Exec`] also for an output that is no table: nothing read is not nothing there.
    pub async fn of(node: &Node) -> Result<Self, EngineError> {
        let (tcp, udp) = (Transport::Tcp.listeners(node).await?, Transport::Udp.listeners(node).await?);
        Ok(Self::new(tcp, udp, &table(node, &["/proc/net/unix"], "RefCount").await?))
    }

    fn new(tcp: BTreeSet<(IpAddr, u16)>, udp: BTreeSet<(IpAddr, u16)>, files: &str) -> Self {
        let tcp = tcp.into_iter().filter(|(address, _)| *address != ENGINE_RESOLVER).collect();
        let files: BTreeSet<String> = files.lines().filter_map(listening_file).collect();
        Self { tcp, udp: udp.into_iter().collect(), files: files.into_iter().collect() }
    }

    /// The ports that other nodes can reach, as far as the socket's address goes.
    pub fn on_network(&self) -> impl Iterator<Item = u16> {
        self.tcp.iter().filter(|(address, _)| !address.is_loopback()).map(|(_, port)| *port)
    }

    /// The ports that only the node itself can reach.
    pub fn on_loopback(&self) -> impl Iterator<Item = u16> {
        self.tcp.iter().filter(|(address, _)| address.is_loopback()).map(|(_, port)| *port)
    }
}

/// The text of those files of a pod, of which one at least has to be a table: its header has this word.
async fn table(node: &Node, paths: &[&str], header: &str) -> Result<String, EngineError> {
    let command: Vec<&str> = ["cat"].iter().chain(paths).copied().collect();
    let output = node.exec_in_pod(&command, &[], EXEC_LIMIT).await?;
    if is_table(&output.stdout, header) {
        return Ok(output.stdout);
    }
    Err(EngineError::Exec {
        node: node.name().to_owned(),
        command: command.join(" "),
        code: output.code,
        output: format!("no table of sockets: {}{}", output.stdout, output.stderr),
    })
}

fn is_table(text: &str, header: &str) -> bool {
    text.lines().next().is_some_and(|line| line.contains(header))
}

/// A line of `/proc/net/tcp`, `tcp6`, `udp` or `udp6` (proc(5)) in that state.
fn socket(line: &str, wanted: &str) -> Option<(IpAddr, u16)> {
    let mut fields = line.split_whitespace().skip(1);
    let (local, _remote, state) = (fields.next()?, fields.next()?, fields.next()?);
    let (address, port) = local.split_once(':')?;
    if state != wanted {
        return None;
    }
    Some((ip(address)?.to_canonical(), u16::from_str_radix(port, 16).ok()?))
}

/// The kernel prints words of 32 bits in the machine's byte order.
fn ip(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match hex.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?)))
        }
        _ => None,
    }
}

/// A line of `/proc/net/unix`: flag 00010000 (it accepts connections), type 0001 (stream) and a path of the file system.
fn listening_file(line: &str) -> Option<String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    match fields.as_slice() {
        [_, _, _, "00010000", "0001", _, _, path] if path.starts_with('/') => Some((*path).to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        let tcp = "  sl  local_address rem_address   st\n   0: 00000000:18EB 00000000:0000 0A 0\n   1: 0B00007F:9C41 00000000:0000 0A 0\n   2: 0A0012C6:18EB 010012C6:D2F0 01 0\n   0: 0000000000000000FFFF00000100007F:1D32 0:0000 0A 0\n   1: 00000000000000000000000001000000:0050 0:0000 0A 0";
        let unix = "Num       RefCount Protocol Flags    Type St Inode Path\n0: 00000002 00000000 00010000 0001 01 123 /tmp/.s.PGSQL.6432\n0: 00000003 00000000 00000000 0001 03 124 /tmp/.s.PGSQL.6432\n0: 00000002 00000000 00010000 0001 01 125 @abstract";
        let udp = "   sl  local_address rem_address   st tx_queue\n  1: 00000000:00A1 00000000:0000 07 0\n  2: 0B00007F:0035 00000000:0000 07 0\n  3: 00000000:8000 00000000:0000 07 0\n  4: 0A0012C6:0202 010012C6:D2F0 01 0\n  sl  local_address                         remote_address                        st\n  5: 00000000000000000000000000000000:7FFF 0:0000 07 0\n  6: 00000000000000000000000001000000:0050 0:0000 07 0";
        let read = ListeningSockets::new(Transport::Tcp.read(tcp), Transport::Udp.read(udp), unix);
        assert_eq!(read.files, ["/tmp/.s.PGSQL.6432"]);
        assert_eq!(read.on_network().collect::<Vec<_>>(), [6379]);
        assert_eq!(read.on_loopback().collect::<Vec<_>>(), [7474, 80], "mapped and plain addresses of version 6 count");
        let datagrams: Vec<u16> = read.udp.iter().map(|(_, port)| *port).collect();
        assert_eq!(datagrams, [161, 32_767], "neither the node's own, nor a client's, nor one with a peer");
        assert!(is_table(tcp, "local_address") && is_table(udp, "local_address") && is_table(unix, "RefCount"));
        assert!(!is_table("", "local_address") && !is_table("cat: /proc/net/tcp: No such file or directory", "local_address"));
    }
}
