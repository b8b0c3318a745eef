//! InfluxDB's share of the platform.

use std::sync::Arc;

use async_trait::async_trait;
use dora_fixtures::topology::Topology;
use futures_util::future::try_join;
use serde::{Deserialize, Serialize};

use super::{Form, Influx, deployment::Saved};
use crate::{
    database::Cluster,
    engine::{Engine, EngineError},
    platform::{Part, Slot},
    topology::{Ground, GroundError, Member},
};

/// This database's share of the platform.
#[derive(Debug, Default)]
pub struct InfluxdbPart {
    /// The cluster.
    pub cluster: Slot<Influx>,
    /// The single node.
    pub single: Slot<Influx>,
}

#[derive(Serialize, Deserialize)]
struct SavedPart {
    cluster: Option<Saved>,
    single: Option<Saved>,
}

/// What a profile has, the cluster first.
fn forms(topology: &Topology) -> Vec<Form> {
    [Form::Cluster, Form::Single].into_iter().filter(|form| form.nodes(&topology.influxdb).count() > 0).collect()
}

impl InfluxdbPart {
    /// The place of that form.
    pub fn slot(&self, form: Form) -> &Slot<Influx> {
        match form {
            Form::Cluster => &self.cluster,
            Form::Single => &self.single,
        }
    }

    /// What is there, the cluster first.
    pub async fn deployments(&self) -> Vec<Arc<Influx>> {
        [self.cluster.get().await, self.single.get().await].into_iter().flatten().collect()
    }
}

#[async_trait]
impl Part for InfluxdbPart {
    fn member(&self) -> Member {
        Member::Influxdb
    }

    fn images(&self, topology: &Topology) -> Vec<&'static str> {
        forms(topology).into_iter().map(Form::image).collect()
    }

    async fn start(&self, ground: &Ground) -> Result<(), GroundError> {
        let forms = forms(ground.topology());
        let start = async |form: Form| -> Result<(), GroundError> {
            if forms.contains(&form) {
                let influx = Influx::start(ground, form, "", None).await?;
                self.slot(form).put(Arc::new(influx)).await;
            }
            Ok(())
        };
        try_join(start(Form::Cluster), start(Form::Single)).await?;
        Ok(())
    }

    async fn clusters(&self) -> Vec<Arc<dyn Cluster>> {
        self.deployments().await.into_iter().map(|influx| influx as Arc<dyn Cluster>).collect()
    }

    async fn clear(&self) -> Result<(), EngineError> {
        for form in [Form::Cluster, Form::Single] {
            if let Some(influx) = self.slot(form).take().await {
                influx.destroy().await?;
            }
        }
        Ok(())
    }

    async fn save(&self) -> serde_json::Value {
        let part = SavedPart {
            cluster: self.cluster.get().await.map(|influx| influx.save()),
            single: self.single.get().await.map(|influx| influx.save()),
        };
        if part.cluster.is_none() && part.single.is_none() {
            return serde_json::Value::Null;
        }
        // Records, texts and secrets are all plain data, so this cannot fail.
        serde_json::to_value(part).unwrap_or_default()
    }

    async fn load(&self, engine: &Engine, saved: serde_json::Value) -> Result<(), GroundError> {
        let part: SavedPart = serde_json::from_value(saved).map_err(|error| GroundError::database("influxdb", error))?;
        for saved in [part.cluster, part.single].into_iter().flatten() {
            let influx = Influx::load(engine, saved);
            self.slot(influx.form()).put(Arc::new(influx)).await;
        }
        Ok(())
    }
}
