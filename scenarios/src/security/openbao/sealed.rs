//! The key manager is sealed: what runs goes on, what starts waits.

use std::{sync::Arc, time::Duration};

use dora_fixtures::assets;
use dora_harness::{
    database::{Cluster as _, postgres::PostgresCluster, redis::PORT},
    patience::within,
    security::{StartTls, TlsProber},
    service::openbao::{self, Openbao, Pki, ServerState},
    topology::Node,
};
use dora_reports::evidence::{Finding, NamedLimit};
use serde_json::json;
use tokio::time::sleep;

use super::{parts, used_databases::UsedDatabases};
use crate::{Database, Pillar, Sabotage, Scenario, ScenarioError, Trial};

const CACHED: &str = "old-certificate-accepted";
const SILENT: &str = "waits-without-a-word";
const STOPS: &str = "database-stops-with-it";

/// The scenario.
pub const SCENARIO: Scenario = Scenario {
    id: "security/openbao/sealed",
    title: "With OpenBao sealed the databases go on, and a node that starts waits and says why",
    pillar: Pillar::Security,
    database: Database::Openbao,
    clauses: &["SEC-KMS"],
    goal: "Nothing that runs needs the key manager from moment to moment; what starts gets nothing without it.",
    method: &[
        "a Redis replica is set up to fetch its certificate from OpenBao at every start, and proves who it is by the certificate it was installed with",
        "it is restarted: its listener must present a certificate of OpenBao's authority",
        "the active servers are sealed one after the other until no majority is left; no server may say that it is active",
        "all the while, from the first seal on, PostgreSQL (through its pooler) and Redis's master are written, and what was written is read; no \
         request may fail or take longer than 5 s",
        "the replica is restarted: its port must stay closed, and its log must say that it waits for the key manager and what that answered",
        "the servers are restarted and unseal themselves: the replica must come up by itself, with a new certificate",
    ],
    does_not_show: &[
        "keys of encrypted volumes: the certificate stands for what a start needs. An encrypted node's key is held in memory by its pod's agent, \
         from which a restart in the same pod gets it without OpenBao",
        "how long databases go on: leases and certificates that end meanwhile",
    ],
    needs_high_availability: true,
    deadline: Duration::from_secs(240),
    sabotages: &[
        Sabotage {
            id: CACHED,
            what: "the node starts with the certificate it had when it gets no new one",
            expects: "started-while-sealed",
        },
        Sabotage { id: SILENT, what: "the node waits and does not say for what", expects: "waits-without-reason" },
        Sabotage { id: STOPS, what: "PostgreSQL's pooler is frozen while the servers are sealed", expects: "database-stopped" },
    ],
    run: |trial| Box::pin(run(trial)),
};

const MOUNT: &str = "node-identity";
const LIMIT: Duration = Duration::from_secs(15);
/// How long the databases are watched, and the node has to stay down, while the servers are sealed.
const SEALED_FOR: Duration = Duration::from_secs(8);
const START_LIMIT: Duration = Duration::from_secs(45);

async fn run(trial: &Trial) -> Result<(), ScenarioError> {
    trial.promise_limits("no request fails while the key manager is sealed", vec![NamedLimit::at_most("failed_requests", 0.0, "requests")]);
    let bao = parts::openbao(trial).await?;
    let cluster = parts::postgres(trial).await?;
    let replicated = trial.platform().redis.replicated.get().await;
    let replicated = replicated.ok_or_else(|| ScenarioError::Missing("there is no Redis in this run".into()))?;
    let master = replicated.master().await.map_err(|error| ScenarioError::client("find Redis's master", error))?;
    let replica = replicated.servers().iter().find(|server| server.name() != master.name()).cloned();
    let node = replica.ok_or_else(|| ScenarioError::Missing("this profile's Redis has no replica that could be restarted".into()))?;
    let prober = trial.platform().prober(trial.ground()).await?;
    let databases = UsedDatabases::set_up(cluster.clone(), replicated).await?;
    let sealing = Sealing { trial, bao, cluster, databases, node, prober };
    let outcome = sealing.show().await;
    let restored = sealing.restore().await;
    outcome.and(restored).and(sealing.databases.remove().await)
}

struct Sealing<'a> {
    trial: &'a Trial,
    bao: Arc<Openbao>,
    cluster: PostgresCluster,
    databases: UsedDatabases,
    /// The replica whose start depends on the key manager.
    node: Node,
    prober: TlsProber,
}

impl Sealing<'_> {
    async fn show(&self) -> Result<(), ScenarioError> {
        let trial = self.trial;
        self.set_up().await?;
        self.restart().await?;
        within("the node with a certificate from OpenBao", START_LIMIT, Duration::from_millis(300), || self.has_issued_certificate())
            .await?;
        let first = self.serial().await?;
        trial.note("client", format!("{} came up with certificate {first}", self.node.name()));

        let sealed = async {
            let outcome = self.seal_and_restart().await;
            self.databases.end();
            outcome
        };
        let (outcome, ()) = tokio::join!(sealed, Box::pin(self.databases.run()));
        let thawed = if trial.is_sabotaged_by(STOPS) { self.cluster.pooler().unpause().await } else { Ok(()) };
        let failed = self.databases.failed();
        trial.measure("answered_requests", Some(self.databases.answered() as f64), "requests");
        trial.measure("failed_requests", Some(failed.len() as f64), "requests");
        if let Some(error) = failed.first() {
            trial.find(Finding::violation(
                "database-stopped",
                format!("{} requests failed while OpenBao was sealed: {error}", failed.len()),
            ));
        }
        outcome?;
        thawed?;
        if self.node.accepts(PORT).await {
            trial.find(Finding::violation(
                "started-while-sealed",
                format!("{} serves although OpenBao gave it no certificate", self.node.name()),
            ));
        } else {
            self.judge_words().await?;
        }
        trial.excerpt(&self.node, 6).await;

        self.unseal().await?;
        within("the node that waited", START_LIMIT, Duration::from_millis(300), || self.has_issued_certificate()).await?;
        let second = self.serial().await?;
        trial.note("client", format!("{} came up by itself with certificate {second}", self.node.name()));
        // Under the defect it has never asked again.
        if first == second && !trial.is_sabotaged_by(CACHED) {
            trial.find(Finding::violation("no-new-certificate", "the node came up with the certificate that it had before"));
        }
        Ok(())
    }

    /// The authority, the login of nodes, and the node's start script.
    async fn set_up(&self) -> Result<(), ScenarioError> {
        let root = self.trial.ground().authority();
        Pki::set_up(&self.bao, root, MOUNT, "node identity").await?;
        let policy = assets::render("config/openbao/node-identity.hcl.j2", json!({ "mount": MOUNT }))?;
        self.bao.write("sys/policies/acl/node-identity", &json!({ "policy": policy })).await?;
        if self.bao.read("sys/auth").await?["data"].get("cert/").is_none() {
            self.bao.write("sys/auth/cert", &json!({ "type": "cert" })).await?;
        }
        let login = json!({
            "certificate": root.certificate(),
            "allowed_organizational_units": "nodes",
            "token_policies": "node-identity",
            "token_ttl": "60s",
        });
        self.bao.write("auth/cert/certs/node", &login).await?;

        let servers: Vec<String> = self.bao.nodes().iter().map(|server| server.socket(openbao::PORT).to_string()).collect();
        let settings = format!("{} {} {MOUNT}\n{}\n", self.node.name(), self.node.address(), servers.join("\n"));
        let mut files = vec![("key-manager", settings.as_bytes(), 0o600)];
        match self.trial.sabotage.map(|sabotage| sabotage.id) {
            Some(CACHED) => files.push(("accept-cached", b"", 0o600)),
            Some(SILENT) => files.push(("say-nothing", b"", 0o600)),
            _ => {}
        }
        self.node.put_files("/dora/config", &files).await?;
        let scripts = [
            ("fetch-identity.sh", assets::bytes("config/openbao/fetch-identity.sh")?, 0o755),
            ("start-database.sh", assets::bytes("config/redis/start-server.sh")?, 0o755),
            ("start.sh", assets::bytes("config/openbao/start-with-identity.sh")?, 0o755),
        ];
        self.node.put_files("/dora/bin", &scripts).await?;
        Ok(())
    }

    /// Takes the key manager away, and starts the node without it.
    async fn seal_and_restart(&self) -> Result<(), ScenarioError> {
        self.seal().await?;
        if self.trial.is_sabotaged_by(STOPS) {
            self.cluster.pooler().pause().await?;
        }
        self.restart().await?;
        sleep(SEALED_FOR).await;
        Ok(())
    }

    async fn restart(&self) -> Result<(), ScenarioError> {
        self.node.stop(Duration::from_secs(5)).await?;
        self.node.start().await?;
        self.trial.note("client", format!("{} was restarted", self.node.name()));
        Ok(())
    }

    /// Seals whoever is active until the rest is no majority.
    async fn seal(&self) -> Result<(), ScenarioError> {
        let majority = self.bao.nodes().len() / 2 + 1;
        for _ in 0..majority {
            let active = within("an active server to seal", LIMIT * 2, Duration::from_millis(200), || async {
                self.bao.active().await.map(|(node, api)| (node.clone(), api.clone())).map_err(|error| error.to_string())
            });
            let (node, api) = active.await?;
            api.write(self.bao.root_token(), "sys/seal", &json!({})).await?;
            within("the seal", LIMIT, Duration::from_millis(100), || async {
                match api.health().await {
                    Ok(ServerState::Sealed) => Ok(()),
                    Ok(state) => Err(state.to_string()),
                    Err(error) => Err(error.to_string()),
                }
            })
            .await?;
            self.trial.note("fault", format!("{} is sealed", node.name()));
        }
        // A leader without a majority notices that within its lease's time.
        let gone = within("the end of the last active server", LIMIT, Duration::from_millis(200), || async {
            match self.bao.active().await {
                Ok((node, _)) => Err(format!("{} is still active", node.name())),
                Err(_none) => Ok(()),
            }
        });
        if let Err(error) = gone.await {
            self.trial.find(Finding::unconfirmed("seal-not-confirmed", error.to_string()));
        }
        Ok(())
    }

    /// A restarted server has its seal's key and unseals itself.
    async fn unseal(&self) -> Result<(), ScenarioError> {
        for node in self.bao.nodes() {
            let api = self.bao.api(&node);
            let is_sealed = match api {
                Some(api) => matches!(api.health().await, Ok(ServerState::Sealed)),
                None => false,
            };
            if is_sealed {
                node.stop(Duration::from_secs(5)).await?;
                node.start().await?;
            }
        }
        within("the unsealed servers", START_LIMIT, Duration::from_millis(300), || async {
            let sick: Vec<_> = self.bao.health().await.into_iter().filter(|node| !node.healthy).map(|node| node.observed).collect();
            if sick.is_empty() { Ok(()) } else { Err(sick.join("; ")) }
        })
        .await?;
        self.trial.note("fault", "the servers have unsealed themselves");
        Ok(())
    }

    async fn judge_words(&self) -> Result<(), ScenarioError> {
        let state = self.node.state().await?;
        let said = self.node.logs(10).await?;
        let reason = said.iter().rev().find(|line| line.contains("waiting for the key manager") && line.to_lowercase().contains("sealed"));
        match reason {
            Some(line) if state.running => self.trial.note("client", line.clone()),
            _ => {
                let last = said.last().cloned().unwrap_or_else(|| "nothing".into());
                self.trial.find(Finding::violation(
                    "waits-without-reason",
                    format!("{} does not say that it waits for a sealed key manager; its last word: {last}", self.node.name()),
                ));
            }
        }
        Ok(())
    }

    async fn has_issued_certificate(&self) -> Result<(), String> {
        let seen = self.prober.certificate(self.node.address(), PORT, StartTls::None).await.map_err(|error| error.to_string())?;
        match seen {
            Some(seen) if seen.issuer.contains("node identity") => Ok(()),
            Some(seen) => Err(format!("its certificate is by {}", seen.issuer)),
            None => Err("it presents no certificate".into()),
        }
    }

    async fn serial(&self) -> Result<String, ScenarioError> {
        let seen = self.prober.certificate(self.node.address(), PORT, StartTls::None).await?;
        seen.map(|seen| seen.serial).ok_or_else(|| ScenarioError::client("read a certificate", "the node presents none"))
    }

    /// The node starts as before, and the servers keep nothing of this.
    async fn restore(&self) -> Result<(), ScenarioError> {
        self.unseal().await?;
        self.node.put_files("/dora/bin", &[("start.sh", assets::bytes("config/redis/start-server.sh")?, 0o755)]).await?;
        let state = self.node.state().await?;
        if state.running {
            self.node
                .exec_as_root(
                    &["rm", "-f", "/dora/config/accept-cached", "/dora/config/say-nothing", "/dora/config/key-manager"],
                    &[],
                    LIMIT,
                )
                .await?;
        }
        if !self.node.accepts(PORT).await {
            self.restart().await?;
        }
        self.bao.delete(&format!("sys/mounts/{MOUNT}")).await?;
        self.bao.delete("sys/auth/cert").await?;
        self.bao.delete("sys/policies/acl/node-identity").await?;
        Ok(())
    }
}
