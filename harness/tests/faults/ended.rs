//! What becomes of a node that ends by itself while it is waited for.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use dora_harness::security::generate_secret;
use libtest_mimic::{Failed, Trial};

use crate::lab::Lab;

/// Far longer than a node that ended is to be waited for.
const WAIT: Duration = Duration::from_secs(60);
/// It is asked every second whether it still runs.
const TOLD_WITHIN: Duration = Duration::from_secs(15);

/// What is left of the node's word.
const SAID: &str = "the word is [a generated password]";

pub fn trials(lab: &Arc<Lab>) -> Vec<Trial> {
    let laboratory = Arc::clone(lab);
    let name = "a node that ends while it is waited for is told at once, and its log outlives it without its secrets";
    vec![lab.trial(name, move |_| async move { ended(&laboratory).await })]
}

async fn ended(lab: &Lab) -> Result<(), Failed> {
    let secret = generate_secret();
    let script = format!("echo 'the word is {}' >&2\nexit 3\n", secret.reveal());
    let node = lab.further("f", script.as_bytes()).await?;
    let since = Instant::now();
    let waited = lab.ground()?.wait_ready("f", "listens", None, WAIT, || async { Err::<(), _>("it does not listen") }).await;
    let took = since.elapsed();
    let told = waited.err().map(|error| error.to_string()).unwrap_or_default();
    if took > TOLD_WITHIN || !told.contains("node f (ended with 3)") || !told.contains(SAID) {
        return Err(format!("after {took:?} it was told: {told}").into());
    }
    node.destroy().await.map_err(|error| error.to_string())?;
    let log = lab.kept_log("f")?;
    if !log.contains(SAID) || format!("{told}{log}").contains(secret.reveal()) {
        return Err(format!("its log is kept as: {log}").into());
    }
    Ok(())
}
