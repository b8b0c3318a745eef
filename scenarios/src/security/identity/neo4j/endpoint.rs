//! The transactional endpoint over HTTPS: one statement, one account, the server's own code for what is wrong.

use std::time::Duration;

use dora_fixtures::assets::{self, AssetError};
use dora_harness::{
    database::neo4j::HTTPS,
    security::{Secret, client_config},
    topology::Node,
};
use serde_json::{Value, json};

/// One request.
const REQUEST_LIMIT: Duration = Duration::from_secs(8);

/// A question of this project's own, by the name of its file in `roles/neo4j/questions`.
///
/// # Errors
/// [`AssetError`] when there is no such file.
pub fn question(name: &str) -> Result<&'static str, AssetError> {
    assets::text(&format!("roles/neo4j/questions/{name}.cypher"))
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was executed; the first column of its rows.
    Done(Vec<String>),
    /// The server's code, such as `Neo.ClientError.Security.Forbidden`, and its words.
    Refused {
        /// The code.
        code: String,
        /// The words.
        message: String,
    },
    /// Nobody can say.
    Broken(String),
}

/// A client of one server under one account; without one it sends no credentials.
#[derive(Debug, Clone)]
pub struct Endpoint {
    client: reqwest::Client,
    url: String,
    account: Option<(String, Secret)>,
}

impl Endpoint {
    /// A client that trusts this authority.
    ///
    /// # Errors
    /// In words, for unusable material.
    pub fn new(node: &Node, authority: &str, account: Option<(&str, &Secret)>) -> Result<Self, String> {
        let tls = client_config(authority).map_err(|error| error.to_string())?;
        let client = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().timeout(REQUEST_LIMIT).build();
        Ok(Self {
            client: client.map_err(|error| error.to_string())?,
            url: format!("https://{}/db/data/transaction/commit", node.socket(HTTPS)),
            account: account.map(|(user, password)| (user.to_owned(), password.clone())),
        })
    }

    /// Runs one statement in a transaction of its own.
    pub async fn run(&self, statement: &str) -> Outcome {
        let request = self.client.post(&self.url).json(&json!({ "statements": [{ "statement": statement }] }));
        let request = match &self.account {
            Some((user, password)) => request.basic_auth(user, Some(password.reveal())),
            None => request,
        };
        let answered = async { request.send().await?.json::<Value>().await };
        match answered.await {
            Ok(body) => read(&body),
            Err(error) => Outcome::Broken(error.without_url().to_string()),
        }
    }
}

fn read(body: &Value) -> Outcome {
    if let Some(error) = body["errors"].as_array().and_then(|errors| errors.first()) {
        let word = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        return Outcome::Refused { code: word("code"), message: word("message") };
    }
    let Some(data) = body["results"][0]["data"].as_array() else { return Outcome::Broken(format!("an unexpected answer: {body}")) };
    let first = |row: &Value| match &row["row"][0] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Outcome::Done(data.iter().map(first).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_a_refusal_with_its_code() {
        let body = json!({ "results": [], "errors": [{ "code": "Neo.ClientError.Security.Forbidden", "message": "no" }] });
        assert_eq!(read(&body), Outcome::Refused { code: "Neo.ClientError.Security.Forbidden".into(), message: "no".into() });
        let body = json!({ "results": [{ "columns": ["a"], "data": [{ "row": ["x"] }, { "row": [2] }] }], "errors": [] });
        assert_eq!(read(&body), Outcome::Done(vec!["x".into(), "2".into()]));
        assert!(matches!(read(&json!({})), Outcome::Broken(_)));
    }
}
