//! On which ports and addresses a pod's processes listen, by the kernel's own table.

use std::{collections::BTreeSet, net::Ipv4Addr, time::Duration};

use crate::topology::Node;

/// Reading a table takes well under a second.
const EXEC_LIMIT: Duration = Duration::from_secs(10);
/// `TCP_LISTEN` in the table's `st` column.
const LISTENING: &str = "0A";

/// A listening TCP socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listening {
    /// The port.
    pub port: u16,
    /// Whether only the pod itself reaches it.
    pub inside_only: bool,
}

/// The listening TCP sockets of a pod, each port and reach once.
///
/// # Errors
/// The engine's refusal.
pub async fn listeners(node: &Node) -> Result<BTreeSet<Listening>, String> {
    let tables = node.exec_in_pod(&["cat", "/proc/net/tcp", "/proc/net/tcp6"], &[], EXEC_LIMIT).await;
    Ok(read(&tables.map_err(|error| error.to_string())?.stdout))
}

/// `/proc/net/tcp` and `/proc/net/tcp6` (proc(5)): the local address is hexadecimal, each four bytes in the machine's order.
fn read(table: &str) -> BTreeSet<Listening> {
    table
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (local, _remote, state) = (fields.next()?, fields.next()?, fields.next()?);
            let (address, port) = local.split_once(':')?;
            let port = u16::from_str_radix(port, 16).ok()?;
            (state == LISTENING).then(|| Listening { port, inside_only: is_loopback(address) })
        })
        .collect()
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
        let found: Vec<(u16, bool)> = read(table).into_iter().map(|socket| (socket.port, socket.inside_only)).collect();
        assert_eq!(found, [(80, true), (81, true), (5000, true), (6379, false), (8008, false)]);
    }
}
