//! Planted defects, each a mistake that a network engineer makes.

use dora_fixtures::assets;
use dora_harness::{
    network::{Allowance, Enforcement, Policy, Zones},
    topology::Node,
};
use std::time::Duration;

use super::sever::SEVERED;
use crate::{Sabotage, ScenarioError, Trial};

/// The port of a listener that nobody announced.
const FORGOTTEN_PORT: &str = "8999";
const EXEC_LIMIT: Duration = Duration::from_secs(10);

/// One port more than allowed.
pub(super) const EXTRA_PORT: Sabotage =
    Sabotage { id: "extra-port-open", what: "one node lets the application reach one port more", expects: "application-reaches-too-much" };
/// An allowed port is not open.
pub(super) const PORT_CLOSED: Sabotage = Sabotage {
    id: "allowed-port-closed",
    what: "one node lacks the rule for a port that the policy allows",
    expects: "allowed-port-silent",
};
/// Backup machines reach everything.
pub(super) const BACKUP_EVERYWHERE: Sabotage = Sabotage {
    id: "backup-reaches-data",
    what: "one node lets the backup zone reach all its ports, those of the data zone among them",
    expects: "backup-reaches-too-much",
};
/// The second region reaches everything.
pub(super) const REGION_EVERYWHERE: Sabotage = Sabotage {
    id: "region-2-reaches-everything",
    what: "every node lets the second region reach all its ports",
    expects: "region-2-reaches-too-much",
};
/// A rule with the wrong subnet.
pub(super) const WRONG_ZONE: Sabotage = Sabotage {
    id: "rule-for-the-wrong-zone",
    what: "the administrators' rule of one node carries the subnet of the application",
    expects: "allowed-port-silent",
};
/// No rules at all.
pub(super) const FLUSHED: Sabotage = Sabotage {
    id: "policy-flushed",
    what: "all rules of one node are taken out after they were put in force",
    expects: "node-unprotected",
};
/// A service that nobody announced.
pub(super) const FORGOTTEN_LISTENER: Sabotage = Sabotage {
    id: "forgotten-listener",
    what: "on one node a process listens on all interfaces on a port that the policy does not know",
    expects: "listener-not-in-policy",
};
/// Cutting off is incomplete.
pub(super) const NODE_NOT_SEVERED: Sabotage = Sabotage {
    id: "zone-not-severed-on-one-node",
    what: "one node is left out when the zone is cut off",
    expects: "severed-zone-still-connects",
};
/// Cutting off forgets what is open.
pub(super) const ESTABLISHED_SPARED: Sabotage = Sabotage {
    id: "established-connections-spared",
    what: "one node's rules let established connections pass before they look whether the zone is cut off",
    expects: "established-connection-survives",
};
/// Cutting off goes too far.
pub(super) const OTHERS_SEVERED: Sabotage = Sabotage {
    id: "others-severed-too",
    what: "the administrators' zone is cut off together with the other",
    expects: "other-zone-interrupted",
};
/// Restoring is incomplete.
pub(super) const NODE_NOT_RESTORED: Sabotage = Sabotage {
    id: "zone-not-restored-on-one-node",
    what: "one node is left out when the zone is let back in",
    expects: "zone-not-restored",
};

/// The defect of a trial, if it has one.
pub(super) struct Defect {
    id: &'static str,
}

impl Defect {
    /// What the trial is to plant.
    pub fn of(trial: &Trial) -> Self {
        Self { id: trial.sabotage.map_or("", |sabotage| sabotage.id) }
    }

    /// Whether it is this one.
    pub fn is(&self, sabotage: &Sabotage) -> bool {
        self.id == sabotage.id
    }

    /// Opens the forgotten port, before anybody looks.
    pub async fn open_port(&self, enforcement: &Enforcement) -> Result<(), ScenarioError> {
        if self.is(&FORGOTTEN_LISTENER) {
            listener(last(enforcement)?, "open").await?;
        }
        Ok(())
    }

    /// Changes rules before they are put in force.
    pub fn plant(&self, policy: &Policy, zones: &Zones, enforcement: &mut Enforcement) -> Result<(), ScenarioError> {
        let every: Vec<u16> = policy.services.iter().flat_map(|service| service.ports.values().copied()).collect();
        let everything = |zone: &str| -> Result<Allowance, ScenarioError> {
            Ok(Allowance {
                zone: zone.to_owned(),
                subnet: zones.subnet(zone)?.to_owned(),
                ports: distinct(&every),
                purpose: "a defect".into(),
            })
        };
        match self.id {
            id if id == EXTRA_PORT.id => {
                let (node, port) = not_allowed(policy, enforcement)?;
                let allowance = Allowance { ports: vec![port], ..everything(SEVERED)? };
                change(enforcement, &node, |rules| rules.allowed.push(allowance))?;
            }
            id if id == PORT_CLOSED.id => {
                let node = with_rule_for(enforcement, "admin")?;
                change(enforcement, &node, |rules| rules.allowed.retain(|allowance| allowance.zone != "admin"))?;
            }
            id if id == BACKUP_EVERYWHERE.id => {
                let (node, allowance) = (last(enforcement)?.name().to_owned(), everything("backup")?);
                change(enforcement, &node, |rules| rules.allowed.push(allowance))?;
            }
            id if id == REGION_EVERYWHERE.id => {
                let names: Vec<String> = enforcement.nodes().iter().map(|enforced| enforced.node.name().to_owned()).collect();
                for node in names {
                    let allowance = everything("region-2")?;
                    change(enforcement, &node, |rules| rules.allowed.push(allowance))?;
                }
            }
            id if id == WRONG_ZONE.id => {
                let (node, subnet) = (with_rule_for(enforcement, "admin")?, zones.subnet(SEVERED)?.to_owned());
                change(enforcement, &node, |rules| {
                    for allowance in rules.allowed.iter_mut().filter(|allowance| allowance.zone == "admin") {
                        allowance.subnet.clone_from(&subnet);
                    }
                })?;
            }
            id if id == ESTABLISHED_SPARED.id => {
                let node = with_rule_for(enforcement, SEVERED)?;
                change(enforcement, &node, |rules| rules.sever_new_only = true)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// What happens once the rules are in force.
    pub async fn after_enforcing(&self, enforcement: &Enforcement) -> Result<(), ScenarioError> {
        if self.is(&FLUSHED) {
            enforcement.flush(last(enforcement)?).await?;
        }
        Ok(())
    }

    /// The nodes on which the zone is cut off.
    pub fn severed<'a>(&self, enforcement: &'a Enforcement) -> Result<Vec<&'a str>, ScenarioError> {
        self.without_one(&NODE_NOT_SEVERED, enforcement)
    }

    /// The nodes on which it is let back in.
    pub fn restored<'a>(&self, enforcement: &'a Enforcement) -> Result<Vec<&'a str>, ScenarioError> {
        self.without_one(&NODE_NOT_RESTORED, enforcement)
    }

    fn without_one<'a>(&self, sabotage: &Sabotage, enforcement: &'a Enforcement) -> Result<Vec<&'a str>, ScenarioError> {
        let left_out = if self.is(sabotage) { with_rule_for(enforcement, SEVERED)? } else { String::new() };
        // A flushed node has nothing that could be changed.
        let flushed = if self.is(&FLUSHED) { last(enforcement)?.name() } else { "" };
        let names = enforcement.nodes().iter().map(|enforced| enforced.node.name());
        Ok(names.filter(|name| *name != left_out && *name != flushed).collect())
    }

    /// What outlives the rules.
    pub async fn undo(&self, nodes: &[Node]) -> Result<(), ScenarioError> {
        if self.is(&FORGOTTEN_LISTENER)
            && let Some(node) = nodes.last()
        {
            listener(node, "close").await?;
        }
        Ok(())
    }
}

fn distinct(ports: &[u16]) -> Vec<u16> {
    let mut ports = ports.to_vec();
    ports.sort_unstable();
    ports.dedup();
    ports
}

async fn listener(node: &Node, what: &str) -> Result<(), ScenarioError> {
    let script = assets::text("config/network/forgotten-listener.sh")?;
    let output = node.exec_in_pod(&["sh", "-s", "--", what, FORGOTTEN_PORT], script.as_bytes(), EXEC_LIMIT).await?;
    if output.code == 0 { Ok(()) } else { Err(ScenarioError::client(format!("{what} the forgotten port"), output.stderr.trim())) }
}

fn change(
    enforcement: &mut Enforcement,
    node: &str,
    change: impl FnOnce(&mut dora_harness::network::NodeRules),
) -> Result<(), ScenarioError> {
    let rules = enforcement.rules_mut(node).ok_or_else(|| ScenarioError::Missing(format!("there is no node {node}")))?;
    change(rules);
    Ok(())
}

fn last(enforcement: &Enforcement) -> Result<&Node, ScenarioError> {
    let last = enforcement.nodes().last().map(|enforced| &enforced.node);
    last.ok_or_else(|| ScenarioError::Missing("there is no node".into()))
}

/// The last node with a rule for the zone, so that a probe of the first alone would miss the defect.
fn with_rule_for(enforcement: &Enforcement, zone: &str) -> Result<String, ScenarioError> {
    let has_rule = |rules: &dora_harness::network::NodeRules| rules.allowed.iter().any(|allowance| allowance.zone == zone);
    let node = enforcement.nodes().iter().rev().find(|enforced| has_rule(&enforced.rules));
    node.map(|enforced| enforced.node.name().to_owned()).ok_or_else(|| ScenarioError::Missing(format!("no node has a rule for {zone}")))
}

/// The last port of the policy that the application may not reach.
fn not_allowed(policy: &Policy, enforcement: &Enforcement) -> Result<(String, u16), ScenarioError> {
    let mut found = enforcement.nodes().iter().rev().filter_map(|enforced| {
        let service = policy.service_of(&enforced.node)?;
        let port = service.ports.values().find(|port| !policy.allows(SEVERED, service, **port))?;
        Some((enforced.node.name().to_owned(), *port))
    });
    found.next().ok_or_else(|| ScenarioError::Missing("the application may reach every port here".into()))
}
