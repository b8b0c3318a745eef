//! Bolt 4 and later through `neo4rs`.

use std::{net::SocketAddr, time::Duration};

use neo4rs::{BoltList, BoltMap, BoltNull, BoltType, ConfigBuilder, Error, Graph};
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::client::{GraphError, Login, Rows, USER, cypher};

/// A driver with one connection.
pub struct Modern {
    graph: Graph,
    limit: Duration,
}

impl std::fmt::Debug for Modern {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Modern").finish_non_exhaustive()
    }
}

impl Modern {
    /// Connects over TLS and logs in; the certificate is verified against the address.
    ///
    /// # Errors
    /// [`GraphError`].
    pub async fn connect(address: SocketAddr, login: &Login) -> Result<Self, GraphError> {
        crate::security::install_provider();
        // The driver takes the authority from a file only, and reads it while it is being built.
        let path = std::env::temp_dir().join(format!("dora-ca-{}-{:016x}.pem", std::process::id(), rand::random::<u64>()));
        std::fs::write(&path, &login.authority).map_err(|error| GraphError::Connect(error.to_string()))?;
        let built =
            Self::configuration(&format!("bolt+s://{address}"), login).with_client_certificate(&path).build().and_then(Graph::connect);
        // Left behind in the worst case: a public certificate in the temporary directory.
        let _ = std::fs::remove_file(&path);
        Self::checked(built, login).await
    }

    /// The same without TLS.
    ///
    /// # Errors
    /// [`GraphError`].
    pub async fn connect_plaintext(address: SocketAddr, login: &Login) -> Result<Self, GraphError> {
        Self::checked(Self::configuration(&format!("bolt://{address}"), login).build().and_then(Graph::connect), login).await
    }

    fn configuration(uri: &str, login: &Login) -> ConfigBuilder {
        let password = login.password.as_ref().map_or("", |password| password.reveal());
        ConfigBuilder::new().uri(uri).user(USER).password(password).max_connections(1).connection_timeout(login.limit)
    }

    /// The driver connects when it is first used, so it is used.
    async fn checked(built: neo4rs::Result<Graph>, login: &Login) -> Result<Self, GraphError> {
        let graph = built.map_err(|error| GraphError::Connect(error.to_string()))?;
        let mut client = Self { graph, limit: login.limit };
        match client.run(cypher("monitoring/alive")?, &Map::new()).await {
            Ok(_) => Ok(client),
            Err(GraphError::Broken(words)) => Err(GraphError::Connect(words)),
            Err(error) => Err(error),
        }
    }

    /// Runs one statement in a transaction of its own, once: the driver's retrying functions are not used.
    ///
    /// # Errors
    /// [`GraphError`].
    pub async fn run(&mut self, statement: &str, parameters: &Map<String, Value>) -> Result<Rows, GraphError> {
        let limit = self.limit;
        timeout(limit, self.exchange(statement, parameters))
            .await
            .map_err(|_elapsed| GraphError::Broken(format!("nothing within {} ms", limit.as_millis())))?
    }

    async fn exchange(&mut self, statement: &str, parameters: &Map<String, Value>) -> Result<Rows, GraphError> {
        let mut query = neo4rs::query(statement);
        for (name, value) in parameters {
            query = query.param(name, to_bolt(value));
        }
        let mut transaction = self.graph.start_txn().await.map_err(sort)?;
        let mut stream = transaction.execute(query).await.map_err(sort)?;
        let mut rows = Rows::new();
        while let Some(row) = stream.next(transaction.handle()).await.map_err(sort)? {
            match row.to::<Value>().map_err(|error| GraphError::Broken(error.to_string()))? {
                Value::Object(members) => rows.push(members),
                other => return Err(GraphError::Broken(format!("a row is {other}"))),
            }
        }
        transaction.commit().await.map_err(sort)?;
        Ok(rows)
    }
}

fn sort(error: Error) -> GraphError {
    match error {
        Error::Neo4j(refusal) => GraphError::Refused { code: refusal.code().to_owned(), message: refusal.message().to_owned() },
        Error::AuthenticationError(words) => GraphError::Refused { code: "Neo.ClientError.Security.Unauthorized".into(), message: words },
        other => GraphError::Broken(other.to_string()),
    }
}

fn to_bolt(value: &Value) -> BoltType {
    match value {
        Value::Null => BoltType::Null(BoltNull),
        Value::Bool(flag) => (*flag).into(),
        Value::Number(number) => number.as_i64().map_or_else(|| number.as_f64().unwrap_or(f64::NAN).into(), Into::into),
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => {
            let mut list = BoltList::new();
            for item in items {
                list.push(to_bolt(item));
            }
            BoltType::List(list)
        }
        Value::Object(members) => {
            let mut map = BoltMap::new();
            for (name, member) in members {
                map.put(name.as_str().into(), to_bolt(member));
            }
            BoltType::Map(map)
        }
    }
}
