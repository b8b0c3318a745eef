//! A pod's own table of sockets.

use std::time::Duration;

use crate::topology::Node;

/// Reading a table takes well under a second.
const EXEC_LIMIT: Duration = Duration::from_secs(10);

/// Whether a process in the pod listens on the TCP port, whatever the firewall lets through.
///
/// # Errors
/// The engine's refusal.
pub async fn listens(node: &Node, port: u16) -> Result<bool, String> {
    let tables = node.exec_in_pod(&["cat", "/proc/net/tcp", "/proc/net/tcp6"], &[], EXEC_LIMIT).await;
    Ok(has_listener(&tables.map_err(|error| error.to_string())?.stdout, port))
}

/// Whether `/proc/net/tcp` (proc(5)) has a listening socket (state 0A) on the port.
fn has_listener(table: &str, port: u16) -> bool {
    table.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, _remote, state) = (fields.next(), fields.next(), fields.next());
        state == Some("0A") && local.is_some_and(|local| local.ends_with(&format!(":{port:04X}")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_found_in_the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue\n   0: 00000000:1538 00000000:0000 0A 00000000:00000000\n   1: 0A0012C6:18EB 010012C6:D2F0 01 0";
        assert!(has_listener(table, 0x1538));
        assert!(!has_listener(table, 0x18EB), "an open connection is no listener");
    }
}
