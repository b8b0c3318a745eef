//! What a server says of itself, against the role that it should have.

use redis::RedisResult;

use super::{
    access::{Access, Account, ask},
    pods::PORT,
};
use crate::topology::{Node, NodeHealth};

/// Replicas acknowledge every second; an acknowledgement older than this is a replica that hangs.
const LAG_S_MAX: u64 = 3;

pub(super) fn health(node: &Node, expected: &str, observed: Result<String, String>) -> NodeHealth {
    let healthy = observed.as_ref().is_ok_and(|role| role == expected);
    NodeHealth { node: node.name().to_owned(), expected: expected.to_owned(), observed: observed.unwrap_or_else(|error| error), healthy }
}

/// A server that loads its data answers `LOADING`, which is an error here.
pub(super) async fn serves(access: &Access, node: &Node) -> RedisResult<()> {
    let mut connection = access.connect(node.socket(PORT), Account::Admin).await?;
    ask::<String>(&mut connection, &["PING"]).await.map(drop)
}

/// A master's line about a replica: `ip=…,port=…,state=online,offset=…,lag=0`.
pub(super) fn is_current(line: &str) -> bool {
    let value = |name: &str| line.split(',').find_map(|part| part.strip_prefix(name));
    value("state=") == Some("online") && value("lag=").and_then(|lag| lag.parse::<u64>().ok()).is_some_and(|lag| lag <= LAG_S_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_current_while_it_acknowledges() {
        assert!(is_current("ip=198.18.0.5,port=6379,state=online,offset=1234,lag=1"));
        assert!(!is_current("ip=198.18.0.5,port=6379,state=wait_bgsave,offset=0,lag=0"));
        assert!(!is_current("ip=198.18.0.5,port=6379,state=online,offset=1234,lag=9"));
        assert!(!is_current(""));
    }
}
