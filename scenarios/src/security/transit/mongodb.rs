//! MongoDB: every member of every set, arbiter included.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_harness::{
    database::{
        Cluster as _,
        mongodb::{DATABASE, PORT, ReplicaSet, add_revocation_lists, ask_in_plaintext, limited},
    },
    patience::within,
    platform::all_healthy,
    topology::{Member, Node},
};
use mongodb::bson::{Document, doc};

use super::{
    ExtraPort, TransitTarget, Which, links, listeners,
    target::{AUTHORITY, restore},
    trust_both,
};
use crate::{Database, Pillar, Sabotage, Scenario, ScenarioError, Trial, security::mongodb::client_error};

const EXTRA_PORT: &str = "extra-port-on-one-member";
const PLAINTEXT: &str = "plaintext-on-one-member";
const OLD_TLS: &str = "tls-1-2-on-the-last-member";
const FOREIGN_AUTHORITY: &str = "foreign-authority-trusted-by-one-member";
const PLAIN_CLIENT: &str = "client-in-plaintext";

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "security/mongodb/listeners",
        title: "MongoDB: every listener of every member, and no other",
        pillar: Pillar::Security,
        database: Database::Mongodb,
        clauses: &["SEC-TLS-MDB", "SEC-TLS-LINKS"],
        goal: "Find out what each member accepts, and whether anything listens that the model does not know.",
        method: &[
            "read the sockets that listen from each node's own tables and compare them with the model",
            "at every member: each protocol version alone, weak suites alone, the protocol without TLS, a client that must not trust the server",
            "client certificates, which are checked when they are shown: a foreign one, an expired one, a node's",
        ],
        does_not_show: &["what travels on the links (security/mongodb/links)", "who may do what after the login (SEC-AUTH-MDB)"],
        needs_high_availability: false,
        deadline: Duration::from_secs(240),
        sabotages: &[
            Sabotage { id: EXTRA_PORT, what: "something else listens on one member", expects: "undeclared-listener" },
            Sabotage { id: PLAINTEXT, what: "one member prefers TLS and does not demand it", expects: "plaintext-accepted" },
            Sabotage { id: OLD_TLS, what: "one member accepts TLS 1.2", expects: "old-tls-accepted" },
            Sabotage { id: FOREIGN_AUTHORITY, what: "one member trusts a foreign authority, too", expects: "foreign-certificate-accepted" },
        ],
        run: |trial| Box::pin(async move { listeners(trial, &Target::of(trial).await?, Which::All).await }),
    },
    Scenario {
        id: "security/mongodb/links",
        title: "MongoDB: nothing readable between the members",
        pillar: Pillar::Security,
        database: Database::Mongodb,
        clauses: &["SEC-TLS-LINKS"],
        goal: "Find out whether anything that is written can be read from the packets of clients, replication or elections.",
        method: &[
            "capture every packet in every member's network namespace",
            "write a text through the driver with the majority's acknowledgement, wait for every copy",
            "search each packet and each stream for it; check that each link was seen and consists of TLS records",
            "find a text that was sent readable on purpose in each capture, and no lost packet",
        ],
        does_not_show: &["an initial synchronisation, which uses the same port and settings"],
        needs_high_availability: true,
        deadline: Duration::from_secs(180),
        sabotages: &[Sabotage {
            id: PLAIN_CLIENT,
            what: "one member does not demand TLS, and a client speaks without it",
            expects: "canary-on-the-wire",
        }],
        run: |trial| Box::pin(async move { links(trial, &Target::of(trial).await?).await }),
    },
];

const REQUEST_LIMIT: Duration = Duration::from_secs(10);
const SETTLE_LIMIT: Duration = Duration::from_secs(60);
/// A port that no software of the platform uses.
const NOBODYS_PORT: u16 = 4444;
const SETTINGS: &str = "/dora/config/mongod.conf";
const COLLECTION: &str = "canary";

struct Target {
    sets: Vec<Arc<ReplicaSet>>,
    plain_client: bool,
}

/// A setting: as it is, as the defect has it.
fn change(id: &str) -> (&'static str, &'static str) {
    match id {
        OLD_TLS => ("disabledProtocols: TLS1_0,TLS1_1,TLS1_2", "disabledProtocols: TLS1_0,TLS1_1"),
        _ => ("mode: requireTLS", "mode: preferTLS"),
    }
}

impl Target {
    async fn of(trial: &Trial) -> Result<Self, ScenarioError> {
        let part = &trial.platform().mongodb;
        let sets: Vec<_> = [part.replica_set.get().await, part.arbitrated.get().await].into_iter().flatten().collect();
        if sets.is_empty() {
            return Err(ScenarioError::Missing("no replica set is there".into()));
        }
        Ok(Self { sets, plain_client: trial.is_sabotaged_by(PLAIN_CLIENT) })
    }

    /// The last member of the first set: it stays the same through a change of roles.
    fn last(&self) -> Result<&Node, ScenarioError> {
        self.sets[0].data_nodes().last().ok_or_else(|| ScenarioError::Missing("the set has no member".into()))
    }

    async fn healthy(&self) -> Result<(), ScenarioError> {
        for set in &self.sets {
            within("a healthy replica set", SETTLE_LIMIT, Duration::from_millis(200), || async { all_healthy(&set.health().await) })
                .await?;
        }
        Ok(())
    }

    async fn restart(&self) -> Result<(), ScenarioError> {
        // An orderly stop first waits 15 s for clients to leave; the journal makes a kill as good.
        self.last()?.kill().await?;
        self.last()?.start().await?;
        self.healthy().await
    }

    async fn write(set: &ReplicaSet, text: &str) -> Result<(), ScenarioError> {
        let client = set.application(&set.reach(), REQUEST_LIMIT).map_err(client_error)?;
        let collection = client.database(DATABASE).collection::<Document>(COLLECTION);
        let write = collection.insert_one(doc! { "words": text });
        limited("write a text", REQUEST_LIMIT, write).await.map_err(client_error)?;
        set.copied_everywhere(SETTLE_LIMIT).await.map_err(client_error)?;
        let read = collection.find_one(doc! { "words": text });
        let read = limited("read the text", REQUEST_LIMIT, read).await.map_err(client_error)?;
        if read.is_none() {
            return Err(ScenarioError::client("read the text", "it is not there"));
        }
        limited("remove the text", REQUEST_LIMIT, collection.drop()).await.map_err(client_error)
    }
}

#[async_trait]
impl TransitTarget for Target {
    fn member(&self) -> Member {
        Member::Mongodb
    }

    async fn write_canary(&self, text: &str) -> Result<(), ScenarioError> {
        for set in &self.sets {
            Self::write(set, text).await?;
        }
        if self.plain_client {
            let command = doc! { "hello": 1, "comment": text };
            let asked = ask_in_plaintext(self.last()?.socket(PORT), command, REQUEST_LIMIT).await;
            asked.map_err(|why| ScenarioError::client("ask a member without TLS", why))?;
        }
        Ok(())
    }

    async fn sabotage(&self, trial: &Trial, id: &str) -> Result<(), ScenarioError> {
        match id {
            EXTRA_PORT => ExtraPort::new(self.last()?.clone(), NOBODYS_PORT).open().await,
            FOREIGN_AUTHORITY => {
                trust_both(trial, self.last()?, AUTHORITY, true).await?;
                // Without a list of its issuer's a certificate is refused, however trusted. The list may stay: it trusts nobody.
                let list = trial.ground().foreign_authority().revocation_list();
                let list = list.map_err(|error| ScenarioError::client("make a list of revoked certificates", error))?;
                add_revocation_lists(self.last()?, &list).await?;
                self.restart().await
            }
            other => {
                let (intended, planted) = change(other);
                self.last()?.edit_file(SETTINGS, intended, planted).await?;
                self.restart().await
            }
        }
    }

    async fn undo_sabotage(&self, trial: &Trial, id: &str) -> Result<(), ScenarioError> {
        match id {
            EXTRA_PORT => ExtraPort::new(self.last()?.clone(), NOBODYS_PORT).close().await,
            FOREIGN_AUTHORITY => {
                trust_both(trial, self.last()?, AUTHORITY, false).await?;
                self.restart().await
            }
            other => {
                let (intended, planted) = change(other);
                restore(self.last()?, SETTINGS, planted, intended).await?;
                self.restart().await
            }
        }
    }
}
