//! A pod's queueing disciplines (`tc`), where the kernel has them.

use std::time::Duration;

use super::FaultError;
use crate::topology::Node;

/// The pod's one link.
const LINK: &str = "eth0";
/// Changing a link takes well under a second.
const EXEC_LIMIT: Duration = Duration::from_secs(10);

/// Runs lines of `tc -batch`.
///
/// # Errors
/// [`FaultError::Unsupported`] where the kernel lacks the discipline; [`FaultError::Other`] for another refusal.
pub async fn apply(node: &Node, what: &str, lines: &str) -> Result<(), FaultError> {
    let output = node.exec_in_pod(&["tc", "-batch", "-"], lines.as_bytes(), EXEC_LIMIT).await?;
    if output.code == 0 {
        return Ok(());
    }
    let why = output.stderr.trim().replace('\n', "; ");
    if lacks_discipline(&why) {
        return Err(FaultError::Unsupported { what: what.to_owned(), why: format!("the kernel says: {why}") });
    }
    Err(FaultError::Other(format!("failed to set up {what} on {}: {why}", node.name())))
}

/// Takes the pod's discipline away; none is fine.
///
/// # Errors
/// [`FaultError::Other`] when one is left.
pub async fn clear(node: &Node) -> Result<(), FaultError> {
    node.exec_in_pod(&["tc", "qdisc", "del", "dev", LINK, "root"], &[], EXEC_LIMIT).await?;
    let left = node.exec_in_pod(&["tc", "qdisc", "show", "dev", LINK], &[], EXEC_LIMIT).await?;
    if left.stdout.contains("noqueue") || left.stdout.trim().is_empty() {
        Ok(())
    } else {
        Err(FaultError::Other(format!("{} still shapes its traffic: {}", node.name(), left.stdout.trim())))
    }
}

/// The words of `tc` and the kernel for a discipline that is not there.
fn lacks_discipline(why: &str) -> bool {
    ["Specified qdisc kind is unknown", "Unknown qdisc", "No such file or directory", "Operation not supported"]
        .iter()
        .any(|words| why.contains(words))
}

/// Lines that delay what leaves.
pub fn delay(milliseconds: u128, jitter_milliseconds: u128) -> String {
    // netem's default room of 1000 packets would turn a delay into a loss under load.
    format!("qdisc add dev {LINK} root netem delay {milliseconds}ms {jitter_milliseconds}ms limit 100000\n")
}

/// Lines that let at most so many bits a second leave.
pub fn rate(bits_per_second: u64) -> String {
    format!("qdisc add dev {LINK} root tbf rate {bits_per_second}bit burst 32kb latency 200ms\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_tcs() {
        assert_eq!(delay(50, 5), "qdisc add dev eth0 root netem delay 50ms 5ms limit 100000\n");
        assert_eq!(rate(4_000_000), "qdisc add dev eth0 root tbf rate 4000000bit burst 32kb latency 200ms\n");
    }

    #[test]
    fn a_missing_discipline_is_told_from_other_errors() {
        assert!(lacks_discipline("Error: Specified qdisc kind is unknown."));
        assert!(!lacks_discipline("Error: Exclusivity flag on, cannot modify."));
    }
}
