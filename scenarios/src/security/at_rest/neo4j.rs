//! Neo4j: cores and replicas of the cluster, and the single server.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_fixtures::assets::{self, AssetError};
use dora_harness::{
    database::{
        Cluster as _,
        neo4j::{CausalCluster, CommunityServer, GraphClient, GraphError},
    },
    patience::within,
    topology::Node,
    volume::VolumePlan,
};
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use super::{
    ALONE_IN_THE_CLEAR, ANOTHER_CIPHER, ANOTHERS_KEY, Alone, COPY_BESIDE, Holder, KEY_ON_DISK, PART_OUTSIDE, PLAIN_DIRECTORY, RestTarget,
    at_rest,
};
use crate::{Database, Pillar, Scenario, ScenarioError, Trial};

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "security/neo4j/at-rest",
    title: "Neo4j: what lies on the disks is encrypted with AES-256",
    pillar: Pillar::Security,
    database: Database::Neo4j,
    clauses: &["SEC-REST-NEO"],
    goal: "Find out whether anything that clients write, or a key, lies on a disk in the clear, and whether the data survive a crash of their encryption.",
    method: &[
        "write a canary through Cypher, wait for every member, and stop and start the single server, which makes it write a checkpoint",
        "as root, outside of the opened volumes, search everything that each node and its pod have on a disk, and their logs, for the canary and for the volume's key, and the processes of both for the key; the same search has to find files of known content, and the canary in the opened directory",
        "read cipher and key length from the volume's own metadata; try another node's key, a random one and the right one",
        "a server beside the platform is killed while it writes, started without its key, with another's, and with its own: every acknowledged write must be there",
        "durable writes in turns on a plain and on an encrypted volume: the ratio is reported, not judged",
    ],
    does_not_show: &[
        "what a memory dump or swap of the machine would hold",
        "that OpenBao is asked whenever a node starts again: the agent in its pod keeps the key in memory for as long as the pod lives, and tells it to root of the pod's containers",
        "configuration files of the nodes, which hold passwords and TLS keys and lie outside of the volumes",
        "store files of the cluster's members, which release 3.3 writes at its own time: their transaction logs hold the canary",
    ],
    needs_high_availability: false,
    deadline: Duration::from_secs(480),
    sabotages: &[PLAIN_DIRECTORY, ANOTHER_CIPHER, KEY_ON_DISK, COPY_BESIDE, PART_OUTSIDE, ANOTHERS_KEY, ALONE_IN_THE_CLEAR],
    run: |trial| Box::pin(at_rest(trial, Target::of)),
}];

const CLIENT_LIMIT: Duration = Duration::from_secs(10);
/// A member has the leader's transactions within this time on a busy machine.
const FOLLOW_LIMIT: Duration = Duration::from_secs(60);
const EVERY: Duration = Duration::from_millis(250);
/// A server that is asked to stop writes a checkpoint, and is killed after this time.
const STOP_GRACE: Duration = Duration::from_secs(30);

struct Target {
    cluster: Option<Arc<CausalCluster>>,
    community: Option<Arc<CommunityServer>>,
}

/// One of this scenario's statements.
fn statement(name: &str) -> Result<&'static str, AssetError> {
    Ok(assets::text(&format!("schema/neo4j/at_rest/{name}.cypher"))?.trim_end())
}

fn failed(what: &str) -> impl Fn(GraphError) -> ScenarioError {
    move |error| ScenarioError::client(what, error)
}

fn with(name: &str, value: Value) -> Map<String, Value> {
    Map::from_iter([(name.to_owned(), value)])
}

impl Target {
    async fn of(trial: &Trial) -> Result<Self, ScenarioError> {
        let part = &trial.platform().neo4j;
        let (cluster, community) = (part.cluster.get().await, part.community.get().await);
        if cluster.is_none() && community.is_none() {
            return Err(ScenarioError::Missing("there is no Neo4j".into()));
        }
        Ok(Self { cluster, community })
    }

    /// Where writes go: the leader, and the single server.
    async fn on_each(&self, statement: &str, parameters: &Map<String, Value>) -> Result<(), ScenarioError> {
        if let Some(cluster) = &self.cluster {
            let at_leader = || async {
                let leader = cluster.leader().await?;
                cluster.client_of(&leader, CLIENT_LIMIT).await?.run(statement, parameters).await
            };
            within("a write at the leader", FOLLOW_LIMIT, EVERY, at_leader).await?;
        }
        if let Some(community) = &self.community {
            let mut client = community.client(CLIENT_LIMIT).await.map_err(failed("connect"))?;
            client.run(statement, parameters).await.map_err(failed("write"))?;
        }
        Ok(())
    }
}

#[async_trait]
impl RestTarget for Target {
    async fn write(&self, canary: &str) -> Result<(), ScenarioError> {
        let parameters = with("canary", canary.into());
        self.on_each(statement("create")?, &parameters).await?;
        let Some(cluster) = &self.cluster else { return Ok(()) };
        let find = statement("find")?;
        for member in cluster.members() {
            within(&format!("the canary on {}", member.name()), FOLLOW_LIMIT, EVERY, || async {
                let rows = match cluster.client_of(member, CLIENT_LIMIT).await {
                    Ok(mut client) => client.run(find, &parameters).await,
                    Err(error) => Err(error),
                };
                let found = rows.map_err(|error| error.to_string())?.first().and_then(|row| row["found"].as_u64());
                if found > Some(0) { Ok(()) } else { Err("it is not there".to_owned()) }
            })
            .await?;
        }
        Ok(())
    }

    async fn flush(&self) -> Result<(), ScenarioError> {
        if let Some(community) = &self.community {
            let question = assets::text("roles/neo4j/questions/login.cypher")?;
            // The Community edition has no statement that forces a checkpoint, but writes one when it is stopped.
            community.node().stop(STOP_GRACE).await?;
            community.node().start().await?;
            within("the single server after its restart", FOLLOW_LIMIT, EVERY, || async {
                community.client(CLIENT_LIMIT).await?.ask(question).await
            })
            .await?;
        }
        Ok(())
    }

    fn holders(&self, canary: &str) -> Vec<Holder> {
        let members = self.cluster.iter().flat_map(|cluster| cluster.members()).cloned();
        let single = self.community.iter().map(|community| community.node().clone());
        members.chain(single).map(|node| Holder { node, text: canary.to_owned() }).collect()
    }

    fn part(&self) -> Option<&'static str> {
        Some(if self.community.is_some() { "/dora/data/data/transactions" } else { "/dora/data/data/databases" })
    }

    async fn clean(&self) -> Result<(), ScenarioError> {
        self.on_each(statement("remove")?, &Map::new()).await
    }

    async fn alone(&self, trial: &Trial, name: &str, plan: VolumePlan) -> Result<Box<dyn Alone>, ScenarioError> {
        let prefix = format!("{name}-");
        trial.ground().volumes().plan(&trial.ground().topology().neo4j.community.only(&prefix), plan);
        let server = Box::pin(CommunityServer::start(trial.ground(), &prefix, Vec::new())).await?;
        Ok(Box::new(Server { server, client: Mutex::new(None) }))
    }
}

struct Server {
    server: CommunityServer,
    client: Mutex<Option<GraphClient>>,
}

#[async_trait]
impl Alone for Server {
    fn node(&self) -> &Node {
        self.server.node()
    }

    async fn write(&self, number: u64) -> Result<(), String> {
        let mut kept = self.client.lock().await;
        let mut client = match kept.take() {
            Some(client) => client,
            None => self.server.client(CLIENT_LIMIT).await.map_err(|error| error.to_string())?,
        };
        client
            .run(statement("number").map_err(|error| error.to_string())?, &with("number", number.into()))
            .await
            .map_err(|error| error.to_string())?;
        *kept = Some(client);
        Ok(())
    }

    async fn read(&self) -> Result<BTreeSet<u64>, String> {
        let mut client = self.server.client(CLIENT_LIMIT).await.map_err(|error| error.to_string())?;
        let rows = client.ask(statement("numbers").map_err(|error| error.to_string())?).await.map_err(|error| error.to_string())?;
        Ok(rows.iter().filter_map(|row| row["number"].as_u64()).collect())
    }

    async fn destroy(&self) -> Result<(), ScenarioError> {
        Ok(self.server.destroy().await?)
    }
}
