//! Packets get lost by chance.

use async_trait::async_trait;

use super::{
    Fault, FaultError, Firewall,
    firewall::{Rule, Verdict},
    probe::lost,
};
use crate::topology::Node;

/// Datagrams of one probe; more where few are lost.
const DATAGRAMS: f64 = 400.0;
/// Losses that a probe expects at least.
const LOSSES_MIN: f64 = 20.0;
/// Datagrams of one probe at most.
const DATAGRAMS_MAX: f64 = 5000.0;
/// How far, in standard deviations, a count may be from what is expected: beyond five it is no chance.
const DEVIATIONS_MAX: f64 = 5.0;

/// A share of all packets that reach a node is lost, whoever sent them. What the node says to itself is not.
#[derive(Debug, Clone)]
pub struct Loss {
    node: Node,
    role: String,
    from: Node,
    share: f64,
    firewall: Firewall,
}

impl Loss {
    /// `share` is from 0 to 1; `from` is the node that the probe sends from.
    pub fn new(node: Node, role: impl Into<String>, from: Node, share: f64) -> Self {
        let incoming = vec![Rule::loopback(Verdict::Pass), Rule::all(Verdict::DropShare(share))];
        Self { node, role: role.into(), from, share, firewall: Firewall::with(incoming, Vec::new()) }
    }

    /// Under the name of an earlier fault, to heal what another process injected.
    #[must_use]
    pub fn named(self, id: &str) -> Self {
        Self { firewall: self.firewall.named(id), ..self }
    }

    fn datagrams(&self) -> u64 {
        (LOSSES_MIN / self.share).clamp(DATAGRAMS, DATAGRAMS_MAX) as u64
    }
}

/// Whether so many losses of so many datagrams fit the share.
fn fits(lost: u64, sent: u64, share: f64) -> bool {
    let (lost, sent) = (lost as f64, sent as f64);
    let deviation = (sent * share * (1.0 - share)).sqrt();
    lost > 0.0 && (lost - sent * share).abs() <= DEVIATIONS_MAX * deviation + 1.0
}

#[async_trait]
impl Fault for Loss {
    fn kind(&self) -> &'static str {
        "loss"
    }

    fn target(&self) -> String {
        format!("{:.1} % of what reaches {} ({})", self.share * 100.0, self.node.name(), self.role)
    }

    async fn prepare(&self) -> Result<(), FaultError> {
        if !(0.001..=1.0).contains(&self.share) {
            return Err(FaultError::Other(format!("a share of {} cannot be lost; give one from 0.001 to 1", self.share)));
        }
        super::life::whole(self, super::life::WHOLE_LIMIT).await
    }

    async fn inject(&self) -> Result<(), FaultError> {
        self.firewall.put(&self.node).await
    }

    fn confirmed_by(&self) -> String {
        format!("of {} datagrams from {}, the receiver's kernel counts that share as missing", self.datagrams(), self.from.name())
    }

    async fn is_broken(&self) -> Result<(), String> {
        let sent = self.datagrams();
        let lost = lost(&self.from, &self.node, sent).await?;
        if fits(lost, sent, self.share) { Ok(()) } else { Err(format!("{lost} of {sent} datagrams were lost")) }
    }

    async fn heal(&self) -> Result<(), FaultError> {
        self.firewall.remove(&self.node).await
    }

    fn healed_by(&self) -> String {
        format!("all of {} datagrams from {} arrive", self.datagrams(), self.from.name())
    }

    async fn is_mended(&self) -> Result<(), String> {
        match lost(&self.from, &self.node, self.datagrams()).await? {
            0 => Ok(()),
            some => Err(format!("{some} datagrams were lost")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_told_from_something_else() {
        assert!(fits(130, 400, 0.3));
        assert!(!fits(0, 400, 0.01), "nothing lost is never a loss");
        assert!(!fits(400, 400, 0.3), "a cut link is not a loss of 30 %");
        assert!(!fits(20, 400, 0.3));
        assert!(fits(400, 400, 1.0));
    }
}
