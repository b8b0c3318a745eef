//! A node can send only so much.

use async_trait::async_trait;

use super::{Fault, FaultError, probe::bits_per_second, traffic};
use crate::topology::Node;

/// The token bucket's burst and the sender's last packets come on top of the rate.
const OVER_MAX: f64 = 1.5;
/// Without the limit the same transfer is at least so many times as fast, or it would prove nothing.
const FREE_MIN: f64 = 3.0;

/// What leaves a node is limited to a rate; what reaches it is not.
#[derive(Debug, Clone)]
pub struct Bandwidth {
    node: Node,
    role: String,
    to: Node,
    bits_per_second: u64,
}

impl Bandwidth {
    /// `to` is the node that the probe sends to.
    pub fn new(node: Node, role: impl Into<String>, to: Node, bits_per_second: u64) -> Self {
        Self { node, role: role.into(), to, bits_per_second }
    }

    async fn ratio(&self) -> Result<f64, String> {
        Ok(bits_per_second(&self.node, &self.to).await? / self.bits_per_second as f64)
    }
}

#[async_trait]
impl Fault for Bandwidth {
    fn kind(&self) -> &'static str {
        "bandwidth"
    }

    fn target(&self) -> String {
        format!("{} ({}) sends {:.1} Mbit/s", self.node.name(), self.role, self.bits_per_second as f64 / 1e6)
    }

    async fn inject(&self) -> Result<(), FaultError> {
        traffic::apply(&self.node, "limiting the bandwidth (tc tbf)", &traffic::rate(self.bits_per_second)).await
    }

    fn confirmed_by(&self) -> String {
        format!("a transfer to {} reaches it at the limited rate, by the octets that its kernel counts", self.to.name())
    }

    async fn is_broken(&self) -> Result<(), String> {
        let ratio = self.ratio().await?;
        if ratio > 0.0 && ratio <= OVER_MAX { Ok(()) } else { Err(format!("{ratio:.1} times the rate arrives")) }
    }

    async fn heal(&self) -> Result<(), FaultError> {
        traffic::clear(&self.node).await
    }

    fn healed_by(&self) -> String {
        format!("a transfer to {} is {FREE_MIN:.0} times as fast as the limit", self.to.name())
    }

    async fn is_mended(&self) -> Result<(), String> {
        let ratio = self.ratio().await?;
        if ratio >= FREE_MIN { Ok(()) } else { Err(format!("only {ratio:.1} times the limited rate arrives")) }
    }
}
