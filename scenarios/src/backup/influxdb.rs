//! InfluxDB: the whole cluster and the single node are backed up by the engine's own means, destroyed, and restored elsewhere.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_fixtures::{content::Digests, dataset::Dataset};
use dora_harness::{
    database::{
        Cluster as _,
        influxdb::{DATABASE, Form, Influx, InfluxClient, InfluxError, PORT, Passwords, Seed, influxql},
    },
    security::generate_secret,
    topology::Node,
};
use futures_util::future::{try_join, try_join_all};

use super::{BackupSize, BackupTarget, Enforcement, full_backup};
use crate::{Database, Pillar, Sabotage, Scenario, ScenarioError, Trial};

/// A backup or a restore of one node.
const BACKUP_LIMIT: Duration = Duration::from_secs(60);
/// Nothing waits in the queues between nodes by then.
const SETTLE_LIMIT: Duration = Duration::from_secs(70);
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
/// Where a node puts its backup, below its data volume.
const TARGET: &str = "/dora/data/backup";
const SHARD_LEFT_OUT: &str = "shard-left-out";

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "backup/influxdb",
    title: "InfluxDB comes back from a full backup in a new cluster",
    pillar: Pillar::Backup,
    database: Database::Influxdb,
    clauses: &["BK-FULL-IDB"],
    goal: "find out whether a full backup alone is enough to get the same content, in a separate cluster with other credentials",
    method: &[
        "back up every node of the cluster with `influxd backup`, the single node in the portable form, and hold the files outside",
        "destroy all nodes and volumes",
        "restore metadata and shards offline into a new cluster of the same size, replace the passwords that the metadata brought along; restore the single node while it serves",
        "compare the digest of every measurement, node by node, and try the old and the new credentials",
    ],
    does_not_show: &[
        "a restore into a cluster of another size",
        "points that were written while the backup ran",
        "encryption of the backup files",
    ],
    needs_high_availability: false,
    deadline: Duration::from_secs(300),
    sabotages: &[Sabotage {
        id: SHARD_LEFT_OUT,
        what: "the largest shard is missing from the backup of every node",
        expects: "content-differs",
    }],
    run: |trial| Box::pin(run(trial)),
}];

async fn run(trial: &Trial) -> Result<(), ScenarioError> {
    if trial.platform().influxdb.deployments().await.is_empty() {
        return Err(ScenarioError::Missing("no InfluxDB was started".into()));
    }
    full_backup(trial, &Store { trial, old: tokio::sync::Mutex::default() }).await
}

struct Store<'a> {
    trial: &'a Trial,
    /// Form and passwords of what was destroyed.
    old: tokio::sync::Mutex<Vec<(Form, Passwords)>>,
}

/// The backup of one deployment.
struct Copy {
    form: Form,
    prefix: String,
    passwords: Passwords,
    databases: Vec<String>,
    nodes: Vec<Vec<(String, Vec<u8>)>>,
}

/// The backup of all.
struct Artifact {
    copies: Vec<Copy>,
}

fn failed(what: &str) -> impl Fn(InfluxError) -> ScenarioError + '_ {
    move |error| ScenarioError::client(what, error)
}

impl Store<'_> {
    async fn deployments(&self) -> Vec<Arc<Influx>> {
        self.trial.platform().influxdb.deployments().await
    }

    /// A write that waits in a queue is in no shard yet, and the backup of shards would not have it.
    async fn settle(&self, influx: &Influx) -> Result<(), ScenarioError> {
        for node in influx.nodes() {
            let empty = || async {
                let waiting = influx.waiting_hints(&node).await.map_err(|error| error.to_string())?;
                if waiting.is_empty() { Ok(()) } else { Err(format!("writes wait for nodes {waiting:?}")) }
            };
            dora_harness::patience::within("empty queues between nodes", SETTLE_LIMIT, Duration::from_millis(250), empty).await?;
        }
        Ok(())
    }

    async fn copy(&self, influx: &Influx) -> Result<Copy, ScenarioError> {
        self.settle(influx).await?;
        let databases = influx.databases().await.map_err(failed("list the databases"))?;
        let nodes = influx.nodes();
        let nodes = try_join_all(nodes.iter().enumerate().map(|(at, node)| copy_node(influx.form(), at, node, &databases))).await?;
        Ok(Copy { form: influx.form(), prefix: influx.prefix().to_owned(), passwords: influx.passwords().clone(), databases, nodes })
    }

    async fn restore_one(&self, copy: Copy) -> Result<(), ScenarioError> {
        // The other prefix: names of a separate deployment, while the old one's may still be in somebody's notes.
        let prefix = if copy.prefix.is_empty() { "r-" } else { "" };
        let ground = self.trial.ground();
        let Copy { form, nodes, databases, passwords, .. } = copy;
        let influx = match form {
            Form::Cluster => {
                let seed = Seed { nodes, databases, administrator: passwords.administrator };
                Influx::start(ground, form, prefix, Some(seed)).await?
            }
            Form::Single => {
                let influx = Influx::start(ground, form, prefix, None).await?;
                let node = influx.nodes().remove(0);
                let files = nodes.into_iter().next().unwrap_or_default();
                let files: Vec<_> = files.iter().map(|(name, content)| (format!("backup/{name}"), content)).collect();
                let files: Vec<_> = files.iter().map(|(name, content)| (name.as_str(), content.as_slice(), 0o644)).collect();
                node.put_files("/dora", &files).await?;
                node.exec_ok(&["sh", "/dora/bin/restore.sh", "/dora/backup"], &[], BACKUP_LIMIT).await?;
                for database in databases {
                    influx.grant_application(&database).await.map_err(failed("let the application in"))?;
                }
                // The command returns while the engine still opens the shards that it was given; until then a query is refused.
                let opened = || async { influx.digests(&node).await.map(drop) };
                dora_harness::patience::within("the restored shards", BACKUP_LIMIT, Duration::from_millis(100), opened).await?;
                influx
            }
        };
        self.trial.platform().influxdb.slot(form).put(Arc::new(influx)).await;
        Ok(())
    }
}

/// Takes one node's backup and brings it out.
async fn copy_node(form: Form, at: usize, node: &Node, databases: &[String]) -> Result<Vec<(String, Vec<u8>)>, ScenarioError> {
    let index = (at + 1).to_string();
    let mut command = vec!["sh", "/dora/bin/backup.sh"];
    if form == Form::Cluster {
        command.push(&index);
    }
    command.push(TARGET);
    if form == Form::Cluster {
        command.extend(databases.iter().map(String::as_str));
    }
    // What an earlier backup left would end up in this one.
    node.exec_ok(&["rm", "-rf", TARGET], &[], BACKUP_LIMIT).await?;
    node.exec_ok(&command, &[], BACKUP_LIMIT).await?;
    let files = node.get_files(TARGET).await?;
    let name = |path: String| path.rsplit('/').next().map_or_else(|| path.clone(), ToOwned::to_owned);
    Ok(files.into_iter().map(|(path, content)| (name(path), content)).collect())
}

#[async_trait]
impl BackupTarget for Store<'_> {
    type Artifact = Artifact;

    async fn load(&self, dataset: &Dataset) -> Result<(), ScenarioError> {
        for influx in self.deployments().await {
            influx.load_domain(dataset).await.map_err(failed("load the domain's points"))?;
        }
        Ok(())
    }

    async fn digests(&self) -> Result<Digests, ScenarioError> {
        let mut all = Digests::new();
        for influx in self.deployments().await {
            let nodes = influx.nodes();
            let found = try_join_all(nodes.iter().map(|node| influx.digests(node))).await.map_err(failed("read the domain's points"))?;
            for (at, digests) in found.into_iter().enumerate() {
                let place = match influx.form() {
                    Form::Cluster => format!("cluster, node {}", at + 1),
                    Form::Single => "single node".to_owned(),
                };
                all.extend(digests.into_iter().map(|(name, digest)| (format!("{place}: {name}"), digest)));
            }
        }
        Ok(all)
    }

    async fn back_up(&self) -> Result<Artifact, ScenarioError> {
        let deployments = self.deployments().await;
        let copies = try_join_all(deployments.iter().map(|influx| self.copy(influx))).await?;
        Ok(Artifact { copies })
    }

    fn size(&self, artifact: &Artifact) -> BackupSize {
        let files = artifact.copies.iter().flat_map(|copy| copy.nodes.iter().flatten());
        BackupSize { bytes: files.map(|(_, content)| content.len() as u64).sum() }
    }

    async fn sabotage(&self, artifact: &mut Artifact, _id: &str) -> Result<(), ScenarioError> {
        for copy in &mut artifact.copies {
            leave_out_largest_shard(copy);
        }
        Ok(())
    }

    async fn nodes(&self) -> Result<Vec<Node>, ScenarioError> {
        Ok(self.deployments().await.iter().flat_map(|influx| influx.nodes()).collect())
    }

    async fn destroy(&self) -> Result<(), ScenarioError> {
        let deployments = self.deployments().await;
        *self.old.lock().await = deployments.iter().map(|influx| (influx.form(), influx.passwords().clone())).collect();
        drop(deployments);
        dora_harness::platform::Part::clear(&self.trial.platform().influxdb).await?;
        Ok(())
    }

    async fn restore(&self, _trial: &Trial, artifact: Artifact) -> Result<(), ScenarioError> {
        let mut restores = artifact.copies.into_iter().map(|copy| self.restore_one(copy));
        match (restores.next(), restores.next()) {
            (Some(one), Some(other)) => try_join(one, other).await.map(drop),
            (Some(one), None) => one.await,
            _ => Ok(()),
        }
    }

    async fn enforcement(&self) -> Result<Vec<Enforcement>, ScenarioError> {
        let old = self.old.lock().await.clone();
        let mut attempts = Vec::new();
        for influx in self.deployments().await {
            let Some((_, old)) = old.iter().find(|(form, _)| *form == influx.form()) else { continue };
            for node in influx.nodes() {
                attempts.extend(enforce(&influx, &node, old).await);
            }
        }
        Ok(attempts)
    }
}

/// The domain's shard with most bytes goes; whatever else the file format holds stays as it is.
fn leave_out_largest_shard(copy: &mut Copy) {
    let is_shard = |name: &str| match copy.form {
        Form::Cluster => name.starts_with("dora.history."),
        Form::Single => name.ends_with(".tar.gz"),
    };
    let largest = copy.nodes.iter().flatten().filter(|(name, _)| is_shard(name)).max_by_key(|(_, content)| content.len());
    if let Some(largest) = largest.map(|(name, _)| name.clone()) {
        for files in &mut copy.nodes {
            files.retain(|(name, _)| *name != largest);
        }
    }
}

async fn enforce(influx: &Influx, node: &Node, old: &Passwords) -> Vec<Enforcement> {
    let address = node.socket(PORT);
    let encrypted = |access| InfluxClient::new(address, access, REQUEST_LIMIT);
    let guessed = generate_secret();
    let administrator = influx.administrator();
    let clients = [
        ("the owner's new password", true, encrypted(administrator.clone())),
        ("the application's new password", true, encrypted(influx.application())),
        ("the owner's old password", false, encrypted(influx.access(&administrator.user, &old.administrator))),
        ("the application's old password", false, encrypted(influx.access(&influx.application().user, &old.application))),
        ("a wrong password", false, encrypted(influx.access(&administrator.user, &guessed))),
        ("no credentials", false, encrypted(influx.access("", &guessed))),
        ("plaintext with the owner's new password", false, InfluxClient::plaintext(address, administrator.clone(), REQUEST_LIMIT)),
    ];
    let mut attempts = Vec::new();
    for (what, must_succeed, client) in clients {
        let observed = match (client, influxql("monitoring/measurements")) {
            (Ok(client), Ok(question)) => client.query_in(DATABASE, question, None).await.map(drop).map_err(|error| error.to_string()),
            (Err(error), _) | (_, Err(error)) => Err(error.to_string()),
        };
        attempts.push(Enforcement { attempt: format!("{}: {what}", node.name()), must_succeed, observed });
    }
    attempts
}
