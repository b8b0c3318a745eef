//! MongoDB: members take up new files by `rotateCertificates`; they know each other by certificate, and look each up in a list of
//! revoked ones. An arbiter is restarted.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_harness::{
    database::{
        Cluster as _,
        mongodb::{PORT, ReplicaSet, add_revocation_lists, put_revocation_lists, show_certificate},
    },
    patience::within,
    security::StartTls,
    service::openbao::Pki,
    topology::Node,
};
use dora_reports::evidence::ProbeMatrix;
use mongodb::bson::doc;
use tokio::time::timeout;

use super::{
    driver::{METHOD, SABOTAGES, listeners_of, rotate},
    repeat::Repeats,
    shown::{self, Kind},
    target::CertificateTarget,
};
use crate::{
    Database, Pillar, Sabotage, Scenario, ScenarioError, Trial,
    security::{Listener, openbao::parts::openbao},
};

const OLD_LIST: &str = "revocation-list-not-renewed";

/// A member with a foreign certificate is none: it would have to be brought back from outside. A member without any list of the clients'
/// authority is none either: it refuses all of that authority's certificates.
const PLANTED: [Sabotage; 4] = {
    let [one_skipped, not_taken_up, _, _, old_authority] = SABOTAGES;
    [
        one_skipped,
        not_taken_up,
        old_authority,
        Sabotage {
            id: OLD_LIST,
            what: "the last member gets the list of revoked certificates as it was before the client's was revoked",
            expects: "revoked-certificate-accepted",
        },
    ]
};

/// The scenario.
pub const SCENARIO: Scenario = Scenario {
    id: "security/openbao/certificates-mongodb",
    title: "MongoDB: certificates and their authority change under load; revoked ones are refused",
    pillar: Pillar::Security,
    database: Database::Openbao,
    clauses: &["SEC-CERT"],
    goal: "Every member of both sets, which proves itself to the others by its certificate, gets that from OpenBao, and another authority's after that, \
           and no client notices; who shows a member a revoked certificate is turned away for that reason.",
    method: METHOD,
    does_not_show: &[
        "an attempt that is never made again: clients repeat one for up to 6 s, as drivers do; how often they had to is measured",
        "that lists of revoked certificates are brought to the members by themselves: the harness brings them here",
        "a revoked intermediate authority: members look up the certificate at the chain's end and none above it",
        "connections that were open before a certificate was revoked: a member looks at it when a connection begins",
        "clients that show no certificate: MongoDB lets them log in by password",
        "another root: the clients trust the run's root throughout, and the chain brings the intermediate along",
        "new connections between members while one of them is not rotated yet, beyond what the load meets",
    ],
    needs_high_availability: false,
    deadline: Duration::from_secs(240),
    sabotages: &PLANTED,
    run: |trial| {
        Box::pin(async move {
            let part = &trial.platform().mongodb;
            let sets: Vec<_> = [part.arbitrated.get().await, part.replica_set.get().await].into_iter().flatten().collect();
            if sets.is_empty() {
                return Err(ScenarioError::Missing("there is no MongoDB in this run".into()));
            }
            let target = MongodbCertificates { trial, sets, repeats: Repeats::within(REPEAT_LIMIT) };
            rotate(trial, &target).await
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

/// Life of the certificates that clients show here.
const CLIENT_LIFETIME: Duration = Duration::from_secs(3600);
/// From the members' new lists to their answers in accordance with them.
const LISTS_LIMIT: Duration = Duration::from_secs(10);

struct MongodbCertificates<'a> {
    trial: &'a Trial,
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

impl MongodbCertificates<'_> {
    /// What each kind of certificate gets from each member.
    async fn probe(&self, members: &[Node], kinds: &[Kind<'_>]) -> ProbeMatrix {
        let authority = self.trial.ground().authority().certificate();
        let mut answers = Vec::new();
        for member in members {
            for (_, _, identity) in kinds {
                answers.push(show_certificate(member, authority, identity).await);
            }
        }
        shown::matrix(members, PORT, "Client certificates that were shown to the members", kinds, answers)
    }
}

#[async_trait]
impl CertificateTarget for MongodbCertificates<'_> {
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

    fn repeats(&self) -> Vec<&Repeats> {
        vec![&self.repeats]
    }

    /// A member refuses a peer's certificate whose issuer's list it lacks, so all have the lists before one has such a certificate.
    async fn learn_of(&self, authorities: &[&Pki]) -> Result<(), ScenarioError> {
        let mut lists = String::new();
        for authority in authorities {
            lists.push_str(&authority.revocation_list().await?);
        }
        for node in self.nodes() {
            add_revocation_lists(&node, &lists).await?;
            self.take_up(&node).await?;
        }
        Ok(())
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

    /// Two certificates that clients show, alike but that one is revoked: every member takes the one and refuses the other.
    async fn further(&self) -> Result<(), ScenarioError> {
        let trial = self.trial;
        let bao = openbao(trial).await?;
        let pki = Pki::set_up(&bao, trial.ground().authority(), "mongodb-clients", "MongoDB clients").await?;
        let good = pki.issue_client("good", CLIENT_LIFETIME).await?;
        let revoked = pki.issue_client("revoked", CLIENT_LIFETIME).await?;
        let old_list = pki.revocation_list().await?;
        pki.revoke(&revoked).await?;
        let list = pki.revocation_list().await?;
        let members = self.nodes();
        let mut before = Vec::new();
        for (index, member) in members.iter().enumerate() {
            let stays_old = trial.is_sabotaged_by(OLD_LIST) && index + 1 == members.len();
            before.push(add_revocation_lists(member, if stays_old { &old_list } else { &list }).await?);
            self.take_up(member).await?;
        }
        // As its log has it: the member itself closes the connection without a word.
        let kinds = [("good", "accepted", good.identity), ("revoked", "certificate revoked", revoked.identity)];
        let settled = within("every certificate's due answer", LISTS_LIMIT, Duration::from_millis(300), || async {
            let matrix = self.probe(&members, &kinds).await;
            if matrix.ok() { Ok(matrix) } else { Err("some answers differ") }
        });
        let matrix = match settled.await {
            Ok(matrix) => matrix,
            Err(_deadline) => self.probe(&members, &kinds).await,
        };
        // The rotation that follows makes them take these up.
        for (member, lists) in members.iter().zip(&before) {
            put_revocation_lists(member, lists).await?;
        }
        shown::judge(self.trial, &matrix, &kinds);
        trial.matrix(matrix);
        pki.remove().await?;
        Ok(())
    }
}
