//! A question over HTTPS, each on a connection of its own.

use std::time::Duration;

use dora_harness::security::{Identity, client_config, client_config_with_identity};
use reqwest::{Client, RequestBuilder};

/// One question.
const LIMIT: Duration = Duration::from_secs(4);

/// Asks with a new client, which trusts `authority` only and shows `identity` where there is one, and returns the body of a good answer.
///
/// # Errors
/// The client's words with their causes, which name a bad certificate, or the server's status.
pub async fn ask(
    authority: &str,
    identity: Option<&Identity>,
    question: impl FnOnce(&Client) -> RequestBuilder + Send,
) -> Result<String, String> {
    let tls = match identity {
        Some(identity) => client_config_with_identity(authority, identity),
        None => client_config(authority),
    };
    let tls = tls.map_err(|error| error.to_string())?;
    let client = Client::builder().tls_backend_preconfigured(tls).no_proxy().timeout(LIMIT).build().map_err(|error| words(&error))?;
    let answer = question(&client).send().await.map_err(|error| words(&error))?.error_for_status().map_err(|error| words(&error))?;
    answer.text().await.map_err(|error| words(&error))
}

fn words(error: &reqwest::Error) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
