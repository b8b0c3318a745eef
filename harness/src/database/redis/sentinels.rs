//! The Sentinels of a replicated set: whom they hold for the master, and what they make of a loss.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
};

use futures_util::future::join_all;
use rand::RngExt as _;
use redis::{RedisResult, aio::MultiplexedConnection};

use super::{
    access::{Access, Account, MASTER_NAME, ask},
    health::health,
    pods::SENTINEL_PORT,
};
use crate::topology::{Node, NodeHealth};

/// The Sentinels that watch one master; none where the set is a single server.
#[derive(Debug)]
pub struct Sentinels {
    nodes: Vec<Node>,
    access: Access,
    quorum: usize,
}

impl Sentinels {
    pub(super) fn new(nodes: Vec<Node>, access: Access, quorum: usize) -> Self {
        Self { nodes, access, quorum }
    }

    /// Their nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// How many have to agree that the master is down.
    pub fn quorum(&self) -> usize {
        self.quorum
    }

    /// Where they listen.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.socket(SENTINEL_PORT)).collect()
    }

    /// The master's address by the word of the first Sentinel that answers; [`None`] where there is no Sentinel.
    ///
    /// # Errors
    /// What the last Sentinel said.
    pub async fn master(&self) -> Result<Option<Ipv4Addr>, String> {
        let mut last = None;
        for sentinel in &self.nodes {
            match self.master_at(sentinel).await {
                Ok(address) => return Ok(Some(address)),
                Err(error) => last = Some(format!("{}: {error}", sentinel.name())),
            }
        }
        last.map_or(Ok(None), Err)
    }

    async fn master_at(&self, sentinel: &Node) -> Result<Ipv4Addr, String> {
        let asked = async {
            let mut connection = self.connect(sentinel, Account::App).await?;
            ask::<Vec<String>>(&mut connection, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME]).await
        };
        let answer: RedisResult<Vec<String>> = asked.await;
        let answer = answer.map_err(|error| error.to_string())?;
        answer.first().and_then(|address| address.parse().ok()).ok_or_else(|| format!("no address in {answer:?}"))
    }

    /// A connection to one of them.
    ///
    /// # Errors
    /// Any error of the client.
    pub async fn connect(&self, sentinel: &Node, account: Account) -> RedisResult<MultiplexedConnection> {
        self.access.connect(sentinel.socket(SENTINEL_PORT), account).await
    }

    /// What every Sentinel says about the master of this address: `Ok` when one holds it for down, or names another.
    ///
    /// # Errors
    /// Why not yet.
    pub async fn have_noticed_loss(&self, master: Ipv4Addr) -> Result<(), String> {
        let views = join_all(self.nodes.iter().map(|sentinel| async move {
            let mut connection = self.connect(sentinel, Account::App).await?;
            ask::<BTreeMap<String, String>>(&mut connection, &["SENTINEL", "MASTER", MASTER_NAME]).await
        }))
        .await;
        let address = master.to_string();
        let noticed = views
            .iter()
            .flatten()
            .any(|view| view.get("ip") != Some(&address) || view.get("flags").is_some_and(|flags| flags.contains("o_down")));
        if noticed { Ok(()) } else { Err("no Sentinel says that the master is down".to_owned()) }
    }

    /// Whether so many live Sentinels know each other that a failover could be agreed on, by the word of the first that answers;
    /// otherwise that word.
    ///
    /// # Errors
    /// That none answers.
    pub async fn can_agree(&self) -> Result<Result<(), String>, String> {
        for sentinel in &self.nodes {
            let Ok(mut connection) = self.connect(sentinel, Account::App).await else { continue };
            // An answer that begins with NOQUORUM is an error to the driver.
            return Ok(ask::<String>(&mut connection, &["SENTINEL", "CKQUORUM", MASTER_NAME])
                .await
                .map(drop)
                .map_err(|error| error.to_string()));
        }
        Err("no Sentinel answers".to_owned())
    }

    /// Sends `SENTINEL SET mymaster name value` to every Sentinel.
    ///
    /// # Errors
    /// The first refusal.
    pub async fn set(&self, name: &str, value: &str) -> RedisResult<()> {
        for sentinel in &self.nodes {
            let mut connection = self.connect(sentinel, Account::Admin).await?;
            ask::<()>(&mut connection, &["SENTINEL", "SET", MASTER_NAME, name, value]).await?;
        }
        Ok(())
    }

    /// Orders a failover of the first Sentinel that answers; the others are not asked whether they agree.
    ///
    /// # Errors
    /// The refusal, or that none answers.
    pub async fn order_failover(&self) -> Result<(), String> {
        for sentinel in &self.nodes {
            let Ok(mut connection) = self.connect(sentinel, Account::Admin).await else { continue };
            return ask::<()>(&mut connection, &["SENTINEL", "FAILOVER", MASTER_NAME]).await.map_err(|error| error.to_string());
        }
        Err("no Sentinel answers".to_owned())
    }

    pub(super) async fn health_of(&self, node: &Node, master: Result<&Node, &String>) -> NodeHealth {
        let asked = async {
            let named = self.master_at(node).await?;
            if master.is_ok_and(|master| master.address() != named) {
                return Err(format!("Sentinel that watches {named}"));
            }
            let mut connection = self.connect(node, Account::App).await.map_err(|error| error.to_string())?;
            let said: String = ask(&mut connection, &["SENTINEL", "CKQUORUM", MASTER_NAME]).await.map_err(|error| error.to_string())?;
            let whole = format!("OK {} ", self.nodes.len());
            if said.starts_with(&whole) { Ok("Sentinel".to_owned()) } else { Err(format!("Sentinel: {said}")) }
        };
        health(node, "Sentinel", asked.await)
    }
}

/// A Sentinel's identity: 40 hexadecimal digits.
pub(super) fn identity() -> String {
    let mut random = rand::rng();
    (0..40).filter_map(|_| char::from_digit(random.random_range(0..16), 16)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_what_sentinel_accepts() {
        let id = identity();
        assert_eq!(id.len(), 40);
        assert!(id.chars().all(|digit| digit.is_ascii_hexdigit()));
        assert_ne!(id, identity());
    }
}
