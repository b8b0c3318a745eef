//! A node gets less processor time than it needs.

use std::time::Duration;

use async_trait::async_trait;

use super::{Fault, FaultError};
use crate::topology::Node;

/// What a loop of fixed work takes at most on an unthrottled node, however busy; a throttled one takes many times as long.
const WORK: &str = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done";

/// A processor limit far below a node's need.
#[derive(Debug, Clone)]
pub struct Throttle {
    node: Node,
    cpus: f64,
}

impl Throttle {
    /// Limits the node to `cpus` processors.
    pub fn new(node: Node, cpus: f64) -> Self {
        Self { node, cpus }
    }

    /// How long fixed work takes inside the node.
    async fn work_time(&self) -> Result<Duration, String> {
        let started = std::time::Instant::now();
        self.node.exec(&["sh", "-c", WORK], &[], Duration::from_secs(60)).await.map_err(|e| e.to_string())?;
        Ok(started.elapsed())
    }
}

#[async_trait]
impl Fault for Throttle {
    fn kind(&self) -> &'static str {
        "throttle"
    }

    fn target(&self) -> String {
        self.node.name().to_owned()
    }

    async fn inject(&self) -> Result<(), FaultError> {
        Ok(self.node.limit_cpus(self.cpus).await?)
    }

    fn confirmed_by(&self) -> String {
        "fixed work inside the node takes over a second".into()
    }

    async fn is_broken(&self) -> Result<(), String> {
        let took = self.work_time().await?;
        if took > Duration::from_secs(1) { Ok(()) } else { Err(format!("the work took {} ms", took.as_millis())) }
    }

    async fn heal(&self) -> Result<(), FaultError> {
        Ok(self.node.limit_cpus(0.0).await?)
    }

    fn healed_by(&self) -> String {
        "fixed work inside the node takes less than a second".into()
    }

    async fn is_mended(&self) -> Result<(), String> {
        let took = self.work_time().await?;
        if took < Duration::from_secs(1) { Ok(()) } else { Err(format!("the work took {} ms", took.as_millis())) }
    }
}
