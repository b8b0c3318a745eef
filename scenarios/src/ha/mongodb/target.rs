//! A replica set under load, struck as its case says.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use dora_harness::{
    database::{
        Cluster as _,
        mongodb::{MongodbError, PORT, Reach, ReplicaSet, TRIALS, limited},
    },
    platform::all_healthy,
    topology::Node,
    workload::{Client, InsertClient},
};
use futures_util::future::try_join_all;
use mongodb::bson::Document;

use super::{
    super::{CheckedLoad, Course, HaTarget, NodeProber, Strike, lacking, outage},
    case::Case,
    client::{Inserter, Prober},
    demand::Demand,
    loads, sabotage,
    split_brain::SplitBrain,
    values,
};
use crate::{
    ScenarioError, Trial,
    security::mongodb::{client_error, replica_set},
};

/// The collection that the load inserts into.
const INSERTS: &str = "inserts";
/// The collection that the probers write to.
const WRITABLE: &str = "writable";
/// A request outside the load.
const REQUEST_LIMIT: Duration = Duration::from_secs(20);
/// Until all copies are equal while the load goes on.
const COPY_LIMIT: Duration = Duration::from_secs(2);
/// How long a member may take to be found.
const SELECTION: Duration = Duration::from_secs(3);

/// One set and one case.
struct Replicated {
    set: Arc<ReplicaSet>,
    case: Case,
    sabotage: Option<&'static str>,
    /// The secondary that the fault has to hit.
    chosen: Mutex<Option<Node>>,
}

/// Strikes the set of data nodes.
pub(super) async fn strike(trial: &Trial, case: Case, course: Course) -> Result<(), ScenarioError> {
    strike_set(trial, replica_set(trial).await?, case, course).await
}

/// Strikes a set.
pub(super) async fn strike_set(trial: &Trial, set: Arc<ReplicaSet>, case: Case, course: Course) -> Result<(), ScenarioError> {
    outage(trial, &Replicated::of(trial, set, case), course).await
}

/// The trial's set, whose primary will be killed: for a scenario over several databases.
pub async fn primary_killed(trial: &Trial) -> Result<Box<dyn HaTarget>, ScenarioError> {
    Ok(Box::new(Replicated::of(trial, replica_set(trial).await?, Case::PrimaryKilled)))
}

impl Replicated {
    fn of(trial: &Trial, set: Arc<ReplicaSet>, case: Case) -> Self {
        Self { set, case, sabotage: trial.sabotage.map(|sabotage| sabotage.id), chosen: Mutex::default() }
    }

    fn demand(&self) -> Demand {
        Demand::under(self.sabotage)
    }
}

#[async_trait]
impl HaTarget for Replicated {
    async fn prepare(&self) -> Result<(), ScenarioError> {
        let database = self.set.admin().database(TRIALS);
        for name in [INSERTS, WRITABLE].iter().chain(loads::COLLECTIONS) {
            limited("drop the collection", REQUEST_LIMIT, database.collection::<Document>(name).drop()).await.map_err(client_error)?;
            limited("create the collection", REQUEST_LIMIT, database.create_collection(*name)).await.map_err(client_error)?;
        }
        self.set.copied_everywhere(REQUEST_LIMIT / 2).await.map_err(client_error)
    }

    async fn clients(&self, count: usize) -> Result<Vec<Box<dyn InsertClient>>, ScenarioError> {
        let open = |_| Inserter::open(&self.set, INSERTS, self.demand().write).map(|client| Box::new(client) as Box<dyn InsertClient>);
        (0..count).map(open).collect::<Result<_, _>>().map_err(client_error)
    }

    async fn loads(&self) -> Result<Vec<CheckedLoad>, ScenarioError> {
        loads::of(self.case, &self.set, &self.demand()).map_err(client_error)
    }

    async fn probers(&self) -> Result<Vec<NodeProber>, ScenarioError> {
        let open = |node: &Node| {
            let prober = Prober::open(&self.set, node, WRITABLE)?;
            Ok::<_, MongodbError>((node.name().to_owned(), Box::new(prober) as Box<dyn Client>))
        };
        self.set.data_nodes().iter().map(open).collect::<Result<_, _>>().map_err(client_error)
    }

    async fn strike(&self) -> Result<Strike, ScenarioError> {
        let chosen = self.chosen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let strike = self.case.strike(&self.set, chosen, self.sabotage == Some(sabotage::NO_SUCCESSOR)).await?;
        if self.sabotage != Some(sabotage::SPLIT_BRAIN) {
            return Ok(strike);
        }
        let node = strike.hit.first().cloned().ok_or_else(|| ScenarioError::Missing("nobody was hit".into()))?;
        let partition = Case::isolation(&self.set, &node);
        Ok(Strike { fault: Box::new(SplitBrain { partition, set: Arc::clone(&self.set), node }), ..strike })
    }

    async fn has_noticed(&self, hit: &[Node]) -> Result<(), String> {
        self.case.is_noticed(&self.set, hit).await
    }

    async fn is_redundant(&self, _hit: &[Node]) -> Result<(), String> {
        all_healthy(&self.set.health().await)?;
        self.set.copied_everywhere(COPY_LIMIT).await.map_err(|error| error.to_string())
    }

    async fn present(&self) -> Result<Vec<u64>, ScenarioError> {
        values::committed(&self.set, INSERTS).await.map_err(client_error)
    }

    async fn incomplete(&self, acknowledged: &BTreeSet<u64>) -> Result<Vec<(Node, Vec<u64>)>, ScenarioError> {
        // What was committed first: it has to reach every member.
        let committed: BTreeSet<u64> = values::committed(&self.set, INSERTS).await.map_err(client_error)?.into_iter().collect();
        let copies = self.set.data_nodes().iter().map(|node| async move {
            let member = self.set.application(&Reach::Member(node.socket(PORT)), SELECTION)?;
            let held: BTreeSet<u64> = values::held_by(&member, INSERTS).await?.into_iter().collect();
            Ok::<_, MongodbError>((node.clone(), held))
        });
        Ok(lacking(acknowledged, &committed, try_join_all(copies).await.map_err(client_error)?))
    }

    async fn sabotage(&self, id: &str) -> Result<(), ScenarioError> {
        let chosen = sabotage::plant(&self.set, id).await?;
        *self.chosen.lock().unwrap_or_else(PoisonError::into_inner) = chosen;
        Ok(())
    }

    async fn undo_sabotage(&self, id: &str) -> Result<(), ScenarioError> {
        sabotage::remove(&self.set, id).await
    }
}
