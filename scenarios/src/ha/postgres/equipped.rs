//! Outages that need nodes with an equipment: a cluster of such nodes takes the place of the platform's for the time of the scenario.

use std::time::Duration;

use dora_fixtures::assets;
use dora_harness::{
    database::postgres::{PostgresCluster, connect},
    topology::{Equipment, Ground, Member, Node},
};
use tokio::time::{sleep, timeout};

use super::{
    line::CONNECT_LIMIT,
    target::{Plan, cluster_of},
};
use crate::{ScenarioError, Trial};

/// From one switch of the log to the next.
const SWITCH_EVERY: Duration = Duration::from_millis(500);
/// More files than a log of this size has ready for use.
const SWITCHES_MAX: u32 = 120;
/// A switch that is not done by then is not done.
const SWITCH_LIMIT: Duration = Duration::from_secs(2);

/// Starts the cluster anew with this equipment on every server, carries the outage out, and starts it anew without.
pub async fn carry_out(trial: &Trial, plan: Plan, equipment: &Equipment) -> Result<(), ScenarioError> {
    let (ground, platform) = (trial.ground(), trial.platform());
    let servers: Vec<String> = cluster_of(trial).await?.servers().iter().map(|server| server.name().to_owned()).collect();
    let outcome = {
        let _equipped = Equipped::new(ground, &servers, equipment);
        trial.note("phase", format!("the cluster is started anew, each server with a {equipment}"));
        platform.replace(ground, Member::Postgres).await?;
        plan.carry_out(trial).await
    };
    platform.replace(ground, Member::Postgres).await?;
    outcome
}

/// Nodes that get an equipment at their next start, until this is dropped: also when the scenario's time is over.
struct Equipped<'a> {
    ground: &'a Ground,
    before: Vec<(&'a str, Equipment)>,
}

impl<'a> Equipped<'a> {
    fn new(ground: &'a Ground, nodes: &'a [String], equipment: &Equipment) -> Self {
        let equip = |node: &'a String| {
            let before = ground.equipment(node);
            ground.equip(node, equipment.clone());
            (node.as_str(), before)
        };
        Self { ground, before: nodes.iter().map(equip).collect() }
    }
}

impl Drop for Equipped<'_> {
    fn drop(&mut self) {
        for (node, before) in self.before.drain(..) {
            self.ground.equip(node, before);
        }
    }
}

/// Lets the primary's log need one new file after the other, as that of a busy server does, until the server gives up.
pub fn switch_logs(cluster: &PostgresCluster, primary: &Node) {
    let login = cluster.superuser_login(primary);
    tokio::spawn(async move {
        for _ in 0..SWITCHES_MAX {
            sleep(SWITCH_EVERY).await;
            let switch = async {
                let mut connection = connect(&login, CONNECT_LIMIT).await.ok()?;
                let statement = assets::text("schema/postgres/administration/switch_log.sql").ok()?;
                sqlx::raw_sql(statement).execute(&mut connection).await.ok()
            };
            // A server that has given up, or refuses, is what this is for.
            if !matches!(timeout(SWITCH_LIMIT, switch).await, Ok(Some(_))) {
                return;
            }
        }
    });
}
