//! A client of one node: HTTP over TLS 1.3, with a token, and no retries of its own.

use std::{net::SocketAddr, time::Duration};

use reqwest::{Client, Method, RequestBuilder, header};
use serde_json::Value;

use crate::{
    database::influxdb::{
        Answer, InfluxError,
        client::{answered, first_answer, http},
    },
    security::{Secret, client_config},
};

/// A client of one node. Clones share its connections.
#[derive(Debug, Clone)]
pub struct TokenClient {
    http: Client,
    base: String,
    token: Option<Secret>,
}

impl TokenClient {
    /// A client that verifies the server against the authority (PEM) and against `address`; without a token it sends none.
    ///
    /// # Errors
    /// [`InfluxError::Setup`].
    pub fn new(address: SocketAddr, authority: &str, token: Option<&Secret>, limit: Duration) -> Result<Self, InfluxError> {
        let tls = client_config(authority).map_err(|error| InfluxError::Setup(error.to_string()))?;
        let builder = Client::builder().tls_backend_preconfigured(tls).https_only(true);
        Ok(Self { http: http(builder, limit)?, base: format!("https://{address}"), token: token.cloned() })
    }

    /// Writes points in line protocol (nanoseconds) into a bucket.
    ///
    /// # Errors
    /// [`InfluxError`]; only [`InfluxError::Connect`] and a refusal below 500 say that nothing was written.
    pub async fn write(&self, organisation: &str, bucket: &str, lines: String) -> Result<(), InfluxError> {
        let request = self.request(Method::POST, "/api/v2/write");
        let request = request.query(&[("org", organisation), ("bucket", bucket), ("precision", "ns")]);
        answered(request.body(lines)).await.map(drop)
    }

    /// One statement of `InfluxQL` on the bucket of that name, times in nanoseconds.
    ///
    /// # Errors
    /// [`InfluxError`], also when the server answered with an error in the statement.
    pub async fn query(&self, bucket: &str, statement: &str) -> Result<Answer, InfluxError> {
        let request = self.request(Method::GET, "/query").query(&[("db", bucket), ("q", statement), ("epoch", "ns")]);
        first_answer(&answered(request).await?)
    }

    /// A call of the administration's interface; [`Value::Null`] where the answer has no body.
    ///
    /// # Errors
    /// [`InfluxError`].
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, InfluxError> {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body.to_string());
        }
        let text = answered(request).await?;
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).map_err(|error| InfluxError::Broken(format!("the answer is not JSON: {error}")))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.header(header::AUTHORIZATION, format!("Token {}", token.reveal())),
            None => request,
        }
    }
}

/// A text of an answer, such as an id.
pub(super) fn text_of(answer: &Value, pointer: &str) -> Result<String, InfluxError> {
    let text = answer.pointer(pointer).and_then(Value::as_str);
    text.map(ToOwned::to_owned).ok_or_else(|| InfluxError::Broken(format!("the answer has no text at `{pointer}`")))
}
