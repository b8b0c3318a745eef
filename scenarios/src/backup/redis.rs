//! Redis: a snapshot, everything destroyed, a new set that begins with it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use dora_fixtures::{content::Digests, dataset::Dataset};
use dora_harness::{
    database::{
        Cluster as _,
        redis::{Access, Account, PORT, RedisPart, Replicated, ReplicatedPlan, ask, content, info},
    },
    patience::within,
    topology::Node,
};
use redis::{RedisResult, aio::MultiplexedConnection};

use super::{BackupSize, BackupTarget, Enforcement, full_backup};
use crate::{Database, Pillar, Sabotage, Scenario, ScenarioError, Trial};

/// Where a server puts its snapshot.
const SNAPSHOT: &str = "/dora/data/dump.rdb";
/// What stands before the names of a set that was restored. The next restore goes without it again, so names stay unique.
const RESTORED: &str = "r-";
const SNAPSHOT_LIMIT: Duration = Duration::from_secs(60);
/// Within this time every replica acknowledges what was loaded.
const COPY_LIMIT_MS: &str = "1400";

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "backup/redis",
    title: "Redis: full backup, everything destroyed, restored into a new set",
    pillar: Pillar::Backup,
    database: Database::Redis,
    clauses: &["BK-FULL-RDS"],
    goal: "A snapshot alone is enough to have every key of every key space again, in a separate set with other passwords that is no less protected.",
    method: &[
        "the domain's sessions, caches, counters, locks and notifications are loaded, and hashed key by key",
        "an account that can read no key takes a snapshot on a replica (BGSAVE); the file is held outside the set",
        "all servers and Sentinels are destroyed with their volumes",
        "a new set with new passwords starts with the snapshot as base of its append-only log",
        "all keys are hashed again; old password, no password and plaintext must be refused",
    ],
    does_not_show: &[
        "the Redis Cluster, which holds no domain data here",
        "how much of an expiry is left: that a key expires is compared, not when",
        "a snapshot under write load (BK-INC-RDS, BK-LOG-RDS)",
    ],
    needs_high_availability: false,
    deadline: Duration::from_secs(300),
    sabotages: &[Sabotage { id: "snapshot-truncated", what: "the second half of the snapshot is cut off", expects: "restore-failed" }],
    run: |trial| Box::pin(async move { full_backup(trial, &Target::of(trial)).await }),
}];

struct Target<'a> {
    part: &'a RedisPart,
    /// How one got into the set that was destroyed, and what stood before its nodes' names.
    before: Mutex<Option<(Access, String)>>,
}

impl<'a> Target<'a> {
    fn of(trial: &'a Trial) -> Self {
        Self { part: &trial.platform().redis, before: Mutex::default() }
    }

    async fn set(&self) -> Result<Arc<Replicated>, ScenarioError> {
        self.part.replicated.get().await.ok_or_else(|| ScenarioError::Missing("there is no Redis set in this run".into()))
    }

    async fn master(&self) -> Result<MultiplexedConnection, ScenarioError> {
        self.set().await?.connect(Account::App).await.map_err(|error| ScenarioError::client("connect to the master", error))
    }

    fn before(&self) -> Option<(Access, String)> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl BackupTarget for Target<'_> {
    type Artifact = Vec<u8>;

    async fn load(&self, dataset: &Dataset) -> Result<(), ScenarioError> {
        load_everywhere(&*self.set().await?, dataset).await
    }

    async fn digests(&self) -> Result<Digests, ScenarioError> {
        content::digests(&mut self.master().await?).await.map_err(|error| ScenarioError::client("read all keys", error))
    }

    async fn back_up(&self) -> Result<Vec<u8>, ScenarioError> {
        let set = self.set().await?;
        let node = source(&set).await?;
        take_snapshot(&set, &node).await?;
        let files = node.get_files(SNAPSHOT).await?;
        let snapshot = files.into_iter().next().map(|(_, bytes)| bytes);
        snapshot.ok_or_else(|| ScenarioError::client("copy the snapshot", format!("{} has no {SNAPSHOT}", node.name())))
    }

    fn size(&self, artifact: &Vec<u8>) -> BackupSize {
        BackupSize { bytes: artifact.len() as u64 }
    }

    async fn sabotage(&self, artifact: &mut Vec<u8>, _id: &str) -> Result<(), ScenarioError> {
        artifact.truncate(artifact.len() / 2);
        Ok(())
    }

    async fn nodes(&self) -> Result<Vec<Node>, ScenarioError> {
        Ok(self.set().await?.nodes())
    }

    async fn destroy(&self) -> Result<(), ScenarioError> {
        let set = self.set().await?;
        *self.before.lock().unwrap_or_else(PoisonError::into_inner) = Some((set.access().clone(), set.prefix().to_owned()));
        self.part.replicated.take().await;
        Ok(set.destroy().await?)
    }

    async fn restore(&self, trial: &Trial, artifact: Vec<u8>) -> Result<(), ScenarioError> {
        let was_restored = self.before().is_some_and(|(_, prefix)| prefix == RESTORED);
        let prefix = if was_restored { "" } else { RESTORED };
        let plan = ReplicatedPlan { prefix: prefix.into(), snapshot: Some(artifact) };
        let set = Replicated::start(trial.ground(), &plan).await?;
        self.part.replicated.put(Arc::new(set)).await;
        Ok(())
    }

    async fn enforcement(&self) -> Result<Vec<Enforcement>, ScenarioError> {
        let set = self.set().await?;
        let node = set.master().await.map_err(|error| ScenarioError::client("find the master", error))?;
        let (address, access) = (node.socket(PORT), set.access());
        let (old, _) = self.before().ok_or_else(|| ScenarioError::Missing("nothing was destroyed, so there is no old password".into()))?;
        let old_password = Access::trusting(&old, access.authority());
        Ok(vec![
            enforcement("login with the new password over TLS", true, ping(access.connect(address, Account::App).await).await),
            enforcement("login with the old password", false, ping(old_password.connect(address, Account::App).await).await),
            enforcement("a command without login", false, ping(access.connect_anonymously(address).await).await),
            enforcement("login without TLS", false, ping(access.connect_plaintext(address, Account::App).await).await),
        ])
    }
}

fn enforcement(attempt: &str, must_succeed: bool, observed: RedisResult<()>) -> Enforcement {
    Enforcement { attempt: attempt.to_owned(), must_succeed, observed: observed.map_err(|error| error.to_string()) }
}

async fn ping(connection: RedisResult<MultiplexedConnection>) -> RedisResult<()> {
    ask::<String>(&mut connection?, &["PING"]).await.map(drop)
}

/// Loads the domain's keys and waits until every replica has them.
pub(crate) async fn load_everywhere(set: &Replicated, dataset: &Dataset) -> Result<(), ScenarioError> {
    let mut master = set.connect(Account::App).await.map_err(|error| ScenarioError::client("connect to the master", error))?;
    content::load(&mut master, dataset).await.map_err(|error| ScenarioError::client("load the keys", error))?;
    let replicas = set.servers().len() - 1;
    if replicas > 0 {
        let words = ["WAIT", &replicas.to_string(), COPY_LIMIT_MS];
        let copied: usize = ask(&mut master, &words).await.map_err(|error| ScenarioError::client("wait for the replicas", error))?;
        if copied < replicas {
            return Err(ScenarioError::client("wait for the replicas", format!("only {copied} of {replicas} have the keys")));
        }
    }
    Ok(())
}

/// A replica, so that the master does not pay for the snapshot; the master where it is alone.
async fn source(set: &Replicated) -> Result<Node, ScenarioError> {
    let master = set.master().await.map_err(|error| ScenarioError::client("find the master", error))?;
    Ok(set.servers().iter().find(|node| node.name() != master.name()).cloned().unwrap_or(master))
}

async fn take_snapshot(set: &Replicated, node: &Node) -> Result<(), ScenarioError> {
    let failed = |error| ScenarioError::client("take a snapshot", error);
    let address: SocketAddr = node.socket(PORT);
    let connection = set.access().connect(address, Account::Backup).await.map_err(failed)?;
    // Refused while another one is under way, which may have begun before the data were complete.
    within("the start of the snapshot", SNAPSHOT_LIMIT, Duration::from_millis(100), || {
        let mut connection = connection.clone();
        async move { ask::<()>(&mut connection, &["BGSAVE"]).await }
    })
    .await?;
    within("the end of the snapshot", SNAPSHOT_LIMIT, Duration::from_millis(50), || {
        let mut connection = connection.clone();
        async move {
            let said = info(&mut connection, "persistence").await.map_err(|error| error.to_string())?;
            let is = |name: &str, value: &str| said.get(name).is_some_and(|found| found == value);
            if !is("rdb_bgsave_in_progress", "0") {
                return Err("the snapshot is being written".to_owned());
            }
            if is("rdb_last_bgsave_status", "ok") { Ok(()) } else { Err("the server failed to write the snapshot".to_owned()) }
        }
    })
    .await?;
    Ok(())
}
