//! MongoDB: members take up new files by `rotateCertificates`; they know each other by certificate.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_harness::{
    database::mongodb::{PORT, ReplicaSet},
    security::StartTls,
    topology::Node,
};
use mongodb::bson::doc;

use super::{
    driver::{METHOD, SABOTAGES, listeners_of, rotate_if_there},
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
    goal: "Every member, which proves itself to the others by its certificate, gets that from OpenBao, and another authority's after that, \
           and no client notices.",
    method: METHOD,
    does_not_show: &[
        "the set with an arbiter, which knows no users that could order it to take files up",
        "revoked certificates: the members are given no list",
        "another root: the clients trust the run's root throughout, and the chain brings the intermediate along",
        "new connections between members while one of them is not rotated yet, beyond what the load meets",
    ],
    needs_high_availability: false,
    deadline: Duration::from_secs(180),
    sabotages: &PLANTED,
    run: |trial| {
        Box::pin(async move {
            let set = trial.platform().mongodb.replica_set.get().await;
            rotate_if_there(trial, set.map(|set| MongodbCertificates { set }), "MongoDB").await
        })
    },
};

/// A client waits this long for a member that may take its request.
const SELECTION: Duration = Duration::from_secs(5);

struct MongodbCertificates {
    set: Arc<ReplicaSet>,
}

#[async_trait]
impl CertificateTarget for MongodbCertificates {
    fn nodes(&self) -> Vec<Node> {
        self.set.data_nodes().to_vec()
    }

    fn listeners(&self) -> Vec<Listener> {
        listeners_of(self.set.data_nodes(), PORT, StartTls::None)
    }

    async fn request(&self) -> Result<(), String> {
        let client = self.set.application(&self.set.reach(), SELECTION).map_err(|error| error.to_string())?;
        client.database("dora").run_command(doc! { "ping": 1 }).await.map_err(|error| error.to_string())?;
        (*client).clone().shutdown().await;
        Ok(())
    }

    async fn take_up(&self, node: &Node) -> Result<(), ScenarioError> {
        let failed = |error: String| ScenarioError::client(format!("make {} take up its certificate", node.name()), error);
        let client = self.set.administrator_of(node).map_err(|error| failed(error.to_string()))?;
        let order = doc! { "rotateCertificates": 1, "message": "rotation" };
        client.database("admin").run_command(order).await.map(drop).map_err(|error| failed(error.to_string()))
    }
}
