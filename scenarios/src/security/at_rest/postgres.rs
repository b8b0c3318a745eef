//! PostgreSQL: servers, and etcd beside them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_fixtures::assets;
use dora_harness::{
    database::postgres::{AccessError, Login, PostgresCluster, SERVER_PORT, connect},
    patience::within,
    topology::Node,
    volume::VolumePlan,
};
use sqlx::PgConnection;
use tokio::{sync::Mutex, time::timeout};

use super::{
    ALONE_IN_THE_CLEAR, ANOTHER_CIPHER, ANOTHERS_KEY, Alone, COPY_BESIDE, Holder, KEY_ON_DISK, PART_OUTSIDE, PLAIN_DIRECTORY, RestTarget,
    at_rest,
};
use crate::{Database, Pillar, Scenario, ScenarioError, Trial};

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "security/postgres/at-rest",
    title: "PostgreSQL: what lies on the disks is encrypted with AES-256",
    pillar: Pillar::Security,
    database: Database::Postgres,
    clauses: &["SEC-REST-PG"],
    goal: "Find out whether anything that clients write, or a key, lies on a disk in the clear, and whether the data survive a crash of their encryption.",
    method: &[
        "write a canary through SQL, wait for the replicas, force a checkpoint on every server",
        "as root, outside of the opened volumes, search everything that each node and its pod have on a disk, and their logs, for the canary and for the volume's key, and the processes of both for the key; the same search has to find files of known content, and the canary in the opened directory",
        "read cipher and key length from the volume's own metadata; try another node's key, a random one and the right one",
        "a server beside the platform is killed while it writes, started without its key, with another's, and with its own: every acknowledged write must be there",
        "durable writes in turns on a plain and on an encrypted volume: the ratio is reported, not judged",
    ],
    does_not_show: &[
        "what a memory dump or swap of the machine would hold",
        "that OpenBao is asked whenever a node starts again: the agent in its pod keeps the key in memory for as long as the pod lives, and tells it to root of the pod's containers",
        "configuration files of the nodes, which hold passwords and TLS keys and lie outside of the volumes",
        "backups, which pgBackRest encrypts by itself with AES-256 (BK-ENC); their volume is searched for the canary nevertheless",
        "the pooler, which holds no data",
        "names of keys in etcd's log, which is searched for the canary only",
    ],
    needs_high_availability: false,
    deadline: Duration::from_secs(480),
    sabotages: &[PLAIN_DIRECTORY, ANOTHER_CIPHER, KEY_ON_DISK, COPY_BESIDE, PART_OUTSIDE, ANOTHERS_KEY, ALONE_IN_THE_CLEAR],
    run: |trial| Box::pin(at_rest(trial, Target::of)),
}];

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const STATEMENT_LIMIT: Duration = Duration::from_secs(15);
/// Replicas follow within this time on a busy machine.
const FOLLOW_LIMIT: Duration = Duration::from_secs(40);
const EVERY: Duration = Duration::from_millis(200);
/// What Patroni keeps in etcd from the first second on: the key that names the leader.
const IN_ETCD: &str = "/dora/dora/leader";

struct Target {
    cluster: Arc<PostgresCluster>,
}

impl Target {
    async fn of(trial: &Trial) -> Result<Self, ScenarioError> {
        let missing = || ScenarioError::Missing("there is no PostgreSQL cluster".to_owned());
        Ok(Self { cluster: trial.platform().postgres.cluster().await.ok_or_else(missing)? })
    }

    async fn application(&self) -> Result<PgConnection, ScenarioError> {
        Ok(within("a connection to the primary", FOLLOW_LIMIT, EVERY, || self.cluster.primary_connection()).await?)
    }

    async fn caught_up(&self) -> Result<(), ScenarioError> {
        let others = self.cluster.servers().len() - 1;
        within("all replicas at the primary's position", FOLLOW_LIMIT, EVERY, || async {
            match self.cluster.caught_up().await {
                Ok(count) if count == others => Ok(()),
                Ok(count) => Err(format!("{count} of {others} are there")),
                Err(error) => Err(error),
            }
        })
        .await?;
        Ok(())
    }
}

async fn run(connection: &mut PgConnection, path: &str) -> Result<(), ScenarioError> {
    let failed = |reason: String| ScenarioError::client(format!("run {path}"), reason);
    timeout(STATEMENT_LIMIT, sqlx::raw_sql(assets::text(path)?).execute(connection))
        .await
        .map_err(|_elapsed| failed(AccessError::Deadline(STATEMENT_LIMIT).to_string()))?
        .map_err(|error| failed(error.to_string()))?;
    Ok(())
}

#[async_trait]
impl RestTarget for Target {
    async fn write(&self, canary: &str) -> Result<(), ScenarioError> {
        let mut connection = self.application().await?;
        run(&mut connection, "schema/postgres/at_rest/prepare.sql").await?;
        let insert = sqlx::query(assets::text("schema/postgres/at_rest/insert.sql")?).bind(canary);
        let failed = |reason: String| ScenarioError::client("write the canary", reason);
        timeout(STATEMENT_LIMIT, insert.execute(&mut connection))
            .await
            .map_err(|_elapsed| failed(AccessError::Deadline(STATEMENT_LIMIT).to_string()))?
            .map_err(|error| failed(error.to_string()))?;
        self.caught_up().await
    }

    async fn flush(&self) -> Result<(), ScenarioError> {
        let primary = within("a primary", FOLLOW_LIMIT, EVERY, || self.cluster.primary()).await?;
        let others = self.cluster.servers().iter().filter(|server| server.name() != primary.name());
        for server in [&primary].into_iter().chain(others) {
            let login = self.cluster.superuser_login(server);
            let mut connection =
                connect(&login, CONNECT_LIMIT).await.map_err(|error| ScenarioError::client("connect as superuser", error))?;
            run(&mut connection, "schema/postgres/at_rest/checkpoint.sql").await?;
            self.caught_up().await?;
        }
        Ok(())
    }

    fn holders(&self, canary: &str) -> Vec<Holder> {
        let holder = |text: &str| {
            let text = text.to_owned();
            move |node: &Node| Holder { node: node.clone(), text: text.clone() }
        };
        let etcd = self.cluster.etcd().iter().map(holder(IN_ETCD));
        etcd.chain(self.cluster.servers().iter().map(holder(canary))).collect()
    }

    fn part(&self) -> Option<&'static str> {
        Some("/dora/data/pgdata/pg_wal")
    }

    async fn clean(&self) -> Result<(), ScenarioError> {
        run(&mut self.application().await?, "schema/postgres/at_rest/clean.sql").await
    }

    async fn alone(&self, trial: &Trial, name: &str, plan: VolumePlan) -> Result<Box<dyn Alone>, ScenarioError> {
        let prefix = format!("{name}-");
        trial.ground().volumes().plan(&trial.ground().topology().postgres.server.numbered(1, &prefix), plan);
        let cluster = PostgresCluster::start_alone(trial.ground(), &prefix).await?;
        let login = cluster.application_login(cluster.servers()[0].socket(SERVER_PORT));
        let server = Server { cluster, login, connection: Mutex::new(None) };
        let mut connection =
            connect(&server.login, CONNECT_LIMIT).await.map_err(|error| ScenarioError::client("connect as application", error))?;
        run(&mut connection, "schema/postgres/inserts/prepare.sql").await?;
        Ok(Box::new(server))
    }
}

struct Server {
    cluster: PostgresCluster,
    login: Login,
    connection: Mutex<Option<PgConnection>>,
}

impl Server {
    async fn connect(&self) -> Result<PgConnection, String> {
        connect(&self.login, CONNECT_LIMIT).await.map_err(|error| error.to_string())
    }
}

#[async_trait]
impl Alone for Server {
    fn node(&self) -> &Node {
        &self.cluster.servers()[0]
    }

    async fn write(&self, number: u64) -> Result<(), String> {
        let mut kept = self.connection.lock().await;
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let insert = assets::text("schema/postgres/inserts/insert.sql").map_err(|error| error.to_string())?;
        let insert = sqlx::query(insert).bind(number.cast_signed()).execute(&mut connection);
        timeout(STATEMENT_LIMIT, insert).await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        *kept = Some(connection);
        Ok(())
    }

    async fn read(&self) -> Result<BTreeSet<u64>, String> {
        let question = assets::text("schema/postgres/inserts/present.sql").map_err(|error| error.to_string())?;
        let mut connection = self.connect().await?;
        let read = sqlx::query_scalar::<_, i64>(question).fetch_all(&mut connection);
        let values = timeout(STATEMENT_LIMIT, read).await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        Ok(values.into_iter().map(i64::cast_unsigned).collect())
    }

    async fn destroy(&self) -> Result<(), ScenarioError> {
        Ok(dora_harness::database::Cluster::destroy(&self.cluster).await?)
    }
}
