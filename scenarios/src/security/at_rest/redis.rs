//! Redis: master, replicas, Cluster nodes.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_harness::{
    database::{
        Cluster as _,
        redis::{Access, Account, Keeping, PORT, Replicated, Sharded, Single, ask, info},
    },
    patience::within,
    topology::Node,
    volume::VolumePlan,
};
use futures_util::future::try_join_all;
use redis::aio::MultiplexedConnection;
use tokio::sync::Mutex;

use super::{
    ALONE_IN_THE_CLEAR, ANOTHER_CIPHER, ANOTHERS_KEY, Alone, COPY_BESIDE, FORGETFUL, Holder, KEY_ON_DISK, PLAIN_DIRECTORY, RestTarget,
    at_rest,
};
use crate::{Database, Pillar, Sabotage, Scenario, ScenarioError, Trial};

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "security/redis/at-rest",
    title: "Redis: what lies on the disks is encrypted with AES-256",
    pillar: Pillar::Security,
    database: Database::Redis,
    clauses: &["SEC-REST-RDS"],
    goal: "Find out whether anything that clients write, or a key, lies on a disk in the clear, and whether the data survive a crash of their encryption.",
    method: &[
        "write a canary under many keys, so that every server holds it; rewrite the append-only file and take a snapshot on each",
        "as root, outside of the opened volumes, search everything that each node and its pod have on a disk, and their logs, for the canary and for the volume's key, and the processes of both for the key; the same search has to find files of known content, and the canary in the opened directory",
        "read cipher and key length from the volume's own metadata; try another node's key, a random one and the right one",
        "a server beside the platform is killed while it writes, started without its key, with another's, and with its own: every acknowledged write must be there",
        "durable writes in turns on a plain and on an encrypted volume: the ratio is reported, not judged",
    ],
    does_not_show: &[
        "what a memory dump or swap of the machine would hold",
        "that OpenBao is asked whenever a node starts again: the agent in its pod keeps the key in memory for as long as the pod lives, and tells it to root of the pod's containers",
        "configuration files of the nodes, which hold passwords and TLS keys and lie outside of the volumes",
        "Sentinels, which hold no data of clients",
    ],
    needs_high_availability: false,
    deadline: Duration::from_secs(480),
    sabotages: &[
        PLAIN_DIRECTORY,
        ANOTHER_CIPHER,
        KEY_ON_DISK,
        COPY_BESIDE,
        ANOTHERS_KEY,
        ALONE_IN_THE_CLEAR,
        Sabotage {
            id: FORGETFUL,
            what: "the server that is killed keeps snapshots only, and acknowledges as if it kept everything",
            expects: "acknowledged-write-lost",
        },
    ],
    run: |trial| Box::pin(at_rest(trial, Target::of)),
}];

/// Keys of the canary: so many that no shard of the Cluster goes without.
const KEYS: usize = 60;
const KEY: &str = "app:rest:canary";
const NUMBERS: &str = "app:rest:numbers";
/// A snapshot or rewrite of little data, on a busy machine.
const FLUSH_LIMIT: Duration = Duration::from_secs(30);
const EVERY: Duration = Duration::from_millis(100);

struct Target {
    replicated: Arc<Replicated>,
    sharded: Option<Arc<Sharded>>,
}

impl Target {
    async fn of(trial: &Trial) -> Result<Self, ScenarioError> {
        let part = &trial.platform().redis;
        let replicated = part.replicated.get().await.ok_or_else(|| ScenarioError::Missing("there is no Redis in this run".into()))?;
        Ok(Self { replicated, sharded: part.sharded.get().await })
    }

    fn servers(&self) -> Vec<(Node, Access)> {
        let sharded = self.sharded.iter().flat_map(|sharded| sharded.nodes().into_iter().map(|node| (node, sharded.access().clone())));
        let replicated = self.replicated.servers().iter().map(|node| (node.clone(), self.replicated.access().clone()));
        sharded.chain(replicated).collect()
    }

    async fn master(&self) -> Result<MultiplexedConnection, ScenarioError> {
        let find = || async {
            for node in self.replicated.servers() {
                let Ok(mut connection) = self.replicated.access().connect(node.socket(PORT), Account::App).await else { continue };
                let role = info(&mut connection, "replication").await.ok().and_then(|about| about.get("role").cloned());
                if role.as_deref() == Some("master") {
                    return Ok(connection);
                }
            }
            Err("no server says that it is the master")
        };
        Ok(within("a master", FLUSH_LIMIT, EVERY, find).await?)
    }

    /// One command for each key, on the set and on the Cluster.
    async fn on_all_keys(&self, command: impl Fn(&str) -> redis::Cmd) -> Result<(), ScenarioError> {
        let failed = |error| ScenarioError::client("write the canary", error);
        let mut master = self.master().await?;
        let mut cluster = match &self.sharded {
            Some(sharded) => {
                let client = sharded.access().cluster_client(&sharded.addresses(), Account::App, 3).map_err(failed)?;
                Some(client.get_async_connection().await.map_err(failed)?)
            }
            None => None,
        };
        for number in 0..KEYS {
            let command = command(&format!("{KEY}:{number}"));
            command.query_async::<redis::Value>(&mut master).await.map_err(failed)?;
            if let Some(cluster) = &mut cluster {
                command.query_async::<redis::Value>(cluster).await.map_err(failed)?;
            }
        }
        Ok(())
    }
}

async fn persist(node: &Node, access: &Access) -> Result<(), ScenarioError> {
    let name = node.name();
    let idle = |field: &'static str| async move {
        let mut connection = access.connect(node.socket(PORT), Account::Admin).await.map_err(|error| error.to_string())?;
        let about = info(&mut connection, "persistence").await.map_err(|error| error.to_string())?;
        match about.get(field).map(String::as_str) {
            Some("0") => Ok(connection),
            other => Err(format!("{field} is {other:?}")),
        }
    };
    for (command, field) in [("BGREWRITEAOF", "aof_rewrite_in_progress"), ("BGSAVE", "rdb_bgsave_in_progress")] {
        let begin = || async {
            let mut connection = idle("rdb_bgsave_in_progress").await?;
            ask::<String>(&mut connection, &[command]).await.map_err(|error| error.to_string())
        };
        within(&format!("{command} on {name}"), FLUSH_LIMIT, EVERY, begin).await?;
        within(&format!("the end of {command} on {name}"), FLUSH_LIMIT, EVERY, || idle(field)).await?;
    }
    Ok(())
}

#[async_trait]
impl RestTarget for Target {
    async fn write(&self, canary: &str) -> Result<(), ScenarioError> {
        self.on_all_keys(|key| {
            let mut command = redis::cmd("SET");
            command.arg(key).arg(canary);
            command
        })
        .await
    }

    async fn flush(&self) -> Result<(), ScenarioError> {
        let servers = self.servers();
        try_join_all(servers.iter().map(|(node, access)| persist(node, access))).await?;
        Ok(())
    }

    fn holders(&self, canary: &str) -> Vec<Holder> {
        self.servers().into_iter().map(|(node, _)| Holder { node, text: canary.to_owned() }).collect()
    }

    async fn clean(&self) -> Result<(), ScenarioError> {
        self.on_all_keys(|key| {
            let mut command = redis::cmd("DEL");
            command.arg(key);
            command
        })
        .await
    }

    fn part(&self) -> Option<&'static str> {
        None
    }

    async fn alone(&self, trial: &Trial, name: &str, plan: VolumePlan) -> Result<Box<dyn Alone>, ScenarioError> {
        trial.ground().volumes().plan(name, plan);
        let keeping = if trial.is_sabotaged_by(FORGETFUL) { Keeping::Snapshots } else { Keeping::Always };
        let single = Single::start(trial.ground(), name, keeping).await?;
        Ok(Box::new(Server { single, connection: Mutex::new(None) }))
    }
}

struct Server {
    single: Single,
    connection: Mutex<Option<MultiplexedConnection>>,
}

#[async_trait]
impl Alone for Server {
    fn node(&self) -> &Node {
        self.single.node()
    }

    async fn write(&self, number: u64) -> Result<(), String> {
        let mut kept = self.connection.lock().await;
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => self.single.connect(Account::App).await.map_err(|error| error.to_string())?,
        };
        ask::<u64>(&mut connection, &["RPUSH", NUMBERS, &number.to_string()]).await.map_err(|error| error.to_string())?;
        *kept = Some(connection);
        Ok(())
    }

    async fn read(&self) -> Result<BTreeSet<u64>, String> {
        let mut connection = self.single.connect(Account::App).await.map_err(|error| error.to_string())?;
        let numbers: Vec<u64> = ask(&mut connection, &["LRANGE", NUMBERS, "0", "-1"]).await.map_err(|error| error.to_string())?;
        Ok(numbers.into_iter().collect())
    }

    async fn destroy(&self) -> Result<(), ScenarioError> {
        Ok(self.single.destroy().await?)
    }
}
