//! Who has which role at this moment, and the settings that roles follow from.

use std::time::Duration;

use sqlx::Row as _;
use tokio::time::timeout;

use super::{
    AccessError, PostgresCluster,
    cluster::{ASK_LIMIT, CONNECT_LIMIT, sql},
    connect, patroni,
};
use crate::topology::Node;

/// A promotion ends its recovery first.
const PROMOTION_LIMIT: Duration = Duration::from_secs(25);

/// A standby as the primary sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follower {
    /// The node.
    pub name: String,
    /// Whether it is fed without a break.
    pub streams: bool,
    /// Whether the primary waits for it before it acknowledges.
    pub synchronous: bool,
    /// What it has not applied yet.
    pub lag_bytes: i64,
}

impl PostgresCluster {
    /// The standbys that are connected to the primary.
    ///
    /// # Errors
    /// In words.
    pub async fn followers(&self) -> Result<Vec<Follower>, String> {
        let primary = self.primary().await?;
        let question = sql("monitoring/followers")?;
        let ask = async {
            let mut connection = connect(&self.superuser_login(&primary), CONNECT_LIMIT).await?;
            let rows = sqlx::query(question).fetch_all(&mut connection).await?;
            let follower = |row: &sqlx::postgres::PgRow| {
                Ok::<_, sqlx::Error>(Follower {
                    name: row.try_get("name")?,
                    streams: row.try_get("streams")?,
                    synchronous: row.try_get("synchronous")?,
                    lag_bytes: row.try_get("lag_bytes")?,
                })
            };
            Ok::<_, AccessError>(rows.iter().map(follower).collect::<Result<Vec<_>, _>>()?)
        };
        timeout(ASK_LIMIT, ask).await.map_err(|_elapsed| AccessError::Deadline(ASK_LIMIT).to_string())?.map_err(|e| e.to_string())
    }

    /// The standbys of the primary: those that it waits for, or the others.
    ///
    /// # Errors
    /// In words, also when there is none.
    pub async fn standbys(&self, synchronous: bool) -> Result<Vec<Node>, String> {
        let followers = self.followers().await?;
        let is_wanted = |node: &&Node| followers.iter().any(|follower| follower.name == node.name() && follower.synchronous == synchronous);
        let wanted: Vec<Node> = self.servers.iter().filter(is_wanted).cloned().collect();
        if wanted.is_empty() {
            Err(format!("no standby is {}", if synchronous { "synchronous" } else { "asynchronous" }))
        } else {
            Ok(wanted)
        }
    }

    /// The leader among the etcd members, and the others.
    ///
    /// # Errors
    /// What the members said, when none leads.
    pub async fn etcd_by_role(&self) -> Result<(Node, Vec<Node>), String> {
        let mut said = Vec::new();
        for member in &self.etcd {
            match self.etcd_role(member).await {
                Ok(role) if role == "leader" => {
                    return Ok((member.clone(), self.etcd.iter().filter(|other| other.name() != member.name()).cloned().collect()));
                }
                Ok(role) => said.push(format!("{} is a {role}", member.name())),
                Err(error) => said.push(format!("{}: {error}", member.name())),
            }
        }
        Err(format!("no etcd member leads ({})", said.join("; ")))
    }

    /// Whether the cluster's settings make the primary wait for a standby.
    ///
    /// # Errors
    /// In words, when no Patroni answers.
    pub async fn is_synchronous(&self) -> Result<bool, String> {
        let mut last = String::new();
        for server in &self.servers {
            match patroni::settings(self, server).await {
                Ok(settings) => return Ok(settings["synchronous_mode"] == true),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Whether a server's Patroni is in maintenance mode, in which it promotes nobody and starts nothing again.
    ///
    /// # Errors
    /// In words, when it does not answer.
    pub async fn is_paused(&self, server: &Node) -> Result<bool, String> {
        patroni::is_paused(self, server).await
    }

    /// Merges a JSON document (its members set to null are removed) into the settings that all servers share. Patroni applies them in
    /// its next rounds.
    ///
    /// # Errors
    /// In words, when no Patroni takes it.
    pub async fn change_settings(&self, change: &'static str) -> Result<(), String> {
        let mut last = String::new();
        for server in &self.servers {
            match patroni::change_settings(self, server, change).await {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Hands the leadership from one server to another that is a synchronous standby, as an administrator does it.
    ///
    /// # Errors
    /// Patroni's words.
    pub async fn switch_over(&self, from: &Node, to: &Node) -> Result<(), String> {
        patroni::switch_over(self, from, to).await
    }

    /// Makes a standby writable beside the primary, by its own command: nobody who watches over the cluster is asked.
    ///
    /// # Errors
    /// In words.
    pub async fn promote_past_patroni(&self, standby: &Node) -> Result<(), String> {
        let statement = sql("sabotage/promote")?;
        let ask = async {
            let mut connection = connect(&self.superuser_login(standby), CONNECT_LIMIT).await?;
            Ok::<bool, AccessError>(sqlx::query_scalar(statement).fetch_one(&mut connection).await?)
        };
        match timeout(PROMOTION_LIMIT, ask).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(format!("{} was not promoted in time", standby.name())),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_elapsed) => Err(AccessError::Deadline(PROMOTION_LIMIT).to_string()),
        }
    }

    /// Whom the primary waits for before it acknowledges, in its own words; empty: nobody.
    ///
    /// # Errors
    /// In words.
    pub async fn synchronous_standby_names(&self) -> Result<String, String> {
        let primary = self.primary().await?;
        let question = sql("monitoring/synchronous_standby_names")?;
        let ask = async {
            let mut connection = connect(&self.superuser_login(&primary), CONNECT_LIMIT).await?;
            Ok::<String, AccessError>(sqlx::query_scalar(question).fetch_one(&mut connection).await?)
        };
        timeout(ASK_LIMIT, ask).await.map_err(|_elapsed| AccessError::Deadline(ASK_LIMIT).to_string())?.map_err(|e| e.to_string())
    }
}
