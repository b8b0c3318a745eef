//! The policy in force on a set of nodes, and a zone cut off and let back in.

use std::sync::Arc;

use dora_fixtures::assets::AssetError;
use futures_util::future::{join_all, try_join_all};

use super::{NodeRules, Policy, Zones};
use crate::{
    engine::EngineError,
    topology::{GroundError, Node},
};

/// Something about the zones did not work.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A pod or a network did not start.
    #[error(transparent)]
    Ground(#[from] GroundError),
    /// A template or script.
    #[error(transparent)]
    Asset(#[from] AssetError),
    /// A firewall refused its rules.
    #[error("failed to change the rules of {node}: {why}; nftables (nf_tables with ct, in the kernel) is needed")]
    Rules {
        /// The node.
        node: String,
        /// What it said.
        why: String,
    },
    /// The program on a seat did not work.
    #[error("failed to look from zone {zone}: {why}")]
    Seat {
        /// The zone.
        zone: String,
        /// What it said.
        why: String,
    },
    /// This program's own file cannot be read.
    #[error("failed to read this program's own file, which has to be copied into the zones: {0}")]
    Program(String),
    /// No such zone.
    #[error("there is no zone called `{0}`")]
    NoZone(String),
    /// A node that no service of the policy covers.
    #[error("the policy says nothing of {node} ({role} of {cluster}); add a service for it")]
    NoService {
        /// The node.
        node: String,
        /// Its role.
        role: String,
        /// Its cluster.
        cluster: String,
    },
}

/// A node with its rules.
#[derive(Debug, Clone)]
pub struct Enforced {
    /// The node.
    pub node: Node,
    /// Its rules; a planted defect changes them.
    pub rules: NodeRules,
}

/// The policy on a set of nodes. Dropping it takes the rules out again, also when the scenario was broken off.
#[derive(Debug)]
pub struct Enforcement {
    zones: Arc<Zones>,
    nodes: Vec<Enforced>,
    is_lifted: bool,
}

impl Enforcement {
    /// What the policy says of these nodes. Nothing is in force yet.
    ///
    /// # Errors
    /// [`NetworkError::NoService`].
    pub fn plan(zones: &Arc<Zones>, policy: &Policy, nodes: &[Node]) -> Result<Self, NetworkError> {
        let plan = |node: &Node| {
            let missing = || NetworkError::NoService {
                node: node.name().to_owned(),
                role: node.role().to_owned(),
                cluster: node.cluster().to_owned(),
            };
            let service = policy.service_of(node).ok_or_else(missing)?;
            Ok(Enforced { node: node.clone(), rules: zones.rules(policy, service, node) })
        };
        let nodes = nodes.iter().map(plan).collect::<Result<_, NetworkError>>()?;
        Ok(Self { zones: Arc::clone(zones), nodes, is_lifted: true })
    }

    /// The nodes with their rules.
    pub fn nodes(&self) -> &[Enforced] {
        &self.nodes
    }

    /// The rules of one node, to plant a defect.
    pub fn rules_mut(&mut self, node: &str) -> Option<&mut NodeRules> {
        self.nodes.iter_mut().find(|enforced| enforced.node.name() == node).map(|enforced| &mut enforced.rules)
    }

    /// Leads to the zones without a restriction, and lets the firewalls track the connections that are there.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub async fn open(&mut self) -> Result<(), NetworkError> {
        self.is_lifted = false;
        try_join_all(self.nodes.iter().map(|enforced| async {
            self.zones.put_rules(&enforced.node, &enforced.rules.clone().open().text()?).await?;
            self.zones.enforce(&enforced.node, true).await
        }))
        .await?;
        Ok(())
    }

    /// Puts the rules in force, after [`Enforcement::open`].
    ///
    /// # Errors
    /// [`NetworkError`].
    pub async fn enforce(&self) -> Result<(), NetworkError> {
        try_join_all(self.nodes.iter().map(|enforced| async {
            Zones::replace_rules(&enforced.node, &enforced.rules.text()?).await?;
            self.zones.enforce(&enforced.node, false).await
        }))
        .await?;
        Ok(())
    }

    /// Cuts a zone off from the nodes of these names: the rules stay, established connections end.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub async fn sever(&self, zone: &str, nodes: &[&str]) -> Result<(), NetworkError> {
        self.change_severed("add", zone, nodes).await
    }

    /// Lets a zone back in to the nodes of these names.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub async fn restore(&self, zone: &str, nodes: &[&str]) -> Result<(), NetworkError> {
        self.change_severed("delete", zone, nodes).await
    }

    async fn change_severed(&self, change: &str, zone: &str, nodes: &[&str]) -> Result<(), NetworkError> {
        let element = format!("{{ {} }}", self.zones.subnet(zone)?);
        let command = [change, "element", "inet", "dora_zones", "severed", &element];
        let chosen = self.nodes.iter().filter(|enforced| nodes.contains(&enforced.node.name()));
        try_join_all(chosen.map(|enforced| Zones::nft(&enforced.node, &command))).await?;
        Ok(())
    }

    /// Takes all rules out of one node, as an administrator in a hurry does.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub async fn flush(&self, node: &Node) -> Result<(), NetworkError> {
        Zones::nft(node, &["delete", "table", "inet", "dora_zones"]).await
    }

    /// Takes rules and routes out of all nodes.
    ///
    /// # Errors
    /// The first [`NetworkError`]; all are tried.
    pub async fn lift(mut self) -> Result<(), NetworkError> {
        self.is_lifted = true;
        lift(&self.zones, &self.nodes).await
    }
}

async fn lift(zones: &Zones, nodes: &[Enforced]) -> Result<(), NetworkError> {
    join_all(nodes.iter().map(|enforced| zones.lift(&enforced.node))).await.into_iter().collect()
}

impl Drop for Enforcement {
    fn drop(&mut self) {
        let runtime = tokio::runtime::Handle::try_current();
        if self.is_lifted {
            return;
        }
        if let Ok(runtime) = runtime {
            let (zones, nodes) = (Arc::clone(&self.zones), std::mem::take(&mut self.nodes));
            runtime.spawn(async move {
                if let Err(error) = lift(&zones, &nodes).await {
                    tracing::warn!(%error, "the zones' rules stay on a node");
                }
            });
        }
    }
}
