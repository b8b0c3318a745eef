//! A server alone, with a stated way of keeping its data.

use std::{fmt, time::Duration};

use redis::{RedisResult, aio::MultiplexedConnection};

use super::{
    access::{Access, Account, Passwords},
    health::serves,
    pods::{self, PORT, Persistence, ServerPlan},
};
use crate::topology::{Ground, GroundError, Node};

/// A server that starts on little data takes well under a second; a loaded machine is given this.
const READY_LIMIT: Duration = Duration::from_secs(40);

/// How a server keeps its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// Append-only file, synchronised before each answer (`appendfsync always`).
    Always,
    /// Append-only file, synchronised once a second.
    EverySecond,
    /// Append-only file, synchronised when the kernel sees fit.
    Never,
    /// No append-only file: snapshots when they are asked for, and every hour.
    Snapshots,
}

impl Keeping {
    /// All of them, safest first.
    pub const ALL: [Self; 4] = [Self::Always, Self::EverySecond, Self::Never, Self::Snapshots];

    /// A short name: the value of `appendfsync`, or `rdb`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::EverySecond => "everysec",
            Self::Never => "no",
            Self::Snapshots => "rdb",
        }
    }

    fn persistence(self) -> Persistence {
        match self {
            Self::Snapshots => Persistence { append_only: false, ..Persistence::default() },
            other => Persistence { append_only: true, append_fsync: other.name() },
        }
    }
}

impl fmt::Display for Keeping {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The running server.
#[derive(Debug)]
pub struct Single {
    node: Node,
    access: Access,
}

impl Single {
    /// Starts a server of this name; it is removed with [`Single::destroy`].
    ///
    /// # Errors
    /// [`GroundError`], with its log lines when it does not come up.
    pub async fn start(ground: &Ground, name: &str, keeping: Keeping) -> Result<Self, GroundError> {
        let passwords = Passwords::generate();
        let access = Access { authority: ground.authority().certificate().to_owned(), passwords: passwords.clone() };
        let seats = ground.seats(&[name.to_owned()])?;
        let sizes = &ground.topology().redis;
        let plan = ServerPlan {
            cluster_name: name,
            role: "single server",
            replica_of: None,
            sharded: false,
            min_replicas: 0,
            sentinels: &[],
            snapshot: None,
            persistence: keeping.persistence(),
            memory_bytes: sizes.server.memory_bytes(),
            data_mib: sizes.data_mib(),
        };
        let node = ground.start(pods::server(&seats[0], &seats, &passwords, &plan)?).await?;
        let single = Self { node, access };
        match ground.wait_ready(name, "serve", None, READY_LIMIT, || serves(&single.access, &single.node)).await {
            Ok(()) => Ok(single),
            Err(error) => {
                // The start's own error is the one to tell.
                let _ = single.destroy().await;
                Err(error)
            }
        }
    }

    /// Its node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Connects and logs in.
    ///
    /// # Errors
    /// Any error of the client.
    pub async fn connect(&self, account: Account) -> RedisResult<MultiplexedConnection> {
        self.access.connect(self.node.socket(PORT), account).await
    }

    /// How a client gets in.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Removes it with its data.
    ///
    /// # Errors
    /// Any error of the engine.
    pub async fn destroy(&self) -> Result<(), GroundError> {
        Ok(self.node.destroy().await?)
    }
}
