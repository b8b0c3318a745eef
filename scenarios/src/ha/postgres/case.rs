//! What is broken, aimed at the roles of the moment.

use std::{sync::Arc, time::Duration};

use dora_harness::{
    database::postgres::{ETCD_PORT, PostgresCluster, SERVER_PORT, Switchover},
    fault::{DiskFull, Fault, Kill, NodeLoss, Partition, Pause, PowerLoss, ProcessKill, Signal, Together},
    topology::Node,
};

use super::{super::Strike, equipped, notice};
use crate::ScenarioError;

/// What a scenario breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// All processes of the primary's node die.
    PrimaryKilled,
    /// The primary's machine is gone: silence.
    PrimaryLost,
    /// All processes of the primary's node are frozen.
    PrimaryPaused,
    /// The primary's own server process dies; its Patroni lives.
    PostmasterKilled,
    /// The primary's Patroni dies; its server lives.
    PatroniKilled,
    /// Every server and every etcd member dies at once.
    AllNodesKilled,
    /// The standbys hear nothing of the primary for some seconds ([`super::cut::Cut`]), then it dies.
    CutOffPrimaryKilled,
    /// Every server loses its power at once, and what it had not flushed; every etcd member dies.
    PowerLossAllNodes,
    /// The primary's disk confirms flushes that it does not carry out, then it loses its power.
    LostFsync,
    /// The primary's data volume is full, and its log needs new files.
    DiskFull,
    /// The leadership is handed over on purpose.
    Switchover,
    /// A standby that nobody waits for dies.
    StandbyKilled,
    /// The standby that the primary waits for dies.
    SyncStandbyKilled,
    /// The primary reaches no other node; clients reach it.
    PrimaryIsolated,
    /// The primary reaches no etcd member.
    PrimaryIsolatedFromEtcd,
    /// The primary reaches no standby.
    PrimaryIsolatedFromStandbys,
    /// The leader among the etcd members dies.
    EtcdNodeLost,
    /// The leader among the etcd members and another one die.
    EtcdMajorityLost,
}

/// How long a disk lies before its power goes.
const LIES_FOR: Duration = Duration::from_secs(5);
/// What is left of a full data volume: less than a page of a table, or a file of the log.
const LEFT_BYTES: u64 = 4 << 10;

fn failed(what: &str) -> impl Fn(String) -> ScenarioError + '_ {
    move |reason| ScenarioError::client(format!("find {what}"), reason)
}

impl Case {
    /// The fault, and whom it hits. `wider`: it is more than is allowed for: every disk lies and not one.
    pub async fn strike(self, cluster: &Arc<PostgresCluster>, wider: bool) -> Result<Strike, ScenarioError> {
        let primary = cluster.primary().await.map_err(failed("the primary"))?;
        let servers =
            |but: &Node| -> Vec<Node> { cluster.servers().iter().filter(|server| server.name() != but.name()).cloned().collect() };
        let kill = |node: &Node, role: &str, port| Box::new(Kill::new(node.clone(), role, port)) as Box<dyn Fault>;
        let one = |fault: Box<dyn Fault>, node: Node| Ok(Strike { fault, hit: vec![node] });
        match self {
            Self::PrimaryKilled | Self::CutOffPrimaryKilled => one(kill(&primary, "primary", SERVER_PORT), primary),
            Self::PrimaryLost => one(Box::new(NodeLoss::new(primary.clone(), "primary", SERVER_PORT)), primary),
            Self::PrimaryPaused => one(Box::new(Pause::new(primary.clone(), "primary", SERVER_PORT)), primary),
            Self::PostmasterKilled => one(process(&primary, "bin/postgres -D"), primary),
            Self::PatroniKilled => one(process(&primary, "patroni /dora/config/patroni.yml"), primary),
            Self::AllNodesKilled => {
                let parts = cluster.servers().iter().map(|server| kill(server, "server", SERVER_PORT));
                let parts = parts.chain(cluster.etcd().iter().map(|member| kill(member, "consensus", ETCD_PORT))).collect();
                Ok(Strike { fault: Box::new(Together::new(parts)), hit: cluster.servers().to_vec() })
            }
            Self::PowerLossAllNodes => {
                let cut = |server: &Node| Box::new(PowerLoss::new(server.clone(), "server", SERVER_PORT)) as Box<dyn Fault>;
                let parts = cluster.servers().iter().map(cut);
                let parts = parts.chain(cluster.etcd().iter().map(|member| kill(member, "consensus", ETCD_PORT))).collect();
                Ok(Strike { fault: Box::new(Together::new(parts)), hit: cluster.servers().to_vec() })
            }
            Self::LostFsync => {
                let lie = |server: &Node, role: &str| {
                    Box::new(PowerLoss::of_a_lying_disk(server.clone(), role, SERVER_PORT, LIES_FOR)) as Box<dyn Fault>
                };
                if wider {
                    let parts = cluster.servers().iter().map(|server| lie(server, "server")).collect();
                    return Ok(Strike { fault: Box::new(Together::new(parts)), hit: cluster.servers().to_vec() });
                }
                one(lie(&primary, "primary"), primary)
            }
            Self::DiskFull => {
                equipped::switch_logs(cluster, &primary);
                one(Box::new(DiskFull::new(primary.clone(), "primary", LEFT_BYTES)), primary)
            }
            Self::Switchover => {
                let to = cluster.standbys(true).await.map_err(failed("a synchronous standby"))?.remove(0);
                one(Box::new(Switchover::new(Arc::clone(cluster), primary.clone(), to)), primary)
            }
            Self::StandbyKilled => {
                // Under a sabotage both are synchronous.
                let standby = match cluster.standbys(false).await {
                    Ok(mut standbys) => standbys.remove(0),
                    Err(_none) => cluster.standbys(true).await.map_err(failed("a standby"))?.remove(0),
                };
                one(kill(&standby, "standby that nobody waits for", SERVER_PORT), standby)
            }
            Self::SyncStandbyKilled => {
                let standby = cluster.standbys(true).await.map_err(failed("a synchronous standby"))?.remove(0);
                one(kill(&standby, "synchronous standby", SERVER_PORT), standby)
            }
            Self::PrimaryIsolated => {
                let peers: Vec<Node> =
                    servers(&primary).into_iter().chain(cluster.etcd().to_vec()).chain([cluster.pooler().clone()]).collect();
                one(Box::new(Partition::isolate(&primary, &peers).on_port(SERVER_PORT)), primary)
            }
            Self::PrimaryIsolatedFromEtcd => {
                let spared: Vec<Node> = servers(&primary).into_iter().chain([cluster.pooler().clone()]).collect();
                let cut = Partition::between(std::slice::from_ref(&primary), cluster.etcd()).sparing(&spared).on_port(SERVER_PORT);
                one(Box::new(cut), primary)
            }
            Self::PrimaryIsolatedFromStandbys => {
                let spared: Vec<Node> = cluster.etcd().iter().cloned().chain([cluster.pooler().clone()]).collect();
                let cut = Partition::between(std::slice::from_ref(&primary), &servers(&primary)).sparing(&spared).on_port(SERVER_PORT);
                one(Box::new(cut), primary)
            }
            Self::EtcdNodeLost => {
                let (leader, _) = cluster.etcd_by_role().await.map_err(failed("the etcd leader"))?;
                one(kill(&leader, "etcd leader", ETCD_PORT), leader)
            }
            Self::EtcdMajorityLost => {
                let (leader, mut others) = cluster.etcd_by_role().await.map_err(failed("the etcd leader"))?;
                let other = others.remove(0);
                let parts = vec![kill(&leader, "etcd leader", ETCD_PORT), kill(&other, "etcd follower", ETCD_PORT)];
                Ok(Strike { fault: Box::new(Together::new(parts)), hit: vec![leader, other] })
            }
        }
    }

    /// Whether the platform knows of it.
    pub async fn has_noticed(self, cluster: &PostgresCluster, hit: &[Node]) -> Result<(), String> {
        match self {
            Self::PrimaryKilled
            | Self::PrimaryLost
            | Self::PrimaryPaused
            | Self::PostmasterKilled
            | Self::PatroniKilled
            | Self::CutOffPrimaryKilled
            | Self::DiskFull
            | Self::LostFsync
            | Self::Switchover
            | Self::PrimaryIsolated
            | Self::PrimaryIsolatedFromEtcd => notice::another_leads(cluster, hit).await,
            Self::StandbyKilled | Self::SyncStandbyKilled => notice::follower_is_missed(cluster, hit).await,
            Self::PrimaryIsolatedFromStandbys => notice::nobody_follows(cluster).await,
            Self::AllNodesKilled | Self::PowerLossAllNodes => notice::pooler_leads_nowhere(cluster).await,
            Self::EtcdNodeLost => notice::etcd_leads_on(cluster, hit).await,
            Self::EtcdMajorityLost => notice::etcd_has_no_leader(cluster).await,
        }
    }
}

/// One process of the primary's node dies.
fn process(primary: &Node, pattern: &str) -> Box<dyn Fault> {
    Box::new(ProcessKill::new(primary.clone(), "primary", pattern, Signal::Kill))
}
