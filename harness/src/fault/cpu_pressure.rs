//! A node gets less processor time than it needs.

use std::time::Duration;

use async_trait::async_trait;
use dora_fixtures::assets;

use super::{Fault, FaultError};
use crate::topology::Node;

/// The loop takes half a second unhindered.
const LOOP_LIMIT: Duration = Duration::from_mins(2);
/// The database's own need comes on top of the loop's, which can only lower its share; the first period is not throttled, which raises it.
const OVER_MAX: f64 = 1.5;
/// Without the limit the loop gets at least so many times as much, or it would prove nothing.
const FREE_MIN: f64 = 2.0;

/// A processor limit far below a node's need.
#[derive(Debug, Clone)]
pub struct CpuPressure {
    node: Node,
    role: String,
    cpus: f64,
}

impl CpuPressure {
    /// Limits the node to `cpus` processors, such as 0.1.
    pub fn new(node: Node, role: impl Into<String>, cpus: f64) -> Self {
        Self { node, role: role.into(), cpus }
    }

    /// The share of a processor that a busy loop inside the node gets.
    async fn share(&self) -> Result<f64, String> {
        let script = assets::text("config/fault/busy-loop.sh").map_err(|error| error.to_string())?;
        let output = self.node.exec(&["bash", "-s"], script.as_bytes(), LOOP_LIMIT).await.map_err(|error| error.to_string())?;
        share(&output.stderr).ok_or_else(|| format!("the busy loop answered `{}`", output.stderr.trim()))
    }
}

/// `REAL USER SYSTEM` in seconds.
fn share(times: &str) -> Option<f64> {
    let numbers: Vec<f64> = times.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [real, user, system] = numbers.as_slice() else { return None };
    (*real > 0.0).then(|| (user + system) / real)
}

#[async_trait]
impl Fault for CpuPressure {
    fn kind(&self) -> &'static str {
        "cpu-pressure"
    }

    fn target(&self) -> String {
        format!("{} ({}) has {:.2} processors", self.node.name(), self.role, self.cpus)
    }

    async fn prepare(&self) -> Result<(), FaultError> {
        if !(0.01..=0.4).contains(&self.cpus) {
            let why = format!("a limit of {} processors cannot be told from a busy machine; give one from 0.01 to 0.4", self.cpus);
            return Err(FaultError::Other(why));
        }
        super::life::whole(self, super::life::WHOLE_LIMIT).await
    }

    async fn inject(&self) -> Result<(), FaultError> {
        Ok(self.node.limit_cpus(self.cpus).await?)
    }

    fn confirmed_by(&self) -> String {
        "a busy loop inside the node gets no more processor time than the limit".into()
    }

    async fn is_broken(&self) -> Result<(), String> {
        let share = self.share().await?;
        if share <= self.cpus * OVER_MAX { Ok(()) } else { Err(format!("a busy loop gets {share:.2} processors")) }
    }

    async fn heal(&self) -> Result<(), FaultError> {
        Ok(self.node.limit_cpus(0.0).await?)
    }

    fn healed_by(&self) -> String {
        format!("a busy loop inside the node gets over {FREE_MIN:.0} times the limit")
    }

    async fn is_mended(&self) -> Result<(), String> {
        let share = self.share().await?;
        if share > self.cpus * FREE_MIN { Ok(()) } else { Err(format!("a busy loop gets only {share:.2} processors")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bashs_times_are_read() {
        assert_eq!(share("2.000 0.150 0.050\n"), Some(0.1));
        assert_eq!(share("bash: not found"), None);
    }
}
