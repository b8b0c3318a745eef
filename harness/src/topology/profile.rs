//! The profiles and the parts of the platform, by name.

use std::{fmt, str::FromStr, sync::LazyLock};

use dora_fixtures::topology::{Topology, TopologyError};
use serde::Serialize;

/// A size of the platform (clauses DEP-DEV, DEP-STG, DEP-PRD).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// One node of each database.
    Development,
    /// The smallest highly available form of each.
    Staging,
    /// The full form.
    Production,
}

/// A part of the platform that can be started for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Member {
    /// Neo4j: the cluster, and the Community node for the modern driver. First: JVMs boot longest.
    Neo4j,
    /// PostgreSQL with Patroni, etcd and `PgBouncer`.
    Postgres,
    /// MongoDB: the replica set, and the set with an arbiter.
    Mongodb,
    /// InfluxDB: the cluster, and the 1.8 node.
    Influxdb,
    /// Redis: master, replicas and Sentinels, and the Cluster.
    Redis,
    /// OpenBao, which stands for Vault.
    Openbao,
}

/// A name that no profile or member has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no {what} called `{given}`; known are: {known}")]
pub struct UnknownName {
    /// `profile` or `part of the platform`.
    pub what: &'static str,
    /// What was given.
    pub given: String,
    /// All names.
    pub known: String,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Development, Self::Staging, Self::Production];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Staging => "staging",
            Self::Production => "production",
        }
    }

    /// How many nodes of which kind it has: `fixtures/topology/NAME.toml`, read and checked when a profile is first asked for.
    ///
    /// # Errors
    /// [`TopologyError`], with line and field.
    pub fn topology(self) -> Result<&'static Topology, TopologyError> {
        static READ: LazyLock<[Result<Topology, TopologyError>; 3]> =
            LazyLock::new(|| Profile::ALL.map(|profile| Topology::load(profile.name())));
        // The profiles are declared in the order of `ALL`.
        READ[self as usize].as_ref().map_err(Clone::clone)
    }
}

impl Member {
    /// All of them, in the order in which they are started.
    pub const ALL: [Self; 6] = [Self::Neo4j, Self::Postgres, Self::Mongodb, Self::Influxdb, Self::Redis, Self::Openbao];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Neo4j => "neo4j",
            Self::Postgres => "postgres",
            Self::Mongodb => "mongodb",
            Self::Influxdb => "influxdb",
            Self::Redis => "redis",
            Self::Openbao => "openbao",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl fmt::Display for Member {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Profile {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        by_name(&Self::ALL, Self::name, "profile", text)
    }
}

impl FromStr for Member {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        by_name(&Self::ALL, Self::name, "part of the platform", text)
    }
}

fn by_name<T: Copy>(all: &[T], name: fn(T) -> &'static str, what: &'static str, given: &str) -> Result<T, UnknownName> {
    all.iter().copied().find(|candidate| name(*candidate) == given).ok_or_else(|| UnknownName {
        what,
        given: given.to_owned(),
        known: all.iter().copied().map(name).collect::<Vec<_>>().join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_unknown_ones_are_answered_with_the_known() {
        for profile in Profile::ALL {
            assert_eq!(profile.name().parse(), Ok(profile));
            assert_eq!(*profile.topology().unwrap(), Topology::load(profile.name()).unwrap());
        }
        for member in Member::ALL {
            assert_eq!(member.name().parse(), Ok(member));
        }
        let error = "prod".parse::<Profile>().unwrap_err();
        assert_eq!(error.to_string(), "there is no profile called `prod`; known are: development, staging, production");
    }
}
