//! One node's ruleset, from the policy.

use std::{collections::BTreeMap, net::Ipv4Addr};

use dora_fixtures::assets::{self, AssetError};
use serde::Serialize;

use super::{Policy, Service};

const TEMPLATE: &str = "config/network/zones.nft.j2";

/// One line of a ruleset: a zone may connect to some ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Allowance {
    /// The zone.
    pub zone: String,
    /// Its subnet in CIDR form.
    pub subnet: String,
    /// The ports.
    pub ports: Vec<u16>,
    /// What for.
    pub purpose: String,
}

/// What a node's firewall is told. Fields are public so that a planted defect can change them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeRules {
    /// The node.
    pub node: String,
    /// Its service.
    pub service: String,
    /// The engine's end of the home bridge, from which the harness measures: exempt.
    pub seat: Ipv4Addr,
    /// Who may connect.
    pub allowed: Vec<Allowance>,
    /// `drop`, or `accept` while the ports are looked at without rules.
    pub policy: &'static str,
    /// Subnets that are cut off from the beginning.
    pub severed: Vec<String>,
    /// A defect: who is cut off keeps established connections.
    pub sever_new_only: bool,
}

impl NodeRules {
    /// The rules that the policy gives a node; `subnets` is by zone.
    pub fn new(policy: &Policy, service: &Service, node: &str, seat: Ipv4Addr, subnets: &BTreeMap<String, String>) -> Self {
        let allowed = policy
            .rules_for(&service.name)
            .filter_map(|rule| {
                let subnet = subnets.get(&rule.from)?.clone();
                Some(Allowance { zone: rule.from.clone(), subnet, ports: policy.numbers(rule), purpose: rule.purpose.clone() })
            })
            .collect();
        Self {
            node: node.to_owned(),
            service: service.name.clone(),
            seat,
            allowed,
            policy: "drop",
            severed: Vec::new(),
            sever_new_only: false,
        }
    }

    /// The same node without a restriction: connections are tracked, so that those of before survive the rules.
    #[must_use]
    pub fn open(self) -> Self {
        Self { policy: "accept", ..self }
    }

    /// The ruleset as `nft -f` reads it.
    ///
    /// # Errors
    /// [`AssetError`] when the template cannot be filled.
    pub fn text(&self) -> Result<String, AssetError> {
        assets::render(TEMPLATE, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ruleset_reads_like_the_policy() {
        let policy = Policy::standard().unwrap();
        let subnets = policy.zones.iter().enumerate().map(|(index, zone)| (zone.name.clone(), format!("198.18.{index}.0/24"))).collect();
        let service = policy.services.iter().find(|service| service.name == "redis-cluster").unwrap();
        let rules = NodeRules::new(&policy, service, "rdc1", Ipv4Addr::new(198, 18, 1, 1), &subnets);
        insta::assert_snapshot!(rules.text().unwrap());
    }
}
