//! All five clusters as one target.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU32},
};

use async_trait::async_trait;
use dora_harness::{
    check::{Model, judge},
    fault::Together,
    history::{Outcome, Recorder},
    topology::Node,
    workload::InsertClient,
};
use futures_util::future::try_join_all;
use serde_json::Value;

use super::{
    STORE_BEHIND, STORE_SKIPPED,
    poster::{Poster, Store},
};
use crate::{
    ScenarioError, Trial,
    ha::{HaTarget, NodeProber, Strike, influxdb, mongodb, neo4j, postgres, redis, report},
};

/// Who reads everything in the end: no poster has this number.
const READER: u32 = u32::MAX;

/// The five, each with the fault that befalls it.
pub struct Ledger<'a> {
    clusters: Vec<(&'static str, Box<dyn HaTarget + 'a>)>,
    /// Whom the fault of which cluster hit.
    hits: Mutex<Vec<Vec<Node>>>,
    recorder: Arc<Recorder>,
    file: String,
    skips: bool,
}

impl<'a> Ledger<'a> {
    /// The trial's clusters.
    pub async fn of(trial: &'a Trial) -> Result<Self, ScenarioError> {
        let (recorder, file) = trial.further_recorder("ledger")?;
        let clusters = vec![
            ("postgres", postgres::primary_killed(trial).await?),
            ("neo4j", neo4j::leader_killed(trial).await?),
            ("mongodb", mongodb::primary_killed(trial).await?),
            ("influxdb", influxdb::data_node_killed(trial).await?),
            ("redis", redis::replica_killed(trial).await?),
        ];
        let skips = trial.is_sabotaged_by(STORE_SKIPPED);
        Ok(Self { clusters, hits: Mutex::default(), recorder: Arc::new(recorder), file, skips })
    }

    fn hit(&self) -> Vec<Vec<Node>> {
        self.hits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl HaTarget for Ledger<'_> {
    async fn prepare(&self) -> Result<(), ScenarioError> {
        try_join_all(self.clusters.iter().map(|(_, cluster)| cluster.prepare())).await?;
        Ok(())
    }

    async fn clients(&self, count: usize) -> Result<Vec<Box<dyn InsertClient>>, ScenarioError> {
        let processes = Arc::new(AtomicU32::new(0));
        let empty = || Poster { stores: Vec::new(), recorder: Arc::clone(&self.recorder), processes: Arc::clone(&processes) };
        let mut posters: Vec<Poster> = (0..count).map(|_| empty()).collect();
        for (name, cluster) in &self.clusters {
            for (poster, client) in posters.iter_mut().zip(cluster.clients(count).await?) {
                poster.stores.push(Store { name, client, skips: self.skips && *name == "mongodb" });
            }
        }
        Ok(posters.into_iter().map(|poster| Box::new(poster) as Box<dyn InsertClient>).collect())
    }

    async fn probers(&self) -> Result<Vec<NodeProber>, ScenarioError> {
        // The clause of the objective is PostgreSQL's, and promises a single primary.
        self.clusters[0].1.probers().await
    }

    async fn strike(&self) -> Result<Strike, ScenarioError> {
        let strikes = try_join_all(self.clusters.iter().map(|(_, cluster)| cluster.strike())).await?;
        let (faults, hits): (Vec<_>, Vec<_>) = strikes.into_iter().map(|strike| (strike.fault, strike.hit)).unzip();
        self.hits.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&hits);
        Ok(Strike { fault: Box::new(Together::new(faults)), hit: hits.into_iter().flatten().collect() })
    }

    async fn has_noticed(&self, _hit: &[Node]) -> Result<(), String> {
        try_join_all(
            self.clusters
                .iter()
                .zip(self.hit())
                .map(|((name, cluster), hit)| async move { cluster.has_noticed(&hit).await.map_err(|reason| format!("{name}: {reason}")) }),
        )
        .await?;
        Ok(())
    }

    async fn is_redundant(&self, _hit: &[Node]) -> Result<(), String> {
        try_join_all(
            self.clusters.iter().zip(self.hit()).map(|((name, cluster), hit)| async move {
                cluster.is_redundant(&hit).await.map_err(|reason| format!("{name}: {reason}"))
            }),
        )
        .await?;
        Ok(())
    }

    /// What every database has: an event that one of them lacks is not there as a whole.
    async fn present(&self) -> Result<Vec<u64>, ScenarioError> {
        let all = try_join_all(self.clusters.iter().map(|(_, cluster)| cluster.present())).await?;
        let mut sets = all.into_iter().map(BTreeSet::from_iter);
        let first = sets.next().unwrap_or_default();
        Ok(sets.fold(first, |common, set| common.intersection(&set).copied().collect()).into_iter().collect())
    }

    async fn incomplete(&self, acknowledged: &BTreeSet<u64>) -> Result<Vec<(Node, Vec<u64>)>, ScenarioError> {
        let all = try_join_all(self.clusters.iter().map(|(_, cluster)| cluster.incomplete(acknowledged))).await?;
        Ok(all.into_iter().flatten().collect())
    }

    async fn check_further(&self, trial: &Trial, _hit: &[Node]) -> Result<(), ScenarioError> {
        if trial.is_sabotaged_by(STORE_BEHIND) {
            redis::forget_inserts(trial).await?;
        }
        let mut found = BTreeMap::new();
        for (name, cluster) in &self.clusters {
            found.insert(*name, cluster.present().await?);
        }
        let events: usize = found.values().map(Vec::len).sum();
        trial.measure("events_in_all_databases_together", Some(events as f64), "events");
        self.recorder.invoke(READER, "read", &Value::Null);
        let answer = serde_json::to_value(&found).map_err(|error| ScenarioError::client("record what was read", error))?;
        self.recorder.complete(READER, "read", &answer, &Outcome::Ok);
        self.recorder.flush()?;
        report(trial, "ledger", &self.file, &judge(Model::Ledger, &self.recorder.operations()?));
        Ok(())
    }

    async fn sabotage(&self, _id: &str) -> Result<(), ScenarioError> {
        // Both defects are acts of a client, which knows the trial.
        Ok(())
    }

    async fn undo_sabotage(&self, _id: &str) -> Result<(), ScenarioError> {
        Ok(())
    }
}
