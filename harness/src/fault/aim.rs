//! Whom a fault is for, in words, until it is aimed.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    database::Cluster,
    network::{Policy, Service},
    topology::Node,
};

/// A description of nodes that is resolved when the fault is injected, because roles move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Aim {
    /// The node of that name.
    Node(String),
    /// The nodes that say of themselves to have that role at this moment, such as `primary`; of one cluster where it is named.
    Role {
        /// The role.
        role: String,
        /// The cluster.
        cluster: Option<String>,
    },
    /// All nodes of a cluster.
    Cluster(String),
    /// The nodes that stand in a zone; of a zone where none stands, those that it may reach.
    Zone(String),
    /// The two ends of a link.
    Link(String, String),
}

/// An aim that nothing fits, or that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AimError {
    /// Not an aim.
    #[error(
        "`{0}` aims at nothing; write a node's name, `role:ROLE`, `role:ROLE@CLUSTER`, `cluster:NAME`, `zone:NAME` or `link:NODE-NODE`"
    )]
    Malformed(String),
    /// Nothing fits.
    #[error("{aim} does not fit anything; there are {known}")]
    Nothing {
        /// What was aimed at.
        aim: String,
        /// What there is.
        known: String,
    },
}

impl Aim {
    /// The nodes that it means at this moment; the policy tells what a zone is.
    ///
    /// # Errors
    /// [`AimError::Nothing`] with what there is.
    pub async fn resolve(&self, clusters: &[Arc<dyn Cluster>], policy: &Policy) -> Result<Vec<Node>, AimError> {
        match self {
            Self::Node(name) => Ok(vec![self.node(name, clusters)?]),
            Self::Link(one, other) => Ok(vec![self.node(one, clusters)?, self.node(other, clusters)?]),
            Self::Cluster(name) => {
                let found = clusters.iter().find(|cluster| cluster.name() == name);
                let known = || clusters.iter().map(|cluster| cluster.name().to_owned()).collect::<Vec<_>>();
                Ok(found.ok_or_else(|| self.nothing(&known()))?.nodes())
            }
            Self::Zone(zone) => self.of_zone(zone, policy, clusters),
            Self::Role { role, cluster } => self.with_role(role, cluster.as_deref(), clusters).await,
        }
    }

    fn of_zone(&self, zone: &str, policy: &Policy, clusters: &[Arc<dyn Cluster>]) -> Result<Vec<Node>, AimError> {
        if policy.zones.iter().all(|known| known.name != zone) {
            return Err(self.nothing(&policy.zones.iter().map(|known| known.name.clone()).collect::<Vec<_>>()));
        }
        let all: Vec<Node> = clusters.iter().flat_map(|cluster| cluster.nodes()).collect();
        let fits = |node: &&Node| zone == policy.home || policy.service_of(node).is_some_and(|service| may_reach(policy, zone, service));
        let found: Vec<Node> = all.iter().filter(fits).cloned().collect();
        if found.is_empty() { Err(self.nothing(&all.iter().map(|node| node.name().to_owned()).collect::<Vec<_>>())) } else { Ok(found) }
    }

    async fn with_role(&self, role: &str, cluster: Option<&str>, clusters: &[Arc<dyn Cluster>]) -> Result<Vec<Node>, AimError> {
        let (mut found, mut known) = (Vec::new(), Vec::new());
        for candidate in clusters.iter().filter(|candidate| cluster.is_none_or(|name| candidate.name() == name)) {
            let nodes = candidate.nodes();
            for health in candidate.health().await {
                // What follows the first comma describes the role's state: `primary, 2 of 2 followers stream`.
                if health.observed.split(',').next().is_some_and(|observed| observed.eq_ignore_ascii_case(role)) {
                    found.extend(nodes.iter().find(|node| node.name() == health.node).cloned());
                }
                known.push(format!("{} ({})", health.node, health.observed));
            }
        }
        if found.is_empty() { Err(self.nothing(&known)) } else { Ok(found) }
    }

    fn node(&self, name: &str, clusters: &[Arc<dyn Cluster>]) -> Result<Node, AimError> {
        let all: Vec<Node> = clusters.iter().flat_map(|cluster| cluster.nodes()).collect();
        let found = all.iter().find(|node| node.name() == name).cloned();
        found.ok_or_else(|| self.nothing(&all.iter().map(|node| node.name().to_owned()).collect::<Vec<_>>()))
    }

    fn nothing(&self, known: &[String]) -> AimError {
        let known = if known.is_empty() { "no nodes".to_owned() } else { known.join(", ") };
        AimError::Nothing { aim: self.to_string(), known }
    }
}

/// Whether a zone may reach any port of a service.
fn may_reach(policy: &Policy, zone: &str, service: &Service) -> bool {
    policy.rules_for(&service.name).any(|rule| rule.from == zone)
}

impl fmt::Display for Aim {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(name) => formatter.write_str(name),
            Self::Role { role, cluster: None } => write!(formatter, "role:{role}"),
            Self::Role { role, cluster: Some(cluster) } => write!(formatter, "role:{role}@{cluster}"),
            Self::Cluster(name) => write!(formatter, "cluster:{name}"),
            Self::Zone(name) => write!(formatter, "zone:{name}"),
            Self::Link(one, other) => write!(formatter, "link:{one}-{other}"),
        }
    }
}

impl FromStr for Aim {
    type Err = AimError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || AimError::Malformed(text.to_owned());
        let aim = match text.split_once(':') {
            None => Self::Node(text.to_owned()),
            Some(("role", rest)) => match rest.split_once('@') {
                Some((role, cluster)) => Self::Role { role: role.to_owned(), cluster: Some(cluster.to_owned()) },
                None => Self::Role { role: rest.to_owned(), cluster: None },
            },
            Some(("cluster", name)) => Self::Cluster(name.to_owned()),
            Some(("zone", name)) => Self::Zone(name.to_owned()),
            Some(("link", ends)) => {
                let (one, other) = ends.split_once('-').ok_or_else(malformed)?;
                Self::Link(one.to_owned(), other.to_owned())
            }
            Some(_) => return Err(malformed()),
        };
        if aim.to_string().split([':', '@', '-']).any(str::is_empty) { Err(malformed()) } else { Ok(aim) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aims_read_back() {
        for text in ["pg1", "role:primary", "role:LEADER@neo4j", "cluster:redis", "zone:region-2", "link:pg1-pg2"] {
            assert_eq!(text.parse::<Aim>().unwrap().to_string(), text);
        }
        for text in ["", "role:", "link:pg1", "link:pg1-", "zone:", "site:a", "role:@postgres"] {
            assert!(text.parse::<Aim>().is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn what_is_not_there_is_answered_with_what_is() {
        let policy = Policy::standard().unwrap();
        let error = Aim::Node("pg9".into()).resolve(&[], &policy).await.unwrap_err();
        assert_eq!(error.to_string(), "pg9 does not fit anything; there are no nodes");
        let error = Aim::Zone("moon".into()).resolve(&[], &policy).await.unwrap_err();
        assert_eq!(error.to_string(), "zone:moon does not fit anything; there are application, data, admin, backup, region-2");
        assert!(Aim::Zone("backup".into()).resolve(&[], &policy).await.is_err(), "no node, and an aim all the same");
    }

    #[test]
    fn a_zone_without_nodes_means_those_that_it_may_reach() {
        let policy = Policy::standard().unwrap();
        let reached = |zone: &str| -> Vec<&str> {
            let services = policy.services.iter().filter(|service| may_reach(&policy, zone, service));
            services.map(|service| service.name.as_str()).collect()
        };
        assert!(reached("application").contains(&"pgbouncer") && !reached("application").contains(&"postgres"));
        assert_eq!(reached("region-2")[0], "postgres");
    }
}
