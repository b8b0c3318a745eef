//! A planned change of the master.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Account, PORT, Replicated, info};
use crate::{
    fault::{Fault, FaultError},
    topology::Node,
};

/// The Sentinels are told to make another server the master (`SENTINEL FAILOVER`). There is nothing to heal: the old master comes back as a
/// replica by itself. The probe asks the servers, not the Sentinels.
#[derive(Debug)]
pub struct Switchover {
    set: Arc<Replicated>,
    /// The master before.
    from: Node,
}

impl Switchover {
    /// Away from this master.
    pub fn new(set: Arc<Replicated>, from: Node) -> Self {
        Self { set, from }
    }

    /// The role that a server has by its own word.
    async fn role(&self, node: &Node) -> Result<String, String> {
        let asked = async {
            let mut connection = self.set.access().connect(node.socket(PORT), Account::Admin).await?;
            info(&mut connection, "replication").await
        };
        let said = asked.await.map_err(|error| format!("{}: {error}", node.name()))?;
        said.get("role").cloned().ok_or_else(|| format!("{} names no role", node.name()))
    }
}

#[async_trait]
impl Fault for Switchover {
    fn kind(&self) -> &'static str {
        "switchover"
    }

    fn target(&self) -> String {
        format!("{} (master)", self.from.name())
    }

    async fn prepare(&self) -> Result<(), FaultError> {
        match self.role(&self.from).await.map_err(FaultError::Other)?.as_str() {
            "master" => Ok(()),
            role => Err(FaultError::Other(format!("{} is a {role}, so it cannot hand over", self.from.name()))),
        }
    }

    async fn inject(&self) -> Result<(), FaultError> {
        self.set.sentinels().order_failover().await.map_err(FaultError::Other)
    }

    fn confirmed_by(&self) -> String {
        "another server says `role:master` of itself".into()
    }

    async fn is_broken(&self) -> Result<(), String> {
        for node in self.set.servers().iter().filter(|node| node.name() != self.from.name()) {
            if self.role(node).await.is_ok_and(|role| role == "master") {
                return Ok(());
            }
        }
        Err("no other server is a master".into())
    }

    async fn heal(&self) -> Result<(), FaultError> {
        Ok(())
    }

    fn healed_by(&self) -> String {
        "the old master says `role:slave` of itself".into()
    }

    async fn is_mended(&self) -> Result<(), String> {
        match self.role(&self.from).await?.as_str() {
            "slave" => Ok(()),
            role => Err(format!("{} is still a {role}", self.from.name())),
        }
    }
}
