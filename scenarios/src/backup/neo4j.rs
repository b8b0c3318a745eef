//! Neo4j: online backup of the causal cluster, or a dump where there is a single server only.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_fixtures::{content::Digests, dataset::Dataset};
use dora_harness::{
    database::{
        Cluster as _,
        neo4j::{BOLT, BackupFiles, CausalCluster, CommunityServer, Dialect, GraphClient, Login, cypher, domain},
    },
    patience::within,
    platform::Platform,
    security::Secret,
    topology::Node,
};
use tokio::sync::Mutex;

use super::{BackupSize, BackupTarget, Enforcement, full_backup};
use crate::{Database, Pillar, Sabotage, Scenario, ScenarioError, Trial};

const STORE_LEFT_OUT: &str = "store-left-out";
const CLIENT_LIMIT: Duration = Duration::from_secs(30);
const BACKUP_LIMIT: Duration = Duration::from_secs(90);
const COPIES_LIMIT: Duration = Duration::from_secs(60);
const STOP_GRACE: Duration = Duration::from_secs(20);
/// Where a backup lies in the node that takes it, until the harness has fetched it.
const FOLDER: &str = "/dora/data/backup";
/// Asks a single server's start script for a dump before the server runs.
const DUMP_REQUEST: &str = "dump-before-start";

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "backup/neo4j",
    title: "Neo4j: restored into a new cluster from a full backup",
    pillar: Pillar::Backup,
    database: Database::Neo4j,
    clauses: &["BK-FULL-NEO"],
    goal: "A full backup is enough to bring every node and relationship back in a new cluster with other credentials, and that cluster still enforces TLS and authentication.",
    method: &[
        "the domain's graph is loaded, and a digest of every label and relationship type is taken at the leader",
        "the leader takes an online backup (a single server dumps its database offline); the harness keeps it",
        "all servers and volumes are destroyed; new cores with a new password restore the backup before their first start",
        "digests are taken again; the old password, no password and plaintext are tried",
    ],
    does_not_show: &[
        "incremental backups",
        "a point in time between two backups",
        "users and roles beyond the first, which are files and not part of a backup",
    ],
    needs_high_availability: false,
    deadline: Duration::from_secs(300),
    sabotages: &[Sabotage { id: STORE_LEFT_OUT, what: "the store's files are left out of the backup", expects: "content-differs" }],
    run: |trial| Box::pin(async move { full_backup(trial, &Target::of(trial.platform()).await?).await }),
}];

/// What is there now: the cluster, or else the single server.
enum Place {
    Cluster(Arc<CausalCluster>),
    Single(Arc<CommunityServer>),
}

struct Target<'a> {
    platform: &'a Platform,
    /// The password of the destroyed servers.
    old_password: Mutex<Option<Secret>>,
}

struct Artifact {
    files: BackupFiles,
    /// Of the next servers' names: those of the destroyed ones must not come back with them.
    prefix: &'static str,
    is_cluster: bool,
}

impl<'a> Target<'a> {
    async fn of(platform: &'a Platform) -> Result<Self, ScenarioError> {
        let target = Self { platform, old_password: Mutex::default() };
        target.place().await?;
        Ok(target)
    }

    async fn place(&self) -> Result<Place, ScenarioError> {
        if let Some(cluster) = self.platform.neo4j.cluster.get().await {
            return Ok(Place::Cluster(cluster));
        }
        let community = self.platform.neo4j.community.get().await;
        community.map(Place::Single).ok_or_else(|| ScenarioError::Missing("there is no Neo4j".into()))
    }
}

impl Place {
    async fn entry(&self) -> Result<Node, ScenarioError> {
        match self {
            Self::Cluster(cluster) => cluster.leader().await.map_err(|error| ScenarioError::client("find the leader", error)),
            Self::Single(community) => Ok(community.node().clone()),
        }
    }

    fn dialect(&self) -> Dialect {
        match self {
            Self::Cluster(_) => Dialect::Three,
            Self::Single(_) => Dialect::Five,
        }
    }

    fn login(&self) -> Login {
        match self {
            Self::Cluster(cluster) => cluster.login(CLIENT_LIMIT),
            Self::Single(community) => community.login(CLIENT_LIMIT),
        }
    }

    async fn client_of(&self, node: &Node) -> Result<GraphClient, ScenarioError> {
        GraphClient::connect(self.dialect(), node.socket(BOLT), &self.login())
            .await
            .map_err(|error| ScenarioError::client("reach Neo4j", error))
    }
}

const fn other_prefix(name: &str) -> &'static str {
    if name.as_bytes()[0] == b'r' && name.as_bytes()[1] == b'-' { "" } else { "r-" }
}

#[async_trait]
impl BackupTarget for Target<'_> {
    type Artifact = Artifact;

    async fn load(&self, dataset: &Dataset) -> Result<(), ScenarioError> {
        let place = self.place().await?;
        let mut client = place.client_of(&place.entry().await?).await?;
        domain::load(&mut client, place.dialect(), dataset)
            .await
            .map_err(|error| ScenarioError::client("load the domain's graph", error))?;
        let expected = domain::expected_counts(dataset);
        if let Place::Cluster(cluster) = &place {
            for member in cluster.members() {
                within("a complete copy", COPIES_LIMIT, Duration::from_millis(200), || async {
                    let mut client = cluster.client_of(member, CLIENT_LIMIT).await.map_err(|error| error.to_string())?;
                    let there = domain::counts(&mut client).await.map_err(|error| error.to_string())?;
                    if there == expected { Ok(()) } else { Err(format!("{} holds {there:?} of {expected:?}", member.name())) }
                })
                .await?;
            }
        }
        Ok(())
    }

    async fn digests(&self) -> Result<Digests, ScenarioError> {
        let place = self.place().await?;
        let mut client = place.client_of(&place.entry().await?).await?;
        domain::digests(&mut client).await.map_err(|error| ScenarioError::client("read the graph", error))
    }

    async fn back_up(&self) -> Result<Artifact, ScenarioError> {
        let place = self.place().await?;
        let node = place.entry().await?;
        match &place {
            Place::Cluster(_) => {
                node.exec_ok(&["sh", "/dora/bin/backup.sh", FOLDER], &[], BACKUP_LIMIT).await?;
            }
            Place::Single(community) => {
                node.put_files("/dora/config", &[(DUMP_REQUEST, FOLDER.as_bytes(), 0o600)]).await?;
                node.stop(STOP_GRACE).await?;
                node.start().await?;
                within("the single server", BACKUP_LIMIT, Duration::from_millis(300), || community.version()).await?;
            }
        }
        let files = node.get_files(FOLDER).await?;
        node.exec_ok(&["rm", "-rf", FOLDER], &[], CLIENT_LIMIT).await?;
        // The entries start with the folder's own name, which is the node's matter.
        let files =
            files.into_iter().filter_map(|(path, content)| path.split_once('/').map(|(_, path)| (path.to_owned(), content))).collect();
        Ok(Artifact { files, prefix: other_prefix(node.name()), is_cluster: matches!(place, Place::Cluster(_)) })
    }

    fn size(&self, artifact: &Artifact) -> BackupSize {
        BackupSize { bytes: artifact.files.iter().map(|(_, content)| content.len() as u64).sum() }
    }

    async fn sabotage(&self, artifact: &mut Artifact, _id: &str) -> Result<(), ScenarioError> {
        artifact.files.clear();
        Ok(())
    }

    async fn nodes(&self) -> Result<Vec<Node>, ScenarioError> {
        Ok(match self.place().await? {
            Place::Cluster(cluster) => cluster.nodes(),
            Place::Single(community) => community.nodes(),
        })
    }

    async fn destroy(&self) -> Result<(), ScenarioError> {
        match self.place().await? {
            Place::Cluster(cluster) => {
                *self.old_password.lock().await = Some(cluster.password().clone());
                self.platform.neo4j.cluster.take().await;
                cluster.destroy().await?;
            }
            Place::Single(community) => {
                *self.old_password.lock().await = Some(community.password().clone());
                self.platform.neo4j.community.take().await;
                community.destroy().await?;
            }
        }
        Ok(())
    }

    async fn restore(&self, trial: &Trial, artifact: Artifact) -> Result<(), ScenarioError> {
        let Artifact { files, prefix, is_cluster } = artifact;
        if is_cluster {
            let cluster = Box::pin(CausalCluster::start(trial.ground(), prefix, files)).await?;
            self.platform.neo4j.cluster.put(Arc::new(cluster)).await;
        } else {
            let community = Box::pin(CommunityServer::start(trial.ground(), prefix, files)).await?;
            self.platform.neo4j.community.put(Arc::new(community)).await;
        }
        Ok(())
    }

    async fn enforcement(&self) -> Result<Vec<Enforcement>, ScenarioError> {
        let place = self.place().await?;
        let address = place.entry().await?.socket(BOLT);
        let new = place.login();
        let old = Login { password: self.old_password.lock().await.clone(), ..new.clone() };
        let nobody = Login { password: None, ..new.clone() };
        let dialect = place.dialect();
        let alive = cypher("monitoring/alive")?;
        let over_tls = async |login: &Login| {
            let mut client = GraphClient::connect(dialect, address, login).await.map_err(|error| error.to_string())?;
            client.ask(alive).await.map(drop).map_err(|error| error.to_string())
        };
        let plaintext = GraphClient::connect_plaintext(dialect, address, &new).await.map(drop).map_err(|error| error.to_string());
        let attempt = |attempt: &str, must_succeed, observed| Enforcement { attempt: attempt.to_owned(), must_succeed, observed };
        Ok(vec![
            attempt("log-in with the new password over TLS", true, over_tls(&new).await),
            attempt("log-in with the old cluster's password", false, over_tls(&old).await),
            attempt("log-in without a password", false, over_tls(&nobody).await),
            attempt("log-in without TLS", false, plaintext),
        ])
    }
}
