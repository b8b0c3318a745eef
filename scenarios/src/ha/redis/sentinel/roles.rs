//! Who is master, by the servers' own word.

use dora_harness::{
    database::redis::{Account, PORT, Replicated, ask},
    topology::Node,
};
use futures_util::future::join_all;

/// The servers that say of themselves that they are masters.
pub async fn masters(set: &Replicated) -> Vec<Node> {
    let is_master = |node: Node| async move {
        let mut connection = set.access().connect(node.socket(PORT), Account::Admin).await.ok()?;
        let role: redis::Value = ask(&mut connection, &["ROLE"]).await.ok()?;
        let words: Vec<redis::Value> = redis::FromRedisValue::from_redis_value(role).ok()?;
        let name: String = redis::FromRedisValue::from_redis_value(words.into_iter().next()?).ok()?;
        (name == "master").then_some(node)
    };
    join_all(set.servers().iter().cloned().map(is_master)).await.into_iter().flatten().collect()
}

/// A replica that is not this node.
pub fn replica(set: &Replicated, master: &Node) -> Option<Node> {
    set.servers().iter().find(|node| node.name() != master.name()).cloned()
}
