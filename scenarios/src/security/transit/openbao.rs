//! OpenBao: the API, and the port between the servers.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_harness::{
    database::Cluster as _,
    patience::{stretched, within},
    platform::all_healthy,
    service::openbao::{KV_MOUNT, Openbao},
    topology::{Member, Node},
};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};

use super::{ExtraPort, TransitTarget, Which, links, listeners, target::restore};
use crate::{Database, Pillar, Sabotage, Scenario, ScenarioError, Trial};

const EXTRA_PORT: &str = "extra-port-on-one-server";
const OLD_TLS: &str = "tls-1-2-on-one-server";
const PLAIN_COPY: &str = "copy-in-plaintext";

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "security/openbao/listeners",
        title: "OpenBao: every listener of every server, and no other",
        pillar: Pillar::Security,
        database: Database::Openbao,
        clauses: &["SEC-TLS-BAO", "SEC-TLS-LINKS"],
        goal: "Find out what each listener accepts, and whether anything listens that the model does not know.",
        method: &[
            "read the sockets that listen from each server's own tables and compare them with the model",
            "at the API: each protocol version alone, weak suites alone, the protocol without TLS, a client that must not trust the server",
            "at the port between the servers, where only the servers' own certificates are good: the oldest versions, weak suites, no TLS, \
             and no certificate, a foreign one, an expired one, the API's; the server's alert has to name the reason",
        ],
        does_not_show: &[
            "that the port between the servers refuses TLS 1.2 to a member: the program has it as its lowest version there, no setting changes \
             it, and a member's key, without which no handshake ends, is in the store only; two servers of this version agree on 1.3",
            "at a standby, that the port between the servers looks at certificates: it asks for the store's own name before",
            "client certificates at the API: they are looked at when somebody logs in with one, not in the handshake",
            "what travels on the links (security/openbao/links)",
        ],
        needs_high_availability: false,
        deadline: Duration::from_secs(240),
        sabotages: &[
            Sabotage { id: EXTRA_PORT, what: "something else listens on one server", expects: "undeclared-listener" },
            Sabotage { id: OLD_TLS, what: "the API of one server accepts TLS 1.2", expects: "old-tls-accepted" },
        ],
        run: |trial| Box::pin(async move { listeners(trial, &Target::of(trial).await?, Which::All).await }),
    },
    Scenario {
        id: "security/openbao/links",
        title: "OpenBao: nothing readable between the servers",
        pillar: Pillar::Security,
        database: Database::Openbao,
        clauses: &["SEC-TLS-LINKS"],
        goal: "Find out whether a secret can be read from the packets of clients, raft or requests that a standby hands on.",
        method: &[
            "capture every packet in every server's network namespace",
            "write a text as a secret, read it at every server",
            "search each packet and each stream for it; check that each link was seen and consists of TLS records",
            "find a text that was sent readable on purpose in each capture, and no lost packet",
        ],
        does_not_show: &[
            "which version of TLS the servers speak with each other, unless one connects anew while packets are captured",
            "the link by which a new server joins",
        ],
        needs_high_availability: true,
        deadline: Duration::from_secs(120),
        sabotages: &[Sabotage {
            id: PLAIN_COPY,
            what: "a tool on one server takes secrets without TLS, and is sent one",
            expects: "canary-on-the-wire",
        }],
        run: |trial| Box::pin(async move { links(trial, &Target::among_several(trial).await?).await }),
    },
];

/// A port that no software of the platform uses.
const NOBODYS_PORT: u16 = 4444;
const SETTINGS: &str = "/dora/config/openbao.hcl";
const NEW_TLS_ONLY: &str = "tls_min_version = \"tls13\"";
const OLD_TLS_TOO: &str = "tls_min_version = \"tls12\"";
const STOP_GRACE: Duration = Duration::from_secs(5);
/// A restarted server unseals itself; if it was the active one, another one is elected first.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);
const SEND_LIMIT: Duration = Duration::from_secs(5);
const PATH: &str = "links-canary";

struct Target {
    bao: Arc<Openbao>,
    sends_plaintext: bool,
}

impl Target {
    async fn of(trial: &Trial) -> Result<Self, ScenarioError> {
        let missing = || ScenarioError::Missing("there is no OpenBao in this run".into());
        let bao = trial.platform().openbao.server.get().await.ok_or_else(missing)?;
        Ok(Self { bao, sends_plaintext: trial.is_sabotaged_by(PLAIN_COPY) })
    }

    async fn among_several(trial: &Trial) -> Result<Self, ScenarioError> {
        let target = Self::of(trial).await?;
        if target.bao.nodes().len() < 2 {
            return Err(ScenarioError::Missing("this profile has one OpenBao server, so there is no link between servers".into()));
        }
        Ok(target)
    }

    /// The last server, whether it is the active one or not: it stays the same through a change of roles.
    fn last(&self) -> Result<Node, ScenarioError> {
        self.bao.nodes().pop().ok_or_else(|| ScenarioError::Missing("there is no OpenBao server".into()))
    }

    async fn plant(&self, id: &str, planted: bool) -> Result<(), ScenarioError> {
        let node = self.last()?;
        if id != OLD_TLS {
            let port = ExtraPort::new(node, NOBODYS_PORT);
            return if planted { port.open().await } else { port.close().await };
        }
        if planted {
            node.edit_file(SETTINGS, NEW_TLS_ONLY, OLD_TLS_TOO).await?;
        } else {
            restore(&node, SETTINGS, OLD_TLS_TOO, NEW_TLS_ONLY).await?;
        }
        node.stop(STOP_GRACE).await?;
        node.start().await?;
        within("a healthy OpenBao", SETTLE_LIMIT, Duration::from_millis(200), || async { all_healthy(&self.bao.health().await) }).await?;
        Ok(())
    }

    async fn send_plaintext(&self, text: &str) -> Result<(), ScenarioError> {
        let failed = |error: std::io::Error| ScenarioError::client("send a secret without TLS", error);
        let address = self.last()?.socket(NOBODYS_PORT);
        let send = async {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(text.as_bytes()).await
        };
        timeout(stretched(SEND_LIMIT), send).await.unwrap_or_else(|elapsed| Err(elapsed.into())).map_err(failed)
    }
}

#[async_trait]
impl TransitTarget for Target {
    fn member(&self) -> Member {
        Member::Openbao
    }

    async fn write_canary(&self, text: &str) -> Result<(), ScenarioError> {
        let path = format!("{KV_MOUNT}/data/{PATH}");
        self.bao.write(&path, &json!({ "data": { "value": text } })).await?;
        for node in self.bao.nodes() {
            let missing = || ScenarioError::Missing(format!("{} has no client", node.name()));
            let api = self.bao.api(&node).ok_or_else(missing)?;
            within("the text at every server", SETTLE_LIMIT, Duration::from_millis(200), || async {
                let answer = api.read(self.bao.root_token(), &path).await.map_err(|error| error.to_string())?;
                let read = answer.pointer("/data/data/value").and_then(Value::as_str);
                if read == Some(text) { Ok(()) } else { Err(format!("{} answers with something else", node.name())) }
            })
            .await?;
        }
        if self.sends_plaintext {
            self.send_plaintext(text).await?;
        }
        self.bao.delete(&format!("{KV_MOUNT}/metadata/{PATH}")).await?;
        Ok(())
    }

    async fn sabotage(&self, _trial: &Trial, id: &str) -> Result<(), ScenarioError> {
        self.plant(id, true).await
    }

    async fn undo_sabotage(&self, _trial: &Trial, id: &str) -> Result<(), ScenarioError> {
        self.plant(id, false).await
    }
}
