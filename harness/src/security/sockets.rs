//! A pod's own table of listening sockets, read from the kernel and not from the model.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use crate::{engine::EngineError, topology::Node};

/// Reading a table takes well under a second.
const EXEC_LIMIT: Duration = Duration::from_secs(10);
/// The engine's own name server, which it puts into the namespace of every container on a network of the user's.
const ENGINE_RESOLVER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11));

/// What listens in a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListeningSockets {
    /// TCP: address and port, sorted, without the engine's name server.
    pub tcp: Vec<(IpAddr, u16)>,
    /// Files of stream sockets, sorted.
    pub files: Vec<String>,
}

impl ListeningSockets {
    /// Reads the tables of the pod's network namespace.
    ///
    /// # Errors
    /// Any [`EngineError`] of reading.
    pub async fn of(node: &Node) -> Result<Self, EngineError> {
        let tables = node.exec_in_pod(&["cat", "/proc/net/tcp", "/proc/net/tcp6"], &[], EXEC_LIMIT).await?.stdout;
        let files = node.exec_in_pod(&["cat", "/proc/net/unix"], &[], EXEC_LIMIT).await?.stdout;
        Ok(Self::read(&tables, &files))
    }

    fn read(tables: &str, files: &str) -> Self {
        let mut tcp: Vec<(IpAddr, u16)> = tables.lines().filter_map(listener).filter(|(address, _)| *address != ENGINE_RESOLVER).collect();
        tcp.sort_unstable();
        tcp.dedup();
        let mut files: Vec<String> = files.lines().filter_map(listening_file).collect();
        files.sort_unstable();
        files.dedup();
        Self { tcp, files }
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

/// A line of `/proc/net/tcp` or `tcp6` (proc(5)) in state 0A, LISTEN.
fn listener(line: &str) -> Option<(IpAddr, u16)> {
    let mut fields = line.split_whitespace().skip(1);
    let (local, _remote, state) = (fields.next()?, fields.next()?, fields.next()?);
    let (address, port) = local.split_once(':')?;
    if state != "0A" {
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
        let read = ListeningSockets::read(tcp, unix);
        assert_eq!(read.files, ["/tmp/.s.PGSQL.6432"]);
        assert_eq!(read.on_network().collect::<Vec<_>>(), [6379]);
        assert_eq!(read.on_loopback().collect::<Vec<_>>(), [7474, 80], "mapped and plain addresses of version 6 count");
    }
}
