//! A fault's own rules in a pod's firewall, as data: put in at once, taken out exactly.

use std::{fmt::Write as _, net::Ipv4Addr, time::Duration};

use dora_fixtures::assets;
use rand::RngExt as _;
use serde::{Deserialize, Serialize};

use super::FaultError;
use crate::{engine::ExecOutput, topology::Node};

/// Changing a firewall takes well under a second.
const EXEC_LIMIT: Duration = Duration::from_secs(20);
/// Where a name's random part comes from.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnopqrstuvwxyz2345678";

/// Eight letters and digits that no other fault has.
pub fn random_id() -> String {
    let mut random = rand::rng();
    (0..8).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect()
}

/// What a rule does with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Verdict {
    /// It vanishes.
    Drop,
    /// It vanishes with this probability, from 0 to 1.
    DropShare(f64),
    /// The sender's connection is reset.
    Reset,
    /// It goes on to the next chain: an exception from later rules.
    Pass,
    /// A program decides when it goes on; without the program, at once.
    Queue(u16),
}

/// Which packets a rule is for, and what happens to them. Unset means all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// The other end's address.
    pub peer: Option<Ipv4Addr>,
    /// The node's own TCP port.
    pub port: Option<u16>,
    /// Only what the pod says to itself.
    pub loopback: bool,
    /// What happens.
    pub verdict: Verdict,
}

impl Rule {
    /// A rule for all packets of a peer.
    pub fn peer(peer: Ipv4Addr, verdict: Verdict) -> Self {
        Self { peer: Some(peer), port: None, loopback: false, verdict }
    }

    /// A rule for all packets.
    pub fn all(verdict: Verdict) -> Self {
        Self { peer: None, port: None, loopback: false, verdict }
    }

    /// A rule for what the pod says to itself.
    pub fn loopback(verdict: Verdict) -> Self {
        Self { peer: None, port: None, loopback: true, verdict }
    }

    /// A rule for one of the node's own TCP ports.
    pub fn port(port: u16, verdict: Verdict) -> Self {
        Self { peer: None, port: Some(port), loopback: false, verdict }
    }

    /// The rule in iptables' words, for packets that come in or go out.
    fn words(&self, incoming: bool) -> String {
        let mut words = String::new();
        // Writing to a string cannot fail.
        if self.loopback {
            let _ = write!(words, "-{} lo ", if incoming { 'i' } else { 'o' });
        }
        if let Some(peer) = self.peer {
            let _ = write!(words, "-{} {peer}/32 ", if incoming { 's' } else { 'd' });
        }
        if let Some(port) = self.port {
            let _ = write!(words, "-p tcp --{}port {port} ", if incoming { 'd' } else { 's' });
        } else if self.verdict == Verdict::Reset {
            words.push_str("-p tcp ");
        }
        match self.verdict {
            Verdict::Drop => words.push_str("-j DROP"),
            Verdict::DropShare(share) => {
                let _ = write!(words, "-m statistic --mode random --probability {share:.4} -j DROP");
            }
            // Resets themselves pass: they are what the other end gets.
            Verdict::Reset => words.push_str("--tcp-flags RST NONE -j REJECT --reject-with tcp-reset"),
            Verdict::Pass => words.push_str("-j RETURN"),
            Verdict::Queue(number) => {
                let _ = write!(words, "-j NFQUEUE --queue-num {number} --queue-bypass");
            }
        }
        words
    }
}

/// Two chains of their own name, before all other rules of a pod. An earlier rule wins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Firewall {
    name: String,
    /// For packets that arrive.
    pub incoming: Vec<Rule>,
    /// For packets that leave.
    pub outgoing: Vec<Rule>,
}

impl Firewall {
    /// No rules yet, under a name that no other fault has.
    pub fn new() -> Self {
        Self { name: format!("dora-{}", random_id()), incoming: Vec::new(), outgoing: Vec::new() }
    }

    /// As [`Firewall::new`], with rules.
    pub fn with(incoming: Vec<Rule>, outgoing: Vec<Rule>) -> Self {
        Self { incoming, outgoing, ..Self::new() }
    }

    /// The same chains with other rules.
    #[must_use]
    pub fn holding(self, incoming: Vec<Rule>, outgoing: Vec<Rule>) -> Self {
        Self { incoming, outgoing, ..self }
    }

    /// The same rules under the name of an earlier fault, to find its chains again.
    #[must_use]
    pub fn named(self, id: &str) -> Self {
        Self { name: format!("dora-{id}"), ..self }
    }

    /// What the chains' names begin with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Input of `iptables-restore`: all rules come into force at the same moment.
    pub fn text(&self) -> String {
        let Self { name, incoming, outgoing } = self;
        let mut text = format!("*filter\n:{name}-in - [0:0]\n:{name}-out - [0:0]\n");
        for (rules, direction, is_incoming) in [(incoming, "in", true), (outgoing, "out", false)] {
            for rule in rules {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "-A {name}-{direction} {}", rule.words(is_incoming));
            }
        }
        let _ = write!(text, "-I INPUT 1 -j {name}-in\n-I OUTPUT 1 -j {name}-out\nCOMMIT\n");
        text
    }

    /// Puts the rules into the pod's firewall.
    ///
    /// # Errors
    /// [`FaultError::Unsupported`] where the kernel lacks a match or target; any other [`FaultError`] of the command.
    pub async fn put(&self, node: &Node) -> Result<(), FaultError> {
        let command = ["iptables-restore", "--noflush", "--wait", "5"];
        let output = node.exec_in_pod(&command, self.text().as_bytes(), EXEC_LIMIT).await?;
        answer(node, "change the firewall", &output)
    }

    /// Takes them out; rules that are not there are fine.
    ///
    /// # Errors
    /// Any [`FaultError`] of the command.
    pub async fn remove(&self, node: &Node) -> Result<(), FaultError> {
        let script = assets::text("config/fault/remove-chains.sh")?;
        let output = node.exec_in_pod(&["sh", "-s", "--", &self.name], script.as_bytes(), EXEC_LIMIT).await?;
        answer(node, "restore the firewall", &output)
    }
}

impl Default for Firewall {
    fn default() -> Self {
        Self::new()
    }
}

fn answer(node: &Node, what: &str, output: &ExecOutput) -> Result<(), FaultError> {
    if output.code == 0 {
        return Ok(());
    }
    let why = output.stderr.trim().to_owned();
    // The words of iptables for a match or target whose kernel module is missing.
    if ["missing kernel module", "No chain/target/match", "Extension", "Could not fetch rule set"].iter().any(|words| why.contains(words)) {
        return Err(FaultError::Unsupported { what: format!("{what} of {}", node.name()), why });
    }
    Err(FaultError::Other(format!("failed to {what} of {}: {why}", node.name())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_become_one_transaction() {
        let peer = Ipv4Addr::new(198, 18, 0, 11);
        let mut firewall = Firewall::with(
            vec![Rule::loopback(Verdict::Pass), Rule::peer(peer, Verdict::Drop), Rule::port(5432, Verdict::Reset)],
            vec![Rule::all(Verdict::DropShare(0.3)), Rule::peer(peer, Verdict::Queue(7))],
        );
        firewall.name = "dora-x".into();
        let text = "*filter
:dora-x-in - [0:0]
:dora-x-out - [0:0]
-A dora-x-in -i lo -j RETURN
-A dora-x-in -s 198.18.0.11/32 -j DROP
-A dora-x-in -p tcp --dport 5432 --tcp-flags RST NONE -j REJECT --reject-with tcp-reset
-A dora-x-out -m statistic --mode random --probability 0.3000 -j DROP
-A dora-x-out -d 198.18.0.11/32 -j NFQUEUE --queue-num 7 --queue-bypass
-I INPUT 1 -j dora-x-in
-I OUTPUT 1 -j dora-x-out
COMMIT
";
        assert_eq!(firewall.text(), text);
    }

    #[test]
    fn two_faults_never_share_a_chain_and_names_fit() {
        let (one, other) = (Firewall::new(), Firewall::new());
        assert_ne!(one.name(), other.name());
        // Chain names have at most 28 characters.
        assert!(format!("{}-out", one.name()).len() <= 28);
    }
}
