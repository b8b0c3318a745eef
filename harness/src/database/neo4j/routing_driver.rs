//! A client that finds its servers through the routing table, as this protocol generation's drivers do.

use std::{collections::BTreeMap, fmt, net::SocketAddr, time::Instant};

use serde_json::{Map, Value};

use super::{
    bolt_one::BoltOne,
    client::{GraphError, Login, Rows, cypher},
    cluster::CausalCluster,
    pods::BOLT,
    routing::{Access, RoutingTable},
};

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    /// The rows.
    pub rows: Rows,
    /// Who answered.
    pub server: SocketAddr,
    /// Stands for everything up to this transaction; only [`RoutingDriver::transact`] gets one.
    pub bookmark: Option<String>,
}

/// Sends writes to the leader and spreads reads in turn over those that answer reads, as its routing table says. The table is had from any
/// core, renewed when its time is over, and dropped when it proves wrong. A statement is sent once: whoever wants it again has to say so.
///
/// Futures may be dropped half-way: a connection with an exchange under way is not used again.
pub struct RoutingDriver {
    login: Login,
    cores: Vec<SocketAddr>,
    /// Whose turn it is, among servers and among routers.
    turn: usize,
    table: Option<RoutingTable>,
    is_pinned: bool,
    /// Where reads may go; everywhere when empty.
    only: Vec<SocketAddr>,
    connections: BTreeMap<SocketAddr, BoltOne>,
}

impl fmt::Debug for RoutingDriver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RoutingDriver").field("table", &self.table).finish_non_exhaustive()
    }
}

impl RoutingDriver {
    /// A driver that knows the cluster's cores; `number` sets where its turns begin, so that many drivers do not go the same way.
    pub fn new(cluster: &CausalCluster, login: Login, number: usize) -> Self {
        let cores = cluster.cores().iter().map(|core| core.socket(BOLT)).collect();
        Self { login, cores, turn: number, table: None, is_pinned: false, only: Vec::new(), connections: BTreeMap::new() }
    }

    /// A defective one: whatever happens, it keeps to the first table that it got.
    #[must_use]
    pub fn pinned(self) -> Self {
        Self { is_pinned: true, ..self }
    }

    /// A defective one: it sends reads to these servers only, whatever else the table has.
    #[must_use]
    pub fn only(self, servers: Vec<SocketAddr>) -> Self {
        Self { only: servers, ..self }
    }

    /// Runs one statement in a transaction of its own.
    ///
    /// # Errors
    /// [`GraphError`]; what it says about the statement's effect is in its kind.
    pub async fn run(&mut self, access: Access, statement: &str, parameters: &Map<String, Value>) -> Result<Answer, GraphError> {
        let server = self.server(access).await?;
        let mut connection = self.connection(server).await?;
        let outcome = connection.run(statement, parameters).await;
        self.put_back(server, connection, outcome.as_ref().err());
        Ok(Answer { rows: outcome?, server, bookmark: None })
    }

    /// Runs one statement in a transaction that sees everything that `bookmark` stands for.
    ///
    /// # Errors
    /// As [`RoutingDriver::run`].
    pub async fn transact(
        &mut self,
        access: Access,
        bookmark: Option<&str>,
        statement: &str,
        parameters: &Map<String, Value>,
    ) -> Result<Answer, GraphError> {
        let server = self.server(access).await?;
        let mut connection = self.connection(server).await?;
        let outcome = connection.transact(bookmark, statement, parameters).await;
        self.put_back(server, connection, outcome.as_ref().err());
        let (rows, bookmark) = outcome?;
        Ok(Answer { rows, server, bookmark })
    }

    async fn server(&mut self, access: Access) -> Result<SocketAddr, GraphError> {
        let is_usable = |table: &RoutingTable| self.is_pinned || !(table.is_stale() || table.servers(access).is_empty());
        if !self.table.as_ref().is_some_and(is_usable) {
            self.renew(access).await?;
        }
        let mut servers = self.table.as_ref().map(|table| table.servers(access).to_vec()).unwrap_or_default();
        if access == Access::Read && !self.only.is_empty() {
            servers.retain(|server| self.only.contains(server));
        }
        if servers.is_empty() {
            return Err(GraphError::NoLeader(format!("the routing table has nobody for {access:?}")));
        }
        let server = servers[self.turn % servers.len()];
        self.turn += 1;
        Ok(server)
    }

    /// Asks one router after the other for a table with somebody for this kind of statement.
    async fn renew(&mut self, access: Access) -> Result<(), GraphError> {
        let mut routers: Vec<SocketAddr> = self.table.take().map(|table| table.routers().to_vec()).unwrap_or_default();
        routers.extend(self.cores.iter().filter(|core| !routers.contains(core)).copied().collect::<Vec<_>>());
        let mut last = GraphError::NoLeader("there is no router".into());
        for _ in 0..routers.len() {
            let router = routers[self.turn % routers.len()];
            // Before asking: who is cut off at a silent router must not come back to it first.
            self.turn += 1;
            match self.table_of(router).await {
                Ok(table) if table.servers(access).is_empty() => {
                    last = GraphError::NoLeader(format!("the routing table of {router} has nobody for {access:?}"));
                }
                Ok(table) => {
                    self.table = Some(table);
                    return Ok(());
                }
                Err(error) => last = error,
            }
        }
        // What went to a router was no statement of the caller.
        Err(if last.is_surely_not_applied() { last } else { GraphError::Connect(last.to_string()) })
    }

    async fn table_of(&mut self, router: SocketAddr) -> Result<RoutingTable, GraphError> {
        let question = cypher("monitoring/routing_table")?;
        let mut connection = self.connection(router).await?;
        let outcome = connection.run(question, &Map::new()).await;
        self.put_back(router, connection, outcome.as_ref().err());
        let rows = outcome?;
        let row = rows.first().ok_or_else(|| GraphError::NoLeader(format!("{router} gave no routing table")))?;
        RoutingTable::parse(row, Instant::now())
    }

    /// The connection that there is, taken out, or a new one.
    async fn connection(&mut self, server: SocketAddr) -> Result<BoltOne, GraphError> {
        if let Some(connection) = self.connections.remove(&server) {
            return Ok(connection);
        }
        let connected = BoltOne::connect(server, &self.login).await;
        if connected.is_err() {
            self.lose(server);
        }
        connected
    }

    fn put_back(&mut self, server: SocketAddr, connection: BoltOne, error: Option<&GraphError>) {
        match error {
            Some(error) if !error.leaves_usable() => return self.lose(server),
            Some(error) if error.is_not_a_leader() && !self.is_pinned => self.table = None,
            _ => {}
        }
        self.connections.insert(server, connection);
    }

    fn lose(&mut self, server: SocketAddr) {
        if let Some(table) = self.table.as_mut().filter(|_| !self.is_pinned) {
            table.forget(server);
        }
    }
}
