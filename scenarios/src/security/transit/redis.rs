//! Redis: servers, Sentinels, Cluster nodes, the Cluster bus.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_harness::{
    database::{
        Cluster as _,
        redis::{Access, Account, PORT, Replicated, SENTINEL_PORT, Sharded, ask},
    },
    patience::within,
    platform::all_healthy,
    security::{AuthorityError, Identity},
    topology::{Member, Node},
};
use redis::RedisError;

use super::{ExtraPort, TransitTarget, Which, links, listeners, listeners::ELSEWHERE, target::restore, trust_both};
use crate::{Database, Pillar, Sabotage, Scenario, ScenarioError, Trial, security::openbao::install};

const EXTRA_PORT: &str = "extra-port";
const EXTRA_UDP_PORT: &str = "extra-udp-port";
const PLAINTEXT_PORT: &str = "plaintext-port";
const OLD_TLS: &str = "tls-1-2-on-one-cluster-node";
const OLD_TLS_SENTINEL: &str = "tls-1-2-on-one-sentinel";
const FOREIGN_CERTIFICATE: &str = "foreign-certificate-on-one-sentinel";
const STRANGE_NAME: &str = "certificate-with-a-strange-name-on-one-sentinel";
const WEAK_SUITE: &str = "weak-suite-on-one-server";
const FOREIGN_AUTHORITY: &str = "foreign-authority-trusted";
const PLAIN_REPLICATION: &str = "replication-in-plaintext";

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "security/redis/listeners",
        title: "Redis: every listener of every node, and no other",
        pillar: Pillar::Security,
        database: Database::Redis,
        clauses: &["SEC-TLS-RDS", "SEC-TLS-LINKS"],
        goal: "Find out what each listener of the model accepts, and whether anything listens that the model does not know.",
        method: &[
            "read the sockets that listen from each node's own tables and compare them with the model",
            "at every listener: each protocol version alone, weak suites alone, the protocol without TLS, a client that must not trust the server",
            "at the Cluster bus, which checks certificates: none, a foreign one, an expired one, a node's",
        ],
        does_not_show: &["what travels on the links (security/redis/links)", "who may do what after the login (SEC-AUTH-RDS)"],
        needs_high_availability: false,
        deadline: Duration::from_secs(240),
        sabotages: &[
            Sabotage { id: EXTRA_PORT, what: "something else listens on one node", expects: "undeclared-listener" },
            Sabotage { id: EXTRA_UDP_PORT, what: "something else takes datagrams on one node", expects: "undeclared-listener" },
            Sabotage { id: PLAINTEXT_PORT, what: "one server also listens without TLS", expects: "undeclared-listener" },
            Sabotage { id: OLD_TLS, what: "the last server accepts TLS 1.2", expects: "old-tls-accepted" },
            Sabotage { id: OLD_TLS_SENTINEL, what: "one Sentinel accepts TLS 1.2", expects: "old-tls-accepted" },
            Sabotage {
                id: FOREIGN_CERTIFICATE,
                what: "one Sentinel presents a certificate of a foreign authority",
                expects: "foreign-authority-accepted",
            },
            Sabotage {
                id: STRANGE_NAME,
                what: "one Sentinel presents a certificate that is good for somebody else's name, too",
                expects: "wrong-name-accepted",
            },
            Sabotage { id: WEAK_SUITE, what: "the last server accepts a suite with a short tag", expects: "weak-suite-accepted" },
            Sabotage {
                id: FOREIGN_AUTHORITY,
                what: "one node of the Cluster trusts a foreign authority, too",
                expects: "foreign-certificate-accepted",
            },
        ],
        run: |trial| Box::pin(async move { listeners(trial, &Target::of(trial).await?, Which::All).await }),
    },
    Scenario {
        id: "security/redis/links",
        title: "Redis: nothing readable between the nodes",
        pillar: Pillar::Security,
        database: Database::Redis,
        clauses: &["SEC-TLS-LINKS"],
        goal: "Find out whether anything that is written can be read from the packets of replication, Sentinels, Cluster bus or clients.",
        method: &[
            "capture every packet in every node's network namespace",
            "write a text through master and Cluster, read it at every replica",
            "search each packet and each stream for it; check that each link was seen and consists of TLS records",
            "find a text that was sent readable on purpose in each capture, and no lost packet",
        ],
        does_not_show: &["that peers verify each other's names: Redis cannot (named exception)", "links that exist at a restart only"],
        needs_high_availability: true,
        deadline: Duration::from_secs(180),
        sabotages: &[Sabotage {
            id: PLAIN_REPLICATION,
            what: "one replica copies from its master without TLS",
            expects: "canary-on-the-wire",
        }],
        run: |trial| Box::pin(async move { links(trial, &Target::of(trial).await?).await }),
    },
];

/// A port that the model does not have.
const OTHER_PORT: u16 = 6380;
/// A port that no software of the platform uses.
const NOBODYS_PORT: u16 = 4444;
const SETTLE_LIMIT: Duration = Duration::from_secs(40);
/// Keys that between them are on every shard.
const KEYS: usize = 24;
const BOTH_AUTHORITIES: &str = "/dora/tls/both.crt";
/// A Sentinel's own copy of its settings, into which it writes what it learns.
const SENTINEL_SETTINGS: &str = "/dora/data/sentinel.conf";
const SENTINEL_NEW_TLS: &str = "tls-protocols \"TLSv1.3\"";
const SENTINEL_OLD_TLS: &str = "tls-protocols \"TLSv1.2 TLSv1.3\"";

struct Target {
    replicated: Arc<Replicated>,
    sharded: Option<Arc<Sharded>>,
}

fn failed(what: &'static str) -> impl Fn(RedisError) -> ScenarioError {
    move |error| ScenarioError::client(what, error)
}

impl Target {
    async fn of(trial: &Trial) -> Result<Self, ScenarioError> {
        let part = &trial.platform().redis;
        let replicated = part.replicated.get().await.ok_or_else(|| ScenarioError::Missing("there is no Redis in this run".into()))?;
        Ok(Self { replicated, sharded: part.sharded.get().await })
    }

    /// A node of the Cluster where there is one, else the last server.
    fn last(&self) -> Result<(Node, &Access), ScenarioError> {
        if let Some(sharded) = &self.sharded
            && let Some(node) = sharded.nodes().last()
        {
            return Ok((node.clone(), sharded.access()));
        }
        let node = self.replicated.servers().last().ok_or_else(|| ScenarioError::Missing("there is no Redis server".into()))?;
        Ok((node.clone(), self.replicated.access()))
    }

    async fn set(&self, node: &Node, access: &Access, settings: &[(&str, &str)]) -> Result<(), ScenarioError> {
        let mut connection = access.connect(node.socket(PORT), Account::Admin).await.map_err(failed("log in as the administrator"))?;
        let mut words = vec!["CONFIG", "SET"];
        words.extend(settings.iter().flat_map(|(name, value)| [*name, *value]));
        ask::<()>(&mut connection, &words).await.map_err(failed("change a setting"))
    }

    fn last_sentinel(&self) -> Result<&Node, ScenarioError> {
        self.replicated.sentinels().nodes().last().ok_or_else(|| ScenarioError::Missing("there is no Sentinel".into()))
    }

    /// A Sentinel has no command for its protocols. A kill, as what it would still write is what was just changed.
    async fn restart_sentinel(&self) -> Result<(), ScenarioError> {
        self.last_sentinel()?.kill().await?;
        self.last_sentinel()?.start().await?;
        self.healthy().await
    }

    /// Has the last Sentinel present another certificate. Whoever watches it may rightly refuse that, so only its port is waited for.
    async fn present(&self, identity: Result<Identity, AuthorityError>) -> Result<(), ScenarioError> {
        let sentinel = self.last_sentinel()?;
        let identity = identity.map_err(|error| ScenarioError::client("make a Sentinel's certificate", error))?;
        install(sentinel, &identity).await?;
        sentinel.kill().await?;
        sentinel.start().await?;
        within("the Sentinel's port", SETTLE_LIMIT, Duration::from_millis(200), || async {
            if sentinel.accepts(SENTINEL_PORT).await { Ok(()) } else { Err("nobody listens there") }
        })
        .await?;
        Ok(())
    }

    /// A replica of the replicated set, and its master.
    async fn replica(&self) -> Result<(Node, Node), ScenarioError> {
        let master = self.replicated.master().await.map_err(|why| ScenarioError::client("find the master", why))?;
        let replica = self.replicated.servers().iter().find(|node| node.name() != master.name());
        let replica = replica.ok_or_else(|| ScenarioError::Missing("the master has no replica".into()))?;
        Ok((replica.clone(), master))
    }

    async fn follow(&self, replica: &Node, master: &Node, port: u16) -> Result<(), ScenarioError> {
        let access = self.replicated.access();
        let mut connection = access.connect(replica.socket(PORT), Account::Admin).await.map_err(failed("log in to a replica"))?;
        ask::<()>(&mut connection, &["REPLICAOF", &master.address().to_string(), &port.to_string()])
            .await
            .map_err(failed("point a replica at its master"))?;
        within("the replica's link to its master", SETTLE_LIMIT, Duration::from_millis(200), || async {
            let mut connection = access.connect(replica.socket(PORT), Account::Admin).await?;
            let said = dora_harness::database::redis::info(&mut connection, "replication").await?;
            match (said.get("master_port").map(String::as_str), said.get("master_link_status").map(String::as_str)) {
                (Some(at), Some("up")) if at == port.to_string() => Ok(()),
                other => Err(RedisError::from((redis::ErrorKind::Client, "not yet", format!("{other:?}")))),
            }
        })
        .await?;
        Ok(())
    }

    async fn healthy(&self) -> Result<(), ScenarioError> {
        within("a healthy Redis", SETTLE_LIMIT, Duration::from_millis(200), || async {
            all_healthy(&self.replicated.health().await)?;
            match &self.sharded {
                Some(sharded) => all_healthy(&sharded.health().await),
                None => Ok(()),
            }
        })
        .await?;
        Ok(())
    }

    async fn write_replicated(&self, text: &str) -> Result<(), ScenarioError> {
        let access = self.replicated.access();
        let unusable = |why: String| ScenarioError::client("write to the master", why);
        let mut master = self.replicated.connect(Account::App).await.map_err(unusable)?;
        ask::<()>(&mut master, &["SET", "app:canary", text]).await.map_err(failed("write to the master"))?;
        for server in self.replicated.servers() {
            within("the text on every server", SETTLE_LIMIT, Duration::from_millis(100), || async {
                let mut connection = access.connect(server.socket(PORT), Account::App).await?;
                let read: Option<String> = ask(&mut connection, &["GET", "app:canary"]).await?;
                if read.as_deref() == Some(text) { Ok(()) } else { Err(RedisError::from((redis::ErrorKind::Client, "not there"))) }
            })
            .await?;
        }
        ask::<()>(&mut master, &["DEL", "app:canary"]).await.map_err(failed("remove the text"))
    }

    async fn write_sharded(sharded: &Sharded, text: &str) -> Result<(), ScenarioError> {
        let wrong = failed("write to the Cluster");
        let client = sharded.access().cluster_client(&sharded.addresses(), Account::App, 5).map_err(&wrong)?;
        let mut connection = client.get_async_connection().await.map_err(&wrong)?;
        for key in (0..KEYS).map(|number| format!("app:canary:{number}")) {
            redis::cmd("SET").arg(&key).arg(text).query_async::<()>(&mut connection).await.map_err(&wrong)?;
            let read: String = redis::cmd("GET").arg(&key).query_async(&mut connection).await.map_err(&wrong)?;
            if read != text {
                return Err(ScenarioError::client("read from the Cluster", "another text came back"));
            }
            redis::cmd("DEL").arg(&key).query_async::<()>(&mut connection).await.map_err(&wrong)?;
        }
        Ok(())
    }
}

#[async_trait]
impl TransitTarget for Target {
    fn member(&self) -> Member {
        Member::Redis
    }

    async fn write_canary(&self, text: &str) -> Result<(), ScenarioError> {
        self.write_replicated(text).await?;
        match &self.sharded {
            Some(sharded) => Self::write_sharded(sharded, text).await,
            None => Ok(()),
        }
    }

    async fn sabotage(&self, trial: &Trial, id: &str) -> Result<(), ScenarioError> {
        let (node, access) = self.last()?;
        match id {
            EXTRA_PORT => ExtraPort::new(node, NOBODYS_PORT).open().await,
            EXTRA_UDP_PORT => ExtraPort::for_datagrams(node, NOBODYS_PORT).open().await,
            PLAINTEXT_PORT => self.set(&node, access, &[("port", &OTHER_PORT.to_string())]).await,
            OLD_TLS => self.set(&node, access, &[("tls-protocols", "TLSv1.2 TLSv1.3")]).await,
            OLD_TLS_SENTINEL => {
                self.last_sentinel()?.edit_file(SENTINEL_SETTINGS, SENTINEL_NEW_TLS, SENTINEL_OLD_TLS).await?;
                self.restart_sentinel().await
            }
            FOREIGN_CERTIFICATE => {
                let sentinel = self.last_sentinel()?;
                self.present(trial.ground().foreign_authority().issue_node(sentinel.name(), sentinel.address())).await
            }
            STRANGE_NAME => self.present(trial.ground().authority().issue_node(ELSEWHERE, self.last_sentinel()?.address())).await,
            WEAK_SUITE => {
                let suites =
                    [("tls-ciphers", "DEFAULT:@SECLEVEL=0"), ("tls-ciphersuites", "TLS_AES_256_GCM_SHA384:TLS_AES_128_CCM_8_SHA256")];
                self.set(&node, access, &suites).await
            }
            FOREIGN_AUTHORITY => {
                trust_both(trial, &node, BOTH_AUTHORITIES, true).await?;
                self.set(&node, access, &[("tls-ca-cert-file", BOTH_AUTHORITIES)]).await
            }
            _ => {
                let (replica, master) = self.replica().await?;
                let access = self.replicated.access();
                self.set(&master, access, &[("port", &OTHER_PORT.to_string())]).await?;
                self.set(&replica, access, &[("tls-replication", "no")]).await?;
                self.follow(&replica, &master, OTHER_PORT).await
            }
        }
    }

    async fn undo_sabotage(&self, trial: &Trial, id: &str) -> Result<(), ScenarioError> {
        let (node, access) = self.last()?;
        match id {
            EXTRA_PORT => ExtraPort::new(node, NOBODYS_PORT).close().await?,
            EXTRA_UDP_PORT => ExtraPort::for_datagrams(node, NOBODYS_PORT).close().await?,
            PLAINTEXT_PORT => self.set(&node, access, &[("port", "0")]).await?,
            OLD_TLS => self.set(&node, access, &[("tls-protocols", "TLSv1.3")]).await?,
            OLD_TLS_SENTINEL => {
                restore(self.last_sentinel()?, SENTINEL_SETTINGS, SENTINEL_OLD_TLS, SENTINEL_NEW_TLS).await?;
                self.restart_sentinel().await?;
            }
            FOREIGN_CERTIFICATE | STRANGE_NAME => {
                let sentinel = self.last_sentinel()?;
                self.present(trial.ground().authority().issue_node(sentinel.name(), sentinel.address())).await?;
            }
            WEAK_SUITE => {
                let suites = [("tls-ciphers", ""), ("tls-ciphersuites", "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256")];
                self.set(&node, access, &suites).await?;
            }
            FOREIGN_AUTHORITY => {
                self.set(&node, access, &[("tls-ca-cert-file", "/dora/tls/ca.crt")]).await?;
            }
            _ => {
                let (replica, master) = self.replica().await?;
                let access = self.replicated.access();
                self.set(&replica, access, &[("tls-replication", "yes")]).await?;
                self.follow(&replica, &master, PORT).await?;
                self.set(&master, access, &[("port", "0")]).await?;
            }
        }
        self.healthy().await
    }
}
