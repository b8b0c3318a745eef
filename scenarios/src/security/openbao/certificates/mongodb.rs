//! MongoDB: members take up new files by `rotateCertificates`; they know each other by certificate. An arbiter is restarted.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_harness::{
    database::{
        Cluster as _,
        mongodb::{PORT, ReplicaSet},
    },
    patience::within,
    security::StartTls,
    topology::Node,
};
use mongodb::bson::doc;
use tokio::time::timeout;

use super::{
    driver::{METHOD, SABOTAGES, listeners_of, rotate},
    repeat::Repeats,
    target::CertificateTarget,
};
use crate::{Database, Pillar, Sabotage, Scenario, ScenarioError, security::Listener};

/// A member with a foreign certificate is none: it would have to be brought back from outside.
const PLANTED: [Sabotage; 3] = {
    let [one_skipped, not_taken_up, _, _, old_authority] = SABOTAGES;
    [one_skipped, not_taken_up, old_authority]
};

/// The scenario.
pub const SCENARIO: Scenario = Scenario {
    id: "security/openbao/certificates-mongodb",
    title: "MongoDB: certificates and their authority change under load",
    pillar: Pillar::Security,
    database: Database::Openbao,
    clauses: &["SEC-CERT"],
    goal: "Every member of both sets, which proves itself to the others by its certificate, gets that from OpenBao, and another authority's after that, \
           and no client notices.",
    method: METHOD,
    does_not_show: &[
        "an attempt that is never made again: clients repeat one for up to 6 s, as drivers do; how often they had to is measured",
        "revoked certificates: the members are given no list",
        "another root: the clients trust the run's root throughout, and the chain brings the intermediate along",
        "new connections between members while one of them is not rotated yet, beyond what the load meets",
    ],
    needs_high_availability: false,
    deadline: Duration::from_secs(180),
    sabotages: &PLANTED,
    run: |trial| {
        Box::pin(async move {
            let part = &trial.platform().mongodb;
            let sets: Vec<_> = [part.arbitrated.get().await, part.replica_set.get().await].into_iter().flatten().collect();
            if sets.is_empty() {
                return Err(ScenarioError::Missing("there is no MongoDB in this run".into()));
            }
            let target = MongodbCertificates { sets, repeats: Repeats::within(REPEAT_LIMIT) };
            let outcome = rotate(trial, &target).await;
            trial.measure("repeated_attempts", Some(target.repeats.repeated() as f64), "attempts");
            outcome
        })
    },
};

/// A client waits this long for a member that may take its request.
const SELECTION: Duration = Duration::from_secs(3);
/// An attempt that takes longer is made again, as drivers do with what they may repeat.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(4);
/// No attempt begins later than this after the first one.
const REPEAT_LIMIT: Duration = Duration::from_secs(6);
/// A request with all its attempts, to both sets.
const REQUEST_LIMIT: Duration = Duration::from_secs(24);

const STOP_GRACE: Duration = Duration::from_secs(10);
/// From an arbiter's new process to an open port.
const RETURN_LIMIT: Duration = Duration::from_secs(30);

struct MongodbCertificates {
    /// The one with an arbiter first.
    sets: Vec<Arc<ReplicaSet>>,
    repeats: Repeats,
}

/// A new client, which greets the set's primary.
async fn greet(set: &ReplicaSet) -> Result<(), String> {
    let client = set.application(&set.reach(), SELECTION).map_err(|error| error.to_string())?;
    let answer = client.database("dora").run_command(doc! { "ping": 1 }).await.map_err(|error| error.to_string());
    // Nothing of it is under way any more; waiting for its watchers of the members is not the request's.
    (*client).clone().shutdown().immediate(true).await;
    answer.map(drop)
}

#[async_trait]
impl CertificateTarget for MongodbCertificates {
    fn nodes(&self) -> Vec<Node> {
        self.sets.iter().flat_map(|set| set.nodes()).collect()
    }

    fn listeners(&self) -> Vec<Listener> {
        listeners_of(&self.nodes(), PORT, StartTls::None)
    }

    async fn request(&self) -> Result<(), String> {
        for set in &self.sets {
            let attempt = || async { timeout(ATTEMPT_LIMIT, greet(set)).await.unwrap_or_else(|_elapsed| Err("no answer in time".into())) };
            self.repeats.until_answered(attempt).await?;
        }
        Ok(())
    }

    fn request_limit(&self) -> Duration {
        REQUEST_LIMIT
    }

    async fn take_up(&self, node: &Node) -> Result<(), ScenarioError> {
        let failed = |error: String| ScenarioError::client(format!("make {} take up its certificate", node.name()), error);
        let holds_data = |set: &&Arc<ReplicaSet>| set.data_nodes().iter().any(|member| member.name() == node.name());
        if let Some(set) = self.sets.iter().find(holds_data) {
            let client = set.administrator_of(node).map_err(|error| failed(error.to_string()))?;
            let order = doc! { "rotateCertificates": 1, "message": "rotation" };
            return client.database("admin").run_command(order).await.map(drop).map_err(|error| failed(error.to_string()));
        }
        // An arbiter knows no users who could order it to. It holds no data, so a restart costs the others one voice for a moment.
        node.stop(STOP_GRACE).await?;
        node.start().await?;
        within("the arbiter", RETURN_LIMIT, Duration::from_millis(100), || async {
            if node.accepts(PORT).await { Ok(()) } else { Err("its port refuses") }
        })
        .await
        .map_err(Into::into)
    }
}
