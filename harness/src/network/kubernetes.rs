//! The policy as Kubernetes `NetworkPolicies` (`networking.k8s.io/v1`), one object a service, and one that refuses everything else.
//!
//! A zone is a namespace with the label `dora.zone`, a node is a pod with the label `dora.service`; both are the deployment's to set.
//! What nftables has beside the table (the harness's seat, a zone cut off) has no place here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Policy, Rule, Service};

/// The label of a zone's namespace.
const ZONE_LABEL: &str = "dora.zone";
/// The label of a node's pod.
const SERVICE_LABEL: &str = "dora.service";
/// The annotation that says what a policy is for.
const PURPOSE: &str = "dora.purpose";

/// A `NetworkPolicy`, with the fields that are used here and no others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NetworkPolicy {
    /// `networking.k8s.io/v1`.
    pub api_version: String,
    /// `NetworkPolicy`.
    pub kind: String,
    /// Its name and place.
    pub metadata: Metadata,
    /// What it says.
    pub spec: Spec,
}

/// `ObjectMeta`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Metadata {
    /// A DNS label.
    pub name: String,
    /// The home zone's namespace.
    pub namespace: String,
    /// What each permission is for, by zone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// `NetworkPolicySpec`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Spec {
    /// The pods that it is for; empty: all of the namespace.
    pub pod_selector: Selector,
    /// `Ingress` alone.
    pub policy_types: Vec<String>,
    /// What may come in; nothing where it is empty.
    pub ingress: Vec<Ingress>,
}

/// `LabelSelector` by equality.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Selector {
    /// Labels and their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
}

/// `NetworkPolicyIngressRule`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ingress {
    /// From where.
    pub from: Vec<Peer>,
    /// To which ports.
    pub ports: Vec<Port>,
}

/// `NetworkPolicyPeer`: every pod of some namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Peer {
    /// The namespaces.
    pub namespace_selector: Selector,
}

/// `NetworkPolicyPort`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// `TCP`.
    pub protocol: String,
    /// The number.
    pub port: u16,
}

/// `List` (`v1`) of them, which `kubectl apply -f` reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct List {
    /// `v1`.
    pub api_version: String,
    /// `List`.
    pub kind: String,
    /// The policies.
    pub items: Vec<NetworkPolicy>,
}

/// All policies: first the one that refuses everything, then one a service, in the order of the table.
pub fn network_policies(policy: &Policy) -> List {
    let refuse = NetworkPolicy::new("refuse-everything-else", &policy.home, Selector::default(), Vec::new(), BTreeMap::new());
    let items = std::iter::once(refuse).chain(policy.services.iter().map(|service| of_service(policy, service))).collect();
    List { api_version: "v1".into(), kind: "List".into(), items }
}

fn of_service(policy: &Policy, service: &Service) -> NetworkPolicy {
    let ingress = |rule: &Rule| Ingress {
        from: vec![Peer { namespace_selector: label(ZONE_LABEL, &rule.from) }],
        ports: policy.numbers(rule).into_iter().map(|port| Port { protocol: "TCP".into(), port }).collect(),
    };
    let mut purposes: BTreeMap<String, String> = BTreeMap::new();
    for rule in policy.rules_for(&service.name) {
        let purpose = purposes.entry(format!("{PURPOSE}/{}", rule.from)).or_default();
        if !purpose.is_empty() {
            purpose.push_str("; ");
        }
        purpose.push_str(&rule.purpose);
    }
    let rules = policy.rules_for(&service.name).map(ingress).collect();
    NetworkPolicy::new(&service.name, &policy.home, label(SERVICE_LABEL, &service.name), rules, purposes)
}

fn label(key: &str, value: &str) -> Selector {
    Selector { match_labels: [(key.to_owned(), value.to_owned())].into() }
}

impl NetworkPolicy {
    fn new(name: &str, namespace: &str, pod_selector: Selector, ingress: Vec<Ingress>, annotations: BTreeMap<String, String>) -> Self {
        Self {
            api_version: "networking.k8s.io/v1".into(),
            kind: "NetworkPolicy".into(),
            metadata: Metadata { name: name.to_owned(), namespace: namespace.to_owned(), annotations },
            spec: Spec { pod_selector, policy_types: vec!["Ingress".into()], ingress },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_becomes_these_policies() {
        let list = network_policies(&Policy::standard().unwrap());
        let text = serde_json::to_string_pretty(&list).unwrap();
        assert_eq!(serde_json::from_str::<List>(&text).unwrap(), list);
        insta::assert_snapshot!(text);
    }

    #[test]
    fn both_renderings_allow_the_same() {
        let policy = Policy::standard().unwrap();
        for (service, rendered) in policy.services.iter().zip(&network_policies(&policy).items[1..]) {
            for zone in &policy.zones {
                for port in service.ports.values() {
                    let allowed = rendered.spec.ingress.iter().any(|rule| {
                        rule.from.iter().any(|peer| peer.namespace_selector == label(ZONE_LABEL, &zone.name))
                            && rule.ports.iter().any(|open| open.port == *port)
                    });
                    assert_eq!(allowed, policy.allows(&zone.name, service, *port), "{} {port} from {}", service.name, zone.name);
                }
            }
        }
    }
}
