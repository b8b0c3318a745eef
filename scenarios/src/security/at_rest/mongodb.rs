//! MongoDB: the data nodes of both sets.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_harness::{
    database::{
        Cluster as _,
        mongodb::{DATABASE, MongodbError, ReplicaSet, SetSpec, limited},
    },
    topology::Node,
    volume::VolumePlan,
};
use futures_util::TryStreamExt as _;
use mongodb::{
    Collection,
    bson::{Document, doc},
    options::WriteConcern,
};

use super::{
    ALONE_IN_THE_CLEAR, ANOTHER_CIPHER, ANOTHERS_KEY, Alone, COPY_BESIDE, Holder, KEY_ON_DISK, PART_OUTSIDE, PLAIN_DIRECTORY, RestTarget,
    at_rest,
};
use crate::{Database, Pillar, Scenario, ScenarioError, Trial};

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "security/mongodb/at-rest",
    title: "MongoDB: what lies on the disks is encrypted with AES-256",
    pillar: Pillar::Security,
    database: Database::Mongodb,
    clauses: &["SEC-REST-MDB"],
    goal: "Find out whether anything that clients write, or a key, lies on a disk in the clear, and whether the data survive a crash of their encryption.",
    method: &[
        "write a canary as a document, wait for every copy, flush every data node with `fsync`",
        "as root, outside of the opened volumes, search everything that each node and its pod have on a disk, and their logs, for the canary and for the volume's key, and the processes of both for the key; the same search has to find files of known content, and the canary in the opened directory",
        "read cipher and key length from the volume's own metadata; try another node's key, a random one and the right one",
        "a server beside the platform is killed while it writes, started without its key, with another's, and with its own: every acknowledged write must be there",
        "durable writes in turns on a plain and on an encrypted volume: the ratio is reported, not judged",
    ],
    does_not_show: &[
        "what a memory dump or swap of the machine would hold",
        "that OpenBao is asked whenever a node starts again: the agent in its pod keeps the key in memory for as long as the pod lives, and tells it to root of the pod's containers",
        "configuration files of the nodes, which hold passwords and TLS keys and lie outside of the volumes",
        "the arbiter, which holds no data",
    ],
    needs_high_availability: false,
    deadline: Duration::from_secs(480),
    sabotages: &[PLAIN_DIRECTORY, ANOTHER_CIPHER, KEY_ON_DISK, COPY_BESIDE, PART_OUTSIDE, ANOTHERS_KEY, ALONE_IN_THE_CLEAR],
    run: |trial| Box::pin(at_rest(trial, Target::of)),
}];

/// One small request.
const REQUEST_LIMIT: Duration = Duration::from_secs(15);
/// A copy on every data node, on a busy machine.
const COPY_LIMIT: Duration = Duration::from_secs(30);
const COLLECTION: &str = "at_rest";

struct Target {
    sets: Vec<Arc<ReplicaSet>>,
}

fn client_error(error: MongodbError) -> ScenarioError {
    let (what, reason) = error.into_parts();
    ScenarioError::client(what, reason)
}

impl Target {
    async fn of(trial: &Trial) -> Result<Self, ScenarioError> {
        let platform = &trial.platform().mongodb;
        let sets: Vec<_> = [platform.arbitrated.get().await, platform.replica_set.get().await].into_iter().flatten().collect();
        if sets.is_empty() {
            return Err(ScenarioError::Missing("no replica set is there".into()));
        }
        Ok(Self { sets })
    }
}

fn collection(set: &ReplicaSet) -> Collection<Document> {
    set.admin().database(DATABASE).collection(COLLECTION)
}

#[async_trait]
impl RestTarget for Target {
    async fn write(&self, canary: &str) -> Result<(), ScenarioError> {
        for set in &self.sets {
            let request = collection(set);
            limited("write the canary", REQUEST_LIMIT, request.insert_one(doc! { "canary": canary })).await.map_err(client_error)?;
            set.copied_everywhere(COPY_LIMIT).await.map_err(client_error)?;
        }
        Ok(())
    }

    async fn flush(&self) -> Result<(), ScenarioError> {
        for set in &self.sets {
            for node in set.data_nodes() {
                let member = set.administrator_of(node).map_err(client_error)?;
                let flush = member.database("admin");
                limited("flush a member", REQUEST_LIMIT, flush.run_command(doc! { "fsync": 1 })).await.map_err(client_error)?;
            }
        }
        Ok(())
    }

    fn holders(&self, canary: &str) -> Vec<Holder> {
        let nodes = self.sets.iter().flat_map(|set| set.data_nodes());
        nodes.map(|node| Holder { node: node.clone(), text: canary.to_owned() }).collect()
    }

    fn part(&self) -> Option<&'static str> {
        Some("/dora/data/db/journal")
    }

    async fn clean(&self) -> Result<(), ScenarioError> {
        for set in &self.sets {
            let request = collection(set);
            limited("remove the canary", REQUEST_LIMIT, request.drop()).await.map_err(client_error)?;
        }
        Ok(())
    }

    async fn alone(&self, trial: &Trial, name: &str, plan: VolumePlan) -> Result<Box<dyn Alone>, ScenarioError> {
        trial.ground().volumes().plan(name, plan);
        let memory_bytes = trial.ground().topology().mongodb.data_node.memory_bytes();
        let data_nodes = vec![name.to_owned()];
        let spec = SetSpec { cluster: name.to_owned(), set: name.to_owned(), data_nodes, memory_bytes, arbiter: None };
        Ok(Box::new(Server { set: ReplicaSet::start(trial.ground(), spec).await? }))
    }
}

struct Server {
    set: ReplicaSet,
}

#[async_trait]
impl Alone for Server {
    fn node(&self) -> &Node {
        &self.set.data_nodes()[0]
    }

    async fn write(&self, number: u64) -> Result<(), String> {
        let request = collection(&self.set);
        let insert = request.insert_one(doc! { "number": number.cast_signed() }).write_concern(WriteConcern::majority());
        limited("insert a number", REQUEST_LIMIT, insert).await.map(drop).map_err(|error| error.to_string())
    }

    async fn read(&self) -> Result<BTreeSet<u64>, String> {
        let all = async {
            let found: Vec<Document> = collection(&self.set).find(doc! {}).await?.try_collect().await?;
            Ok::<_, mongodb::error::Error>(found)
        };
        let found = limited("read the numbers", REQUEST_LIMIT, all).await.map_err(|error| error.to_string())?;
        Ok(found.iter().filter_map(|document| document.get_i64("number").ok()).map(i64::cast_unsigned).collect())
    }

    async fn destroy(&self) -> Result<(), ScenarioError> {
        Ok(self.set.destroy().await?)
    }
}
