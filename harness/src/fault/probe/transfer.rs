//! How much one node can send to another.

use std::time::Duration;

use dora_fixtures::assets;

use crate::topology::Node;

/// How long is sent.
const SENDING: Duration = Duration::from_millis(1000);
/// Sending and looking take little longer.
const EXEC_LIMIT: Duration = Duration::from_secs(15);

/// What arrives, in bits a second, when a node sends as much as it can; at most what a shell can produce, some hundred Mbit/s.
///
/// # Errors
/// The engine's refusal, or counters in a form that is not known.
pub async fn bits_per_second(from: &Node, to: &Node) -> Result<f64, String> {
    let script = assets::text("config/fault/blast.sh").map_err(|error| error.to_string())?;
    let (milliseconds, address) = (SENDING.as_millis().to_string(), to.address().to_string());
    let before = received_octets(to).await?;
    from.exec_in_pod(&["bash", "-s", "--", &milliseconds, &address], script.as_bytes(), EXEC_LIMIT).await.map_err(|e| e.to_string())?;
    let octets = received_octets(to).await?.saturating_sub(before);
    Ok(octets as f64 * 8.0 / SENDING.as_secs_f64())
}

/// Octets of IP packets that the pod received (`InOctets` of `/proc/net/netstat`).
async fn received_octets(node: &Node) -> Result<u64, String> {
    let output = node.exec_in_pod(&["cat", "/proc/net/netstat"], &[], EXEC_LIMIT).await.map_err(|error| error.to_string())?;
    in_octets(&output.stdout).ok_or_else(|| format!("the kernel of {} counts no octets", node.name()))
}

fn in_octets(netstat: &str) -> Option<u64> {
    let mut lines = netstat.lines().filter_map(|line| line.strip_prefix("IpExt: "));
    let (names, values) = (lines.next()?, lines.next()?);
    let at = names.split_whitespace().position(|name| name == "InOctets")?;
    values.split_whitespace().nth(at)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read() {
        let table = "TcpExt: SyncookiesSent\nTcpExt: 0\nIpExt: InNoRoutes InOctets OutOctets\nIpExt: 0 12345 7\n";
        assert_eq!(in_octets(table), Some(12345));
        assert_eq!(in_octets("IpExt: InNoRoutes\nIpExt: 0"), None);
    }
}
