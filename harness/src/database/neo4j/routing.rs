//! The routing table of a causal cluster: who takes writes, who answers reads, who gives tables.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde_json::{Map, Value};

use super::client::GraphError;

/// What a statement does; the routing table sends it where that is possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It only reads.
    Read,
    /// It may write.
    Write,
}

/// A routing table as a member gave it.
#[derive(Debug, Clone)]
pub struct RoutingTable {
    writers: Vec<SocketAddr>,
    readers: Vec<SocketAddr>,
    routers: Vec<SocketAddr>,
    ends: Instant,
}

impl RoutingTable {
    /// Reads the one row that `dbms.cluster.routing.getRoutingTable` answers with.
    ///
    /// # Errors
    /// [`GraphError::NoLeader`] for a row that is no routing table.
    pub fn parse(row: &Map<String, Value>, had: Instant) -> Result<Self, GraphError> {
        let words = || GraphError::NoLeader(format!("this is no routing table: {}", Value::Object(row.clone())));
        let servers = row.get("servers").and_then(Value::as_array).ok_or_else(words)?;
        let ttl = row.get("ttl").and_then(Value::as_u64).ok_or_else(words)?;
        let of = |role: &str| -> Vec<SocketAddr> {
            let lists = servers.iter().filter(|server| server["role"] == role).filter_map(|server| server["addresses"].as_array());
            lists.flatten().filter_map(Value::as_str).filter_map(|address| address.parse().ok()).collect()
        };
        Ok(Self { writers: of("WRITE"), readers: of("READ"), routers: of("ROUTE"), ends: had + Duration::from_secs(ttl) })
    }

    /// Whether its time to live is over.
    pub fn is_stale(&self) -> bool {
        Instant::now() >= self.ends
    }

    /// Those that take statements of this kind.
    pub fn servers(&self, access: Access) -> &[SocketAddr] {
        match access {
            Access::Read => &self.readers,
            Access::Write => &self.writers,
        }
    }

    /// Those that give tables.
    pub fn routers(&self) -> &[SocketAddr] {
        &self.routers
    }

    /// Nobody is sent there any more.
    pub fn forget(&mut self, server: SocketAddr) {
        for list in [&mut self.writers, &mut self.readers, &mut self.routers] {
            list.retain(|known| *known != server);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn table(ttl: u64) -> RoutingTable {
        let servers = json!([
            {"role": "WRITE", "addresses": ["10.0.0.1:7687"]},
            {"role": "READ", "addresses": ["10.0.0.2:7687", "10.0.0.3:7687"]},
            {"role": "ROUTE", "addresses": ["10.0.0.1:7687", "10.0.0.2:7687"]},
        ]);
        let row = Map::from_iter([("ttl".to_owned(), json!(ttl)), ("servers".to_owned(), servers)]);
        RoutingTable::parse(&row, Instant::now()).unwrap()
    }

    #[test]
    fn a_table_sends_each_kind_where_it_belongs() {
        let table = table(5);
        assert_eq!(table.servers(Access::Write), ["10.0.0.1:7687".parse::<SocketAddr>().unwrap()]);
        assert_eq!(table.servers(Access::Read).len(), 2);
        assert_eq!(table.routers().len(), 2);
        assert!(!table.is_stale());
    }

    #[test]
    fn a_table_without_time_left_is_stale() {
        assert!(table(0).is_stale());
    }

    #[test]
    fn who_is_forgotten_gets_nothing_more() {
        let mut table = table(5);
        table.forget("10.0.0.1:7687".parse().unwrap());
        assert!(table.servers(Access::Write).is_empty());
        assert_eq!((table.servers(Access::Read).len(), table.routers().len()), (2, 1));
    }

    #[test]
    fn what_is_no_table_is_told() {
        let error = RoutingTable::parse(&Map::new(), Instant::now()).unwrap_err();
        assert!(error.to_string().contains("no routing table"));
    }
}
