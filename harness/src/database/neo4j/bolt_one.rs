//! Bolt 1, which the open causal cluster speaks and current drivers do not.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use bolt_client::{Client, Metadata, Params};
use bolt_proto::{Message, Value as BoltValue, version::V1_0};
use serde_json::{Map, Value};
use tokio::{
    io::{AsyncRead, AsyncWrite, BufStream},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

use super::client::{GraphError, Login, Rows, USER};
use crate::security::{client_config, connect};

trait Transport: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Transport for T {}

type Wire = Compat<BufStream<Box<dyn Transport>>>;

/// A logged-in connection with one statement under way at most.
pub struct BoltOne {
    client: Client<Wire>,
    limit: Duration,
    address: SocketAddr,
}

impl std::fmt::Debug for BoltOne {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("BoltOne").field("address", &self.address).finish_non_exhaustive()
    }
}

impl BoltOne {
    /// TLS 1.3, certificate verified against the address, then log-in.
    ///
    /// # Errors
    /// [`GraphError::Connect`] or [`GraphError::Refused`].
    pub async fn connect(address: SocketAddr, login: &Login) -> Result<Self, GraphError> {
        let stream = connect(address, &address.ip().to_string(), client_config(&login.authority)?, login.limit).await?;
        Self::log_in(Box::new(stream), address, login).await
    }

    /// The same without TLS.
    ///
    /// # Errors
    /// As [`BoltOne::connect`].
    pub async fn connect_plaintext(address: SocketAddr, login: &Login) -> Result<Self, GraphError> {
        let stream = timeout(login.limit, TcpStream::connect(address))
            .await
            .map_err(|_elapsed| GraphError::Connect(format!("no connection to {address} in time")))?
            .map_err(|error| GraphError::Connect(error.to_string()))?;
        Self::log_in(Box::new(stream), address, login).await
    }

    async fn log_in(stream: Box<dyn Transport>, address: SocketAddr, login: &Login) -> Result<Self, GraphError> {
        let attempt = async {
            // The protocol's parts are written one by one: without a buffer each would be a packet.
            let wire = BufStream::new(stream).compat();
            let mut client = Client::new(wire, &[V1_0, 0, 0, 0]).await.map_err(|error| GraphError::Connect(error.to_string()))?;
            let mut words: HashMap<&str, &str> = HashMap::from([("user_agent", "dora/1"), ("scheme", "none")]);
            if let Some(password) = &login.password {
                words.extend([("scheme", "basic"), ("principal", USER), ("credentials", password.reveal())]);
            }
            match client.hello(Metadata::from_iter(words)).await {
                Ok(Message::Success(_)) => Ok(client),
                Ok(Message::Failure(failure)) => Err(refusal(failure.metadata())),
                Ok(other) => Err(GraphError::Connect(format!("the server answered the log-in with {other:?}"))),
                Err(error) => Err(GraphError::Connect(error.to_string())),
            }
        };
        let client =
            timeout(login.limit, attempt).await.map_err(|_elapsed| GraphError::Connect(format!("no log-in at {address} in time")))??;
        Ok(Self { client, limit: login.limit, address })
    }

    /// Runs one statement in a transaction of its own; it is committed when this returns `Ok`.
    ///
    /// # Errors
    /// [`GraphError::Refused`], after which the connection is usable, or [`GraphError::Broken`], after which it is not.
    pub async fn run(&mut self, statement: &str, parameters: &Map<String, Value>) -> Result<Rows, GraphError> {
        let limit = self.limit;
        let reply = timeout(limit, self.exchange(statement, parameters)).await.map_err(|_elapsed| no_answer(limit))??;
        Ok(reply.rows)
    }

    /// Runs one statement in a transaction that the server begins only when it has everything that `bookmark` stands for; the second part of
    /// the answer is the bookmark of this transaction.
    ///
    /// # Errors
    /// [`GraphError::Uncommitted`] for all that happens before the commit is sent, [`GraphError::Broken`] for all that happens after.
    pub async fn transact(
        &mut self,
        bookmark: Option<&str>,
        statement: &str,
        parameters: &Map<String, Value>,
    ) -> Result<(Rows, Option<String>), GraphError> {
        let limit = self.limit;
        let deadline = Instant::now() + limit;
        let begin = bookmark.map(|bookmark| ("bookmark".to_owned(), Value::from(bookmark))).into_iter().collect();
        let before = async {
            self.exchange("BEGIN", &begin).await?;
            self.exchange(statement, parameters).await
        };
        let before = timeout_at(deadline, before).await.unwrap_or_else(|_elapsed| Err(no_answer(limit)));
        let Reply { rows, .. } = before.map_err(|error| GraphError::Uncommitted(Box::new(error)))?;
        let commit = timeout_at(deadline, self.exchange("COMMIT", &Map::new())).await.unwrap_or_else(|_elapsed| Err(no_answer(limit)));
        match commit {
            Ok(Reply { bookmark, .. }) => Ok((rows, bookmark)),
            Err(GraphError::Broken(words)) => Err(GraphError::Broken(words)),
            Err(error) => Err(GraphError::Broken(error.to_string())),
        }
    }

    async fn exchange(&mut self, statement: &str, parameters: &Map<String, Value>) -> Result<Reply, GraphError> {
        let parameters: Params = parameters.iter().map(|(name, value)| (name.clone(), to_bolt(value))).collect();
        let columns = match self.client.run(statement, Some(parameters), None).await {
            Ok(Message::Success(success)) => match success.metadata().get("fields") {
                Some(BoltValue::List(fields)) => fields.iter().map(text).collect::<Vec<String>>(),
                _ => Vec::new(),
            },
            Ok(Message::Failure(failure)) => return Err(self.acknowledged(refusal(failure.metadata())).await),
            Ok(other) => return Err(GraphError::Broken(format!("{other:?}"))),
            Err(error) => return Err(GraphError::Broken(error.to_string())),
        };
        match self.client.pull(None).await {
            Ok((records, Message::Success(success))) => {
                let row = |fields: &[BoltValue]| columns.iter().cloned().zip(fields.iter().map(to_json)).collect();
                let rows = records.iter().map(|record| row(record.fields())).collect();
                Ok(Reply { rows, bookmark: success.metadata().get("bookmark").map(text) })
            }
            // Here the transaction commits: what fails now may be in the log of some members already.
            Ok((_, Message::Failure(failure))) => Err(GraphError::Broken(self.acknowledged(refusal(failure.metadata())).await.to_string())),
            Ok((_, other)) => Err(GraphError::Broken(format!("{other:?}"))),
            Err(error) => Err(GraphError::Broken(error.to_string())),
        }
    }

    /// A failed session takes nothing until its client has acknowledged the failure.
    async fn acknowledged(&mut self, refusal: GraphError) -> GraphError {
        match self.client.reset().await {
            Ok(_) => refusal,
            Err(error) => GraphError::Broken(format!("{refusal}; then {error}")),
        }
    }
}

/// What a statement answers.
struct Reply {
    rows: Rows,
    /// Only a commit has one.
    bookmark: Option<String>,
}

fn no_answer(limit: Duration) -> GraphError {
    GraphError::Broken(format!("nothing within {} ms", limit.as_millis()))
}

fn refusal(words: &HashMap<String, BoltValue>) -> GraphError {
    let word = |name: &str| words.get(name).map(text).unwrap_or_default();
    GraphError::Refused { code: word("code"), message: word("message") }
}

fn text(value: &BoltValue) -> String {
    match value {
        BoltValue::String(text) => text.clone(),
        other => format!("{other:?}"),
    }
}

fn to_bolt(value: &Value) -> BoltValue {
    match value {
        Value::Null => BoltValue::Null,
        Value::Bool(flag) => BoltValue::Boolean(*flag),
        Value::Number(number) => number.as_i64().map_or_else(|| BoltValue::Float(number.as_f64().unwrap_or(f64::NAN)), BoltValue::Integer),
        Value::String(text) => BoltValue::String(text.clone()),
        Value::Array(items) => BoltValue::List(items.iter().map(to_bolt).collect()),
        Value::Object(members) => BoltValue::Map(members.iter().map(|(name, member)| (name.clone(), to_bolt(member))).collect()),
    }
}

fn to_json(value: &BoltValue) -> Value {
    match value {
        BoltValue::Null => Value::Null,
        BoltValue::Boolean(flag) => Value::Bool(*flag),
        BoltValue::Integer(number) => Value::from(*number),
        BoltValue::Float(number) => Value::from(*number),
        BoltValue::String(text) => Value::String(text.clone()),
        BoltValue::List(items) => Value::Array(items.iter().map(to_json).collect()),
        BoltValue::Map(members) => Value::Object(members.iter().map(|(name, member)| (name.clone(), to_json(member))).collect()),
        // Statements of this project return values, never whole nodes or paths.
        other => Value::String(format!("{other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_survives_the_way_through_bolt() {
        let value = json!({"a": [1, 2.5, "x", true, null], "b": {"c": -7}});
        assert_eq!(to_json(&to_bolt(&value)), value);
    }
}
