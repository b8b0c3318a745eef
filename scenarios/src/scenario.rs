//! A scenario as a value.

use std::{fmt, time::Duration};

use dora_fixtures::dataset::Size;
use dora_harness::topology::Member;
use futures_util::future::BoxFuture;

use crate::{ScenarioError, Trial};

/// What kind of property a scenario shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pillar {
    /// TLS on the client port.
    Security,
    /// Load against an objective.
    Performance,
    /// A cluster is struck under load.
    Ha,
    /// Destroyed and restored elsewhere. Last: it replaces the cluster.
    Backup,
}

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Database {
    /// PostgreSQL.
    Postgres,
    /// Neo4j.
    Neo4j,
    /// MongoDB.
    Mongodb,
    /// InfluxDB.
    Influxdb,
    /// Redis.
    Redis,
    /// The key manager, with databases whose secrets it keeps.
    Openbao,
    /// All five together.
    Platform,
}

/// A planted defect under which the scenario must turn red.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sabotage {
    /// Stable kebab-case name, such as `failover-manager-paused`.
    pub id: &'static str,
    /// What is planted, in one sentence.
    pub what: &'static str,
    /// The finding by which the scenario must notice: red for any other reason proves nothing.
    pub expects: &'static str,
}

/// Cases of other pillars that measure how fast something happens, with many clients of their own.
const MEASURES_MOMENTS: [&str; 1] = ["zones"];

/// The function that carries a scenario out.
pub type Run = for<'a> fn(&'a Trial) -> BoxFuture<'a, Result<(), ScenarioError>>;

/// What must hold, and how that is found out.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// `pillar/database`, and where there are several, `pillar/database/case`.
    pub id: &'static str,
    /// One line for people.
    pub title: &'static str,
    /// The pillar.
    pub pillar: Pillar,
    /// The database.
    pub database: Database,
    /// The clauses that it gives evidence for; the first one's objective is its objective.
    pub clauses: &'static [&'static str],
    /// What it wants to find out.
    pub goal: &'static str,
    /// How, step by step.
    pub method: &'static [&'static str],
    /// What it does not show.
    pub does_not_show: &'static [&'static str],
    /// Whether it needs a profile that promises to survive the loss of a node.
    pub needs_high_availability: bool,
    /// The whole scenario's deadline with the small size of the domain data.
    pub deadline: Duration,
    /// At least one.
    pub sabotages: &'static [Sabotage],
    /// Carries it out.
    pub run: Run,
}

impl Scenario {
    /// Whether it must run alone, because it measures what others would disturb.
    pub fn is_exclusive(&self) -> bool {
        self.pillar == Pillar::Performance || MEASURES_MOMENTS.contains(&self.case())
    }

    /// How much of a machine's work it takes beside others, measured in that of a failover, which is mostly waiting. Handshakes, port scans
    /// and restores keep a core busy, and what starts its database anew on encrypted volumes also the disk.
    pub fn weight(&self) -> usize {
        match self.pillar {
            Pillar::Security if self.case() == "at-rest" => 3,
            Pillar::Security | Pillar::Backup => 2,
            Pillar::Ha | Pillar::Performance => 1,
        }
    }

    /// The whole scenario's deadline with the domain data of this size: later where it loads them.
    pub fn deadline_with(&self, size: Size) -> Duration {
        match self.pillar {
            Pillar::Performance | Pillar::Backup => self.deadline * size.deadline_factor(),
            Pillar::Security | Pillar::Ha => self.deadline,
        }
    }

    /// The parts of the platform that it needs, in the order of [`Database::members`]; none where it starts all its nodes itself.
    pub fn members(&self) -> &'static [Member] {
        match self.case() {
            // The key manager stands in the zones beside the database for which it makes credentials.
            "zones" if self.database == Database::Postgres => &[Member::Postgres, Member::Openbao],
            // Its own listeners and links need none of the databases whose secrets it keeps.
            "listeners" | "links" if self.database == Database::Openbao => &[Member::Openbao],
            // Certificates of one database need that one beside the key manager, and not all whose secrets it keeps.
            "certificates-neo4j" => &[Member::Neo4j, Member::Openbao],
            "certificates-postgres" | "certificates-etcd" => &[Member::Postgres, Member::Openbao],
            "certificates-mongodb" => &[Member::Mongodb, Member::Openbao],
            "certificates-influxdb" => &[Member::Influxdb, Member::Openbao],
            "certificates-redis" => &[Member::Redis, Member::Openbao],
            // It looks into every node of the platform; none may be struck meanwhile.
            "secret-search" => &[Member::Neo4j, Member::Postgres, Member::Mongodb, Member::Influxdb, Member::Redis, Member::Openbao],
            "certificates-openbao" => &[Member::Openbao],
            "durability-levels" | "durability-levels-power-loss" => &[],
            _ if self.clauses.contains(&"HA-IDB-2") => &[],
            _ => self.database.members(),
        }
    }

    /// Images, by name in the catalogue, of nodes that it starts for itself beside the platform, or whose files it puts into nodes. They are
    /// built before the run begins, and only where a scenario is selected that needs them: they may take minutes.
    pub fn images(&self) -> &'static [&'static str] {
        match self.case() {
            "zones" => &[dora_harness::network::FIREWALL],
            // Their disks have a cache that a loss of power empties.
            "power-loss-all-nodes" | "lost-fsync" => &[dora_harness::topology::TOOLBOX],
            "durability-levels" => &["redis"],
            "durability-levels-power-loss" => &["redis", dora_harness::topology::TOOLBOX],
            // Replication to a second datacentre is in a release of its own, which the platform does not run otherwise.
            _ if self.clauses.contains(&"HA-IDB-2") => &[dora_harness::database::influxdb::datacentres::IMAGE],
            // Keys of encrypted volumes are made by a server that is there before the databases.
            _ if self.clauses.iter().any(|clause| clause.starts_with("SEC-REST-")) => &["openbao"],
            _ => &[],
        }
    }

    /// What sets it apart from others of the same pillar and database: the last part of its id. Objectives of one case have this name
    /// in the catalogue.
    pub fn case(&self) -> &'static str {
        self.id.rsplit('/').next().unwrap_or(self.id)
    }

    /// The sabotage of that name.
    pub fn sabotage(&self, id: &str) -> Option<&'static Sabotage> {
        self.sabotages.iter().find(|sabotage| sabotage.id == id)
    }
}

impl Pillar {
    /// All of them, in the order in which they run on one cluster.
    pub const ALL: [Self; 4] = [Self::Security, Self::Performance, Self::Ha, Self::Backup];

    /// The first half of a scenario's id.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Security => "security",
            Self::Performance => "performance",
            Self::Ha => "ha",
            Self::Backup => "backup",
        }
    }
}

impl Database {
    /// Each of the five.
    pub const ALL: [Self; 5] = [Self::Postgres, Self::Neo4j, Self::Mongodb, Self::Influxdb, Self::Redis];

    /// The second half of a scenario's id.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Postgres => Member::Postgres.name(),
            Self::Neo4j => Member::Neo4j.name(),
            Self::Mongodb => Member::Mongodb.name(),
            Self::Influxdb => Member::Influxdb.name(),
            Self::Redis => Member::Redis.name(),
            Self::Openbao => Member::Openbao.name(),
            Self::Platform => "platform",
        }
    }

    /// The parts of the platform that hold it, in the order in which whoever needs several takes them.
    pub const fn members(self) -> &'static [Member] {
        match self {
            Self::Postgres => &[Member::Postgres],
            Self::Neo4j => &[Member::Neo4j],
            Self::Mongodb => &[Member::Mongodb],
            Self::Influxdb => &[Member::Influxdb],
            Self::Redis => &[Member::Redis],
            Self::Openbao => &[Member::Postgres, Member::Mongodb, Member::Redis, Member::Openbao],
            Self::Platform => &[Member::Neo4j, Member::Postgres, Member::Mongodb, Member::Influxdb, Member::Redis],
        }
    }
}

impl fmt::Display for Pillar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl fmt::Display for Database {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
