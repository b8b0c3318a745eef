//! Who leads the cluster's metadata, and which node owns which shard.

use std::{collections::BTreeSet, hash::Hasher as _, time::Duration};

use fnv::FnvHasher;
use serde_json::Value;

use super::{Influx, InfluxError, Series, influxql};
use crate::{database::Cluster as _, topology::Node};

/// A node's own word about its leader comes at once.
const WORD_LIMIT: Duration = Duration::from_secs(3);
/// Where the script lies that asks for it.
const LEADER_SCRIPT: &str = "/dora/bin/meta-leader.sh";

impl Influx {
    /// A node's number from 1, which is its place on the pods' loopback networks.
    pub fn index_of(&self, node: &Node) -> usize {
        self.nodes().iter().position(|other| other.name() == node.name()).map_or(0, |at| at + 1)
    }

    /// Whom this node takes for the leader of the meta nodes; [`None`] while it knows of none.
    ///
    /// # Errors
    /// [`InfluxError::Broken`] when its meta service does not answer.
    pub async fn meta_leader(&self, node: &Node) -> Result<Option<Node>, InfluxError> {
        let index = self.index_of(node).to_string();
        let said = node.exec_ok(&["bash", LEADER_SCRIPT, &index], &[], WORD_LIMIT).await;
        let said = said.map_err(|error| InfluxError::Broken(error.to_string()))?;
        Ok(self.at_loopback(said.trim()))
    }

    /// The nodes that have the points of one series: those that own the shard of its shard group (the first one, where there are more). The
    /// `series` is as it stands in front of the fields, tags sorted.
    ///
    /// # Errors
    /// [`InfluxError`] when the node that is asked does not say.
    pub async fn owners(&self, asked: &Node, database: &str, series: &str) -> Result<Vec<Node>, InfluxError> {
        let owner = self.owner(asked)?;
        let shards = owner.query(influxql("monitoring/shards")?, None).await?;
        let servers = owner.query(influxql("monitoring/servers")?, None).await?;
        let ids = shards.named(database).map(|shards| owners_in(shards, series)).unwrap_or_default();
        let Some(members) = servers.named("data_nodes") else { return Ok(Vec::new()) };
        let (Some(id), Some(address)) = (members.column("id"), members.column("tcp_addr")) else { return Ok(Vec::new()) };
        let owns = |row: &&Vec<Value>| row.get(id).and_then(Value::as_u64).is_some_and(|id| ids.contains(&id));
        Ok(members.values.iter().filter(owns).filter_map(|row| self.at_loopback(row.get(address)?.as_str()?)).collect())
    }

    /// The node that calls itself `127.0.1.INDEX:PORT`.
    fn at_loopback(&self, address: &str) -> Option<Node> {
        let index: usize = address.rsplit_once(':')?.0.strip_prefix("127.0.1.")?.parse().ok()?;
        self.nodes().get(index.checked_sub(1)?).cloned()
    }
}

/// Who owns a series, by the answer of `SHOW SHARDS`: the shards of a group share the series among them by the hash of the key.
fn owners_in(shards: &Series, series: &str) -> BTreeSet<u64> {
    let (Some(id), Some(group), Some(owners)) = (shards.column("id"), shards.column("shard_group"), shards.column("owners")) else {
        return BTreeSet::new();
    };
    let number = |row: &[Value], column: usize| row.get(column).and_then(Value::as_u64);
    let Some(first) = shards.values.iter().filter_map(|row| number(row, group)).min() else { return BTreeSet::new() };
    let mut of_group: Vec<&Vec<Value>> = shards.values.iter().filter(|row| number(row, group) == Some(first)).collect();
    of_group.sort_by_key(|row| number(row, id));
    let mut hasher = FnvHasher::default();
    hasher.write(series.as_bytes());
    // The remainder is below the number of shards.
    let at = (hasher.finish() % of_group.len() as u64) as usize;
    of_group[at].get(owners).map(numbers).unwrap_or_default().into_iter().collect()
}

/// The numbers in a list such as `1,2,3`.
fn numbers(list: &Value) -> Vec<u64> {
    match list {
        Value::String(text) => text.split(',').filter_map(|part| part.trim().parse().ok()).collect(),
        other => other.as_u64().into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_series_lies_in_one_shard_of_its_group() {
        let row = |id: u64, group: u64, owners: &str| vec![json!(id), json!(group), json!(owners)];
        let columns = ["id", "shard_group", "owners"].map(str::to_owned).to_vec();
        let values = vec![row(12, 4, "3"), row(11, 4, "1,2"), row(20, 5, "9")];
        let shards = Series { columns, values, ..Series::default() };
        // FNV-1a of "a" is 0xaf63dc4c8601ec8c, which is even; of "b" it is 0xaf63df4c8601f1a5.
        assert_eq!(owners_in(&shards, "a"), BTreeSet::from([1, 2]));
        assert_eq!(owners_in(&shards, "b"), BTreeSet::from([3]));
        assert_eq!(owners_in(&Series::default(), "a"), BTreeSet::new());
    }

    #[test]
    fn owners_are_a_list_in_a_text() {
        assert_eq!(numbers(&json!("4,5,6")), vec![4, 5, 6]);
        assert_eq!(numbers(&json!("4")), vec![4]);
        assert_eq!(numbers(&json!(null)), Vec::<u64>::new());
    }
}
