//! A node does not know its peers' names any more.

use std::{net::Ipv4Addr, time::Duration};

use async_trait::async_trait;
use dora_fixtures::assets;

use super::{
    Fault, FaultError, Firewall,
    firewall::{Rule, Verdict, random_id},
};
use crate::topology::Node;

/// The engine's name server, as containers see it.
const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
/// A look-up that finds no server gives up after ten seconds.
const EXEC_LIMIT: Duration = Duration::from_secs(30);

/// The names of some peers are taken out of a node's hosts file, and the engine's name server is silent: a look-up fails, addresses still
/// work.
#[derive(Debug, Clone)]
pub struct NameLoss {
    node: Node,
    role: String,
    names: Vec<String>,
    id: String,
    firewall: Firewall,
}

impl NameLoss {
    /// The node loses the names of these peers; its own name is the probe's positive control and is never lost.
    pub fn new(node: Node, role: impl Into<String>, peers: &[Node]) -> Self {
        let names = peers.iter().map(|peer| peer.name().to_owned()).filter(|name| name != node.name()).collect();
        let id = random_id();
        let firewall = Firewall::with(Vec::new(), vec![Rule::peer(NAME_SERVER, Verdict::Drop)]).named(&id);
        Self { node, role: role.into(), names, id, firewall }
    }

    /// Under the name of an earlier fault, to heal what another process injected.
    #[must_use]
    pub fn named(self, id: &str) -> Self {
        Self { id: id.to_owned(), firewall: self.firewall.named(id), ..self }
    }

    async fn rewrite(&self, action: &str) -> Result<(), FaultError> {
        let script = assets::text("config/fault/names.sh")?;
        let mut command = vec!["sh", "-s", "--", action, &self.id];
        command.extend(self.names.iter().map(String::as_str));
        let output = self.node.exec_in_pod(&command, script.as_bytes(), EXEC_LIMIT).await?;
        if output.code == 0 {
            return Ok(());
        }
        Err(FaultError::Other(format!("failed to {action} names of {}: {}", self.node.name(), output.stderr.trim())))
    }

    /// Whether the database's user finds the name's address.
    async fn finds(&self, name: &str) -> Result<bool, String> {
        let output = self.node.exec(&["getent", "ahostsv4", name], &[], EXEC_LIMIT).await.map_err(|error| error.to_string())?;
        Ok(output.code == 0)
    }
}

#[async_trait]
impl Fault for NameLoss {
    fn kind(&self) -> &'static str {
        "name-loss"
    }

    fn target(&self) -> String {
        format!("{} on {} ({})", self.names.join("+"), self.node.name(), self.role)
    }

    async fn prepare(&self) -> Result<(), FaultError> {
        if self.names.is_empty() {
            return Err(FaultError::Other("name at least one peer whose name shall be lost".into()));
        }
        super::life::whole(self, super::life::WHOLE_LIMIT).await
    }

    async fn inject(&self) -> Result<(), FaultError> {
        self.firewall.put(&self.node).await?;
        self.rewrite("hide").await
    }

    fn confirmed_by(&self) -> String {
        "beside the database a look-up of each name fails, and one of the node's own name does not".into()
    }

    async fn is_broken(&self) -> Result<(), String> {
        if !self.finds(self.node.name()).await? {
            return Err("the node does not find its own name either".into());
        }
        for name in &self.names {
            if self.finds(name).await? {
                return Err(format!("{name} is still found"));
            }
        }
        Ok(())
    }

    async fn heal(&self) -> Result<(), FaultError> {
        self.rewrite("show").await?;
        self.firewall.remove(&self.node).await
    }

    fn healed_by(&self) -> String {
        "beside the database a look-up of each name succeeds".into()
    }

    async fn is_mended(&self) -> Result<(), String> {
        for name in self.names.iter().map(String::as_str).chain([self.node.name()]) {
            if !self.finds(name).await? {
                return Err(format!("{name} is not found"));
            }
        }
        Ok(())
    }
}
