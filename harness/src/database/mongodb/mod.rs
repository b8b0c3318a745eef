//! MongoDB: a replica set of data nodes, and one of a primary, a secondary and an arbiter.

mod access;
mod archive;
mod certificate_shown;
mod configuration;
mod content;
mod error;
mod member;
mod replica_set;
mod revocation;
mod start;
mod step_down;

use std::sync::Arc;

use async_trait::async_trait;
use dora_fixtures::topology::Topology;
use futures_util::future::{join_all, try_join_all};
use serde::{Deserialize, Serialize};

pub use access::{Access, Connection, Reach, ask_in_plaintext};
pub use archive::{Archive, ArchivedCollection};
pub use certificate_shown::show_certificate;
pub use content::{DATABASE, TRIALS, digests, load, to_json};
pub use error::{MongodbError, limited};
pub use member::MemberState;
pub use replica_set::{ADMIN, APPLICATION, OPERATOR, PORT, Passwords, ReplicaSet, SetRecord};
pub use revocation::{add_revocation_lists, put_revocation_lists};
pub use start::{ArbiterSpec, SetSpec};
pub use step_down::StepDown;

use crate::{
    database::Cluster,
    engine::{Engine, EngineError},
    platform::{Part, Slot},
    topology::{Ground, GroundError, Member},
};

/// Before the names of the nodes of a restored set.
const RESTORED_PREFIX: &str = "r-";

/// MongoDB's share of the platform.
#[derive(Debug, Default)]
pub struct MongodbPart {
    /// The set of data nodes.
    pub replica_set: Slot<ReplicaSet>,
    /// The set with an arbiter.
    pub arbitrated: Slot<ReplicaSet>,
}

/// All sets as data.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    replica_set: Option<SetRecord>,
    arbitrated: Option<SetRecord>,
}

impl MongodbPart {
    /// The set of data nodes of a profile; its nodes' names begin with `prefix`.
    fn data_set(topology: &Topology, prefix: &str) -> SetSpec {
        let nodes = &topology.mongodb.data_node;
        SetSpec {
            cluster: "mongodb".into(),
            set: "rs0".into(),
            data_nodes: nodes.names(prefix),
            memory_bytes: nodes.memory_bytes(),
            arbiter: None,
        }
    }

    /// The set with an arbiter, where the profile has one.
    fn arbitrated_set(topology: &Topology) -> Option<SetSpec> {
        let (nodes, arbiter) = (&topology.mongodb.arbitrated, &topology.mongodb.arbiter);
        (arbiter.count() > 0).then(|| SetSpec {
            cluster: "mongodb-psa".into(),
            set: "psa".into(),
            data_nodes: nodes.names(""),
            memory_bytes: nodes.memory_bytes(),
            arbiter: Some(ArbiterSpec { name: arbiter.only(""), memory_bytes: arbiter.memory_bytes() }),
        })
    }

    /// Starts a new set in place of the one that was destroyed, under names that differ from its.
    ///
    /// # Errors
    /// [`GroundError`].
    pub async fn start_restored(&self, ground: &Ground) -> Result<Arc<ReplicaSet>, GroundError> {
        let old = self.replica_set.take().await;
        let was_restored = old.is_some_and(|set| set.data_nodes().iter().any(|node| node.name().starts_with(RESTORED_PREFIX)));
        let prefix = if was_restored { "" } else { RESTORED_PREFIX };
        let set = Arc::new(ReplicaSet::start(ground, Self::data_set(ground.topology(), prefix)).await?);
        self.replica_set.put(Arc::clone(&set)).await;
        Ok(set)
    }

    async fn sets(&self) -> Vec<Arc<ReplicaSet>> {
        [self.replica_set.get().await, self.arbitrated.get().await].into_iter().flatten().collect()
    }
}

#[async_trait]
impl Part for MongodbPart {
    fn member(&self) -> Member {
        Member::Mongodb
    }

    fn images(&self, _topology: &Topology) -> Vec<&'static str> {
        vec!["mongodb"]
    }

    async fn start(&self, ground: &Ground) -> Result<(), GroundError> {
        let mut slots = vec![(&self.replica_set, Self::data_set(ground.topology(), ""))];
        slots.extend(Self::arbitrated_set(ground.topology()).map(|spec| (&self.arbitrated, spec)));
        let starts = slots.into_iter().map(|(slot, spec)| async move {
            slot.put(Arc::new(ReplicaSet::start(ground, spec).await?)).await;
            Ok::<_, GroundError>(())
        });
        try_join_all(starts).await?;
        Ok(())
    }

    async fn clusters(&self) -> Vec<Arc<dyn Cluster>> {
        self.sets().await.into_iter().map(|set| set as Arc<dyn Cluster>).collect()
    }

    async fn clear(&self) -> Result<(), EngineError> {
        let sets = [self.replica_set.take().await, self.arbitrated.take().await];
        join_all(sets.iter().flatten().map(|set| set.destroy())).await.into_iter().collect()
    }

    async fn save(&self) -> serde_json::Value {
        let record = |set: Option<Arc<ReplicaSet>>| set.map(|set| set.record().clone());
        let saved = Saved { replica_set: record(self.replica_set.get().await), arbitrated: record(self.arbitrated.get().await) };
        if saved.replica_set.is_none() && saved.arbitrated.is_none() {
            return serde_json::Value::Null;
        }
        // Records are texts, numbers and lists of these: there is nothing that could fail to become JSON.
        serde_json::to_value(saved).unwrap_or_default()
    }

    async fn load(&self, engine: &Engine, saved: serde_json::Value) -> Result<(), GroundError> {
        let saved: Saved = serde_json::from_value(saved).map_err(|error| GroundError::database("mongodb", error))?;
        for (slot, record) in [(&self.replica_set, saved.replica_set), (&self.arbitrated, saved.arbitrated)] {
            if let Some(record) = record {
                let cluster = record.cluster.clone();
                let set = ReplicaSet::attach(engine, record).map_err(|error| GroundError::database(&cluster, error))?;
                slot.put(Arc::new(set)).await;
            }
        }
        Ok(())
    }
}
