//! A lock with fencing tokens in the replicated set, and a resource in the Cluster that it guards.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dora_fixtures::assets;
use dora_harness::{
    check::{Answer, Checked, Model, judge, stale_token_tried},
    database::redis::{Account, Replicated, Sharded},
    history::{Operation, Outcome},
    workload::{Client, Completion, Invocation, Locks, Pace, Rhythm},
};
use redis::{Cmd, RedisResult, cluster_async::ClusterConnection};

use super::master::{Master, outcome_of};
use crate::{ScenarioError, ha::CheckedLoad};

/// The lock's key: whose it is.
pub const LOCK: &str = "app:ha:lock";
/// The counter that the tokens come from.
pub const TOKENS: &str = "app:ha:lock:tokens";
/// The guarded resource. It is in another store, so that it does not fall back when the lock's store does.
pub const RESOURCE: &str = "app:ha:guarded";
/// A holder that does not give the lock up loses it after this time.
const EXPIRES_MS: &str = "400";
/// A slow holder stands still for so long after it got its token that its lock has expired and others hold it.
const DAWDLES: Duration = Duration::from_millis(700);
/// Every so many tokens the holder is a slow one, whoever it is.
const DAWDLES_EVERY: u64 = 4;
/// A token counts when every connected replica has it within this time.
const COPY_LIMIT_MS: &str = "400";
/// Clients that want the lock.
const CLIENTS: usize = 3;
/// How a refusal by the resource itself begins.
const REFUSED: &str = "the resource refused";

/// The load: three clients take the lock, write, and give it up; every fourth holder is too slow for its lock. `compares`: whether the
/// resource looks at tokens.
pub async fn load(set: &Replicated, cluster: &Arc<Sharded>, compares: bool) -> Result<CheckedLoad, ScenarioError> {
    let mut clients: Vec<Box<dyn Client>> = Vec::new();
    for number in 0..CLIENTS {
        clients.push(Box::new(Holder {
            name: format!("holder-{number}"),
            master: Master::by_sentinels(set, number).await?,
            replicas: set.servers().len() - 1,
            cluster: Arc::clone(cluster),
            resource: None,
            token: None,
            compares,
        }));
    }
    Ok(CheckedLoad {
        name: "lock",
        clients,
        generator: Box::new(Locks::default()),
        pace: Pace { rhythm: Rhythm::Closed(Duration::from_millis(60)), limit: Duration::from_secs(3) },
        judge: Box::new(fenced),
    })
}

/// Slow holders come with a token that is too old, again and again: a history without one that was refused shows no fencing.
fn fenced(operations: &[Operation]) -> Checked {
    let checked = judge(Model::Fencing, operations);
    if checked.answer != Answer::Holds || stale_token_tried(operations) {
        return checked;
    }
    let why = "no write came with an older token than the resource had accepted, so nothing was there to be refused".to_owned();
    Checked { answer: Answer::Unknown(why), ..checked }
}

/// Removes the guarded resource of an earlier trial.
pub async fn clear(cluster: &Sharded) -> Result<(), ScenarioError> {
    let removed = async {
        let client = cluster.access().cluster_client(&cluster.addresses(), Account::App, 3)?;
        redis::cmd("DEL").arg(RESOURCE).query_async::<()>(&mut client.get_async_connection().await?).await
    };
    removed.await.map_err(|error: redis::RedisError| ScenarioError::client("remove the guarded resource", error))
}

struct Holder {
    name: String,
    master: Master,
    replicas: usize,
    cluster: Arc<Sharded>,
    resource: Option<ClusterConnection>,
    token: Option<u64>,
    compares: bool,
}

#[async_trait]
impl Client for Holder {
    async fn invoke(&mut self, invocation: &Invocation) -> Completion {
        match invocation.f {
            "acquire" => match self.acquire().await {
                Ok(token) => {
                    self.token = Some(token);
                    Completion::read(token)
                }
                Err(outcome) => Completion::of(outcome),
            },
            f => {
                let Some(token) = self.token else { return Completion::of(Outcome::Fail("the lock is another's".into())) };
                let outcome = if f == "write" { self.write(token).await } else { self.release().await };
                // Only the resource's own refusal says that it looked at the token; another failure, such as no connection, does not.
                let unseen = matches!(&outcome, Err(Outcome::Fail(why)) if !why.starts_with(REFUSED));
                let value = (f != "write" || !unseen).then(|| token.into());
                Completion { outcome: outcome.map_or_else(|outcome| outcome, |()| Outcome::Ok), value }
            }
        }
    }
}

impl Holder {
    /// A token counts only when every replica that could be promoted knows of it: otherwise the next master might grant it again.
    async fn acquire(&mut self) -> Result<u64, Outcome> {
        self.token = None;
        let granted: Option<String> = self.master.ask(&["SET", LOCK, &self.name, "NX", "PX", EXPIRES_MS]).await?;
        if granted.is_none() {
            return Err(Outcome::Fail("the lock is taken".into()));
        }
        let token: u64 = self.master.ask(&["INCR", TOKENS]).await?;
        let copies: usize = self.master.ask(&["WAIT", &self.replicas.to_string(), COPY_LIMIT_MS]).await?;
        let (_role, _offset, connected): (String, i64, Vec<(String, String, String)>) = self.master.ask(&["ROLE"]).await?;
        if copies == 0 || copies < connected.len() {
            return Err(Outcome::Unknown(format!("only {copies} of {} replicas know of the token {token}", connected.len())));
        }
        // The holder stands still before its write begins and not within it: only then the write surely comes after those of later holders.
        if token.is_multiple_of(DAWDLES_EVERY) {
            tokio::time::sleep(DAWDLES).await;
        }
        Ok(token)
    }

    async fn write(&mut self, token: u64) -> Result<(), Outcome> {
        let mut command = if self.compares {
            let script = assets::text("schema/redis/scripts/guarded_write.lua").map_err(|error| Outcome::Fail(error.to_string()))?;
            let mut command = redis::cmd("EVAL");
            command.arg(script).arg(1).arg(RESOURCE).arg(token);
            command
        } else {
            let mut command = redis::cmd("HINCRBY");
            command.arg(RESOURCE).arg("writes").arg(1);
            command
        };
        match self.on_resource(&mut command).await {
            Ok(0) => Err(Outcome::Fail(format!("{REFUSED} the token {token}: a newer one was there"))),
            Ok(_) => Ok(()),
            Err(error) => {
                self.resource = None;
                Err(outcome_of(&error))
            }
        }
    }

    async fn on_resource(&mut self, command: &mut Cmd) -> RedisResult<u64> {
        if self.resource.is_none() {
            let client = self.cluster.access().cluster_client(&self.cluster.addresses(), Account::App, 0)?;
            self.resource = Some(client.get_async_connection().await?);
        }
        match &mut self.resource {
            Some(resource) => command.query_async(resource).await,
            None => unreachable!("it was just made"),
        }
    }

    async fn release(&mut self) -> Result<(), Outcome> {
        self.token = None;
        let script = assets::text("schema/redis/scripts/release_lock.lua").map_err(|error| Outcome::Fail(error.to_string()))?;
        match self.master.ask::<u64>(&["EVAL", script, "1", LOCK, &self.name]).await? {
            0 => Err(Outcome::Fail("the lock had expired".into())),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn operation(f: &'static str, token: u64, at: u64, outcome: Outcome) -> Operation {
        let (value, returned, completed) = (Value::Null, token.into(), Some(at + 1));
        Operation { index: at, process: 0, f: f.into(), value, returned, invoked: at, completed, outcome }
    }

    #[test]
    fn fencing_that_had_nothing_to_refuse_is_undecided() {
        let mut history =
            vec![operation("acquire", 1, 0, Outcome::Ok), operation("acquire", 2, 10, Outcome::Ok), operation("write", 2, 20, Outcome::Ok)];
        assert!(matches!(fenced(&history).answer, Answer::Unknown(_)));
        history.push(operation("write", 1, 30, Outcome::Fail("a newer one was there".into())));
        assert_eq!(fenced(&history).answer, Answer::Holds);
        history.push(operation("write", 1, 40, Outcome::Ok));
        assert!(matches!(fenced(&history).answer, Answer::Violated { finding: "stale-token-accepted", .. }));
    }
}
