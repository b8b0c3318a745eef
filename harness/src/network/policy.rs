//! The policy as data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::topology::Node;

/// Who may reach what. Read and checked by [`Policy::parse`], [`Policy::read`] and [`Policy::standard`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The zone in which all nodes stand.
    pub home: String,
    /// All zones, in the order of the file.
    pub zones: Vec<Zone>,
    /// What listens where.
    pub services: Vec<Service>,
    /// What is allowed.
    pub rules: Vec<Rule>,
}

/// A network of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zone {
    /// Its name, a DNS label.
    pub name: String,
    /// Who is in it.
    pub purpose: String,
}

/// Nodes of one kind and their ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name, a DNS label.
    pub name: String,
    /// The nodes' cluster in the topology.
    pub cluster: String,
    /// The nodes' role in the topology.
    pub role: String,
    /// TCP ports by name: all on which such a node listens.
    pub ports: BTreeMap<String, u16>,
}

/// A permission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The zone from which connections come.
    pub from: String,
    /// The service.
    pub to: String,
    /// Names of the service's ports.
    pub ports: Vec<String>,
    /// What for.
    pub purpose: String,
}

impl Policy {
    /// The service that a node is of.
    pub fn service_of(&self, node: &Node) -> Option<&Service> {
        self.services.iter().find(|service| service.cluster == node.cluster() && service.role == node.role())
    }

    /// The permissions for a service.
    pub fn rules_for<'a>(&'a self, service: &'a str) -> impl Iterator<Item = &'a Rule> {
        self.rules.iter().filter(move |rule| rule.to == service)
    }

    /// The numbers of a rule's ports, ascending.
    pub fn numbers(&self, rule: &Rule) -> Vec<u16> {
        let service = self.services.iter().find(|service| service.name == rule.to);
        let mut numbers: Vec<u16> = rule.ports.iter().filter_map(|port| service?.ports.get(port).copied()).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Whether a zone may reach a port of a service.
    pub fn allows(&self, zone: &str, service: &Service, port: u16) -> bool {
        self.rules_for(&service.name).any(|rule| rule.from == zone && self.numbers(rule).contains(&port))
    }
}
