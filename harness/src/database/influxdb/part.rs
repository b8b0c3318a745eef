//! InfluxDB's share of the platform.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::try_join;
use serde::{Deserialize, Serialize};

use super::{Form, Influx, deployment::Saved};
use crate::{
    database::Cluster,
    engine::{Engine, EngineError},
    platform::{Part, Slot},
    topology::{Ground, GroundError, Member, Profile},
};

/// This database's share of the platform.
#[derive(Debug, Default)]
pub struct InfluxdbPart {
    /// The cluster (staging and production).
    pub cluster: Slot<Influx>,
    /// The single node (development and production).
    pub single: Slot<Influx>,
}

#[derive(Serialize, Deserialize)]
struct SavedPart {
    cluster: Option<Saved>,
    single: Option<Saved>,
}

const fn forms(profile: Profile) -> &'static [Form] {
    match profile {
        Profile::Development => &[Form::Single],
        Profile::Staging => &[Form::Cluster],
        Profile::Production => &[Form::Cluster, Form::Single],
    }
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

    fn images(&self, profile: Profile) -> Vec<&'static str> {
        forms(profile).iter().map(|form| form.image()).collect()
    }

    async fn start(&self, ground: &Ground) -> Result<(), GroundError> {
        let start = async |form: Form| -> Result<(), GroundError> {
            if forms(ground.profile()).contains(&form) {
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
