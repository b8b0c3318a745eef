//! Slots move from one master to another while the Cluster serves.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_fixtures::assets;

use super::{Account, PORT, Shard, Sharded};
use crate::{
    database::Cluster as _,
    fault::{Fault, FaultError},
};

/// Some hundred slots take seconds.
const MOVE_LIMIT: Duration = Duration::from_secs(90);

/// Moves the first slots of one shard to another with the operator's tool (`redis-cli --cluster reshard`), and back again. The probe is the
/// table of slots of a node that takes no part.
#[derive(Debug)]
pub struct Resharding {
    cluster: Arc<Sharded>,
    from: Shard,
    to: Shard,
    slots: Vec<u16>,
}

impl Resharding {
    /// The first `count` slots of one shard go to the other, whose own slots must be higher (or they would go back first).
    pub fn new(cluster: Arc<Sharded>, from: Shard, to: Shard, count: usize) -> Self {
        let slots = from.first_slots(count);
        Self { cluster, from, to, slots }
    }

    async fn carry(&self, from: &Shard, to: &Shard, count: usize) -> Result<(), FaultError> {
        let script = assets::text("config/redis/reshard.sh")?;
        let (address, port, count) = (from.master.address().to_string(), PORT.to_string(), count.to_string());
        let command = ["sh", "-c", script, "reshard.sh", &address, &port, &from.id, &to.id, &count];
        let password = format!("{}\n", self.cluster.access().passwords().of(Account::Admin).reveal());
        let output = from.master.exec(&command, password.as_bytes(), MOVE_LIMIT).await?;
        if output.code == 0 {
            return Ok(());
        }
        let last: Vec<&str> = output.stdout.lines().chain(output.stderr.lines()).rev().take(3).collect();
        Err(FaultError::Other(format!("redis-cli failed to move the slots: {}", last.join(" | "))))
    }

    /// Whether all nodes name this owner of all the slots.
    async fn owned_by(&self, owner: &Shard) -> Result<(), String> {
        for node in self.cluster.nodes() {
            let shards = self.cluster.shards_at(&node).await.map_err(|error| format!("{}: {error}", node.name()))?;
            let held = shards
                .iter()
                .find(|shard| shard.id == owner.id)
                .map_or(0, |shard| self.slots.iter().filter(|slot| shard.owns(**slot)).count());
            if held != self.slots.len() {
                return Err(format!("to {} only {held} of {} slots are {}'s", node.name(), self.slots.len(), owner.master.name()));
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Fault for Resharding {
    fn kind(&self) -> &'static str {
        "resharding"
    }

    fn target(&self) -> String {
        format!("{} slots of {} to {}", self.slots.len(), self.from.master.name(), self.to.master.name())
    }

    async fn inject(&self) -> Result<(), FaultError> {
        self.carry(&self.from, &self.to, self.slots.len()).await
    }

    fn confirmed_by(&self) -> String {
        "every node's own table of slots names the new owner".into()
    }

    async fn is_broken(&self) -> Result<(), String> {
        self.owned_by(&self.to).await
    }

    async fn heal(&self) -> Result<(), FaultError> {
        // The tool takes a shard's first slots, and these are the first of their new owner; a move that broke off left some behind.
        let shards = self.cluster.shards_at(&self.to.master).await.map_err(|error| FaultError::Other(error.to_string()))?;
        let moved = shards
            .iter()
            .find(|shard| shard.id == self.to.id)
            .map_or(0, |shard| self.slots.iter().filter(|slot| shard.owns(**slot)).count());
        if moved == 0 { Ok(()) } else { self.carry(&self.to, &self.from, moved).await }
    }

    fn healed_by(&self) -> String {
        "every node's own table of slots names the old owner again".into()
    }

    async fn is_mended(&self) -> Result<(), String> {
        self.owned_by(&self.from).await
    }
}
