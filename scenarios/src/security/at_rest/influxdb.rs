//! InfluxDB: the nodes of the cluster, and the single one.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_harness::{
    database::{
        Cluster as _,
        influxdb::{Consistency, Form, Influx, InfluxClient, InfluxError, influxql},
    },
    topology::Node,
    volume::VolumePlan,
};

use super::{
    ALONE_IN_THE_CLEAR, ANOTHER_CIPHER, ANOTHERS_KEY, Alone, COPY_BESIDE, Holder, KEY_ON_DISK, PART_OUTSIDE, PLAIN_DIRECTORY, RestTarget,
    at_rest,
};
use crate::{Database, Pillar, Scenario, ScenarioError, Trial};

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "security/influxdb/at-rest",
    title: "InfluxDB: what lies on the disks is encrypted with AES-256",
    pillar: Pillar::Security,
    database: Database::Influxdb,
    clauses: &["SEC-REST-IDB"],
    goal: "Find out whether anything that clients write, or a key, lies on a disk in the clear, and whether the data survive a crash of their encryption.",
    method: &[
        "write a canary as a text field to every node, and let the engine's own backup bring its cache into files",
        "as root, outside of the opened volumes, search everything that each node and its pod have on a disk, and their logs, for the canary and for the volume's key, and the processes of both for the key; the same search has to find files of known content, and the canary in the opened directory",
        "read cipher and key length from the volume's own metadata; try another node's key, a random one and the right one",
        "a server beside the platform is killed while it writes, started without its key, with another's, and with its own: every acknowledged write must be there",
        "durable writes in turns on a plain and on an encrypted volume: the ratio is reported, not judged",
    ],
    does_not_show: &[
        "what a memory dump or swap of the machine would hold",
        "that OpenBao is asked whenever a node starts again: the agent in its pod keeps the key in memory for as long as the pod lives, and tells it to root of the pod's containers",
        "configuration files of the nodes, which hold passwords and TLS keys and lie outside of the volumes",
    ],
    needs_high_availability: false,
    deadline: Duration::from_secs(480),
    sabotages: &[PLAIN_DIRECTORY, ANOTHER_CIPHER, KEY_ON_DISK, COPY_BESIDE, PART_OUTSIDE, ANOTHERS_KEY, ALONE_IN_THE_CLEAR],
    run: |trial| Box::pin(at_rest(trial, Target::of)),
}];

const DATABASE: &str = "dora_at_rest";
/// A backup of one small database.
const BACKUP_LIMIT: Duration = Duration::from_secs(60);
/// Inside of the volume.
const BACKUP: &str = "/dora/data/at-rest-backup";

struct Target {
    deployments: Vec<Arc<Influx>>,
}

fn failed(what: &str) -> impl Fn(InfluxError) -> ScenarioError {
    move |error| ScenarioError::client(what, error)
}

impl Target {
    async fn of(trial: &Trial) -> Result<Self, ScenarioError> {
        let deployments = trial.platform().influxdb.deployments().await;
        if deployments.is_empty() {
            return Err(ScenarioError::Missing("no InfluxDB was started".into()));
        }
        Ok(Self { deployments })
    }
}

#[async_trait]
impl RestTarget for Target {
    async fn write(&self, canary: &str) -> Result<(), ScenarioError> {
        for influx in &self.deployments {
            let nodes = influx.nodes();
            influx.ensure_database(DATABASE, nodes.len()).await.map_err(failed("make a database"))?;
            let owner = influx.owner(&nodes[0]).map_err(failed("connect"))?;
            let line = format!("canary,kind=rest text=\"{canary}\"");
            owner.write(DATABASE, line, Consistency::All).await.map_err(failed("write the canary"))?;
        }
        Ok(())
    }

    async fn flush(&self) -> Result<(), ScenarioError> {
        for influx in &self.deployments {
            for (at, node) in influx.nodes().iter().enumerate() {
                let index = (at + 1).to_string();
                let mut command = vec!["sh", "/dora/bin/backup.sh"];
                if influx.form() == Form::Cluster {
                    command.push(&index);
                }
                command.extend([BACKUP, DATABASE]);
                node.exec_ok(&["rm", "-rf", BACKUP], &[], BACKUP_LIMIT).await?;
                node.exec_ok(&command, &[], BACKUP_LIMIT).await?;
                node.exec_ok(&["rm", "-rf", BACKUP], &[], BACKUP_LIMIT).await?;
            }
        }
        Ok(())
    }

    fn holders(&self, canary: &str) -> Vec<Holder> {
        let nodes = self.deployments.iter().flat_map(|influx| influx.nodes());
        nodes.map(|node| Holder { node, text: canary.to_owned() }).collect()
    }

    fn part(&self) -> Option<&'static str> {
        // Not the log: it is removed as soon as its content is in files.
        Some("/dora/data/data")
    }

    async fn clean(&self) -> Result<(), ScenarioError> {
        for influx in &self.deployments {
            influx.drop_database(DATABASE).await.map_err(failed("remove the canary"))?;
        }
        Ok(())
    }

    async fn alone(&self, trial: &Trial, name: &str, plan: VolumePlan) -> Result<Box<dyn Alone>, ScenarioError> {
        let prefix = format!("{name}-");
        trial.ground().volumes().plan(&trial.ground().topology().influxdb.single.only(&prefix), plan);
        let influx = Influx::start(trial.ground(), Form::Single, &prefix, None).await?;
        influx.ensure_database(DATABASE, 1).await.map_err(failed("make a database"))?;
        let node = influx.nodes().remove(0);
        let owner = influx.owner(&node).map_err(failed("connect"))?;
        Ok(Box::new(Server { influx, node, owner }))
    }
}

struct Server {
    influx: Influx,
    node: Node,
    owner: InfluxClient,
}

#[async_trait]
impl Alone for Server {
    fn node(&self) -> &Node {
        &self.node
    }

    async fn write(&self, number: u64) -> Result<(), String> {
        // The time is the number, or one point would replace the other.
        let line = format!("numbers value={number}i {number}");
        self.owner.write(DATABASE, line, Consistency::All).await.map_err(|error| error.to_string())
    }

    async fn read(&self) -> Result<BTreeSet<u64>, String> {
        let question = influxql("at_rest/numbers").map_err(|error| error.to_string())?;
        let answer = self.owner.query_in(DATABASE, question, None).await.map_err(|error| error.to_string())?;
        let Some(series) = answer.named("numbers") else { return Err("it knows no numbers".into()) };
        let column = series.column("value").ok_or("the answer has no column `value`")?;
        Ok(series.values.iter().filter_map(|row| row.get(column)?.as_u64()).collect())
    }

    async fn destroy(&self) -> Result<(), ScenarioError> {
        Ok(self.influx.destroy().await?)
    }
}
