//! What a scenario has of the platform for its time: handed on as it is, or replaced by fresh parts.

use std::{collections::BTreeSet, time::Duration};

use dora_harness::{
    patience::within,
    platform::{Platform, all_healthy},
    topology::{Ground, GroundError, Member},
};
use dora_reports::evidence::Finding;
use futures_util::future::join_all;

use crate::{ScenarioError, Setting};

/// How long a part may take to be healthy again after a scenario before it is replaced.
const HAND_BACK_LIMIT: Duration = Duration::from_secs(45);
const HEALTH_EVERY: Duration = Duration::from_millis(500);

/// How a scenario came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It was never begun.
    NotBegun,
    /// It returned by itself, or found that something it needs is not in this run.
    Through,
    /// An error ended it.
    Failed,
    /// Its deadline cut it off.
    Cut,
}

/// What an end says of the parts that the scenario had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// Nobody touched them.
    AsTheyAre,
    /// The scenario has restored what it changed, as far as it could.
    IfHealthy,
    /// They may be changed in ways that their health does not tell, such as other volumes, passwords or configuration.
    Never(&'static str),
}

impl End {
    /// The end of a scenario that was not cut off.
    pub fn of(outcome: &Result<(), ScenarioError>) -> Self {
        match outcome {
            Ok(()) | Err(ScenarioError::Missing(_)) => Self::Through,
            Err(_) => Self::Failed,
        }
    }

    const fn trust(self) -> Trust {
        match self {
            Self::NotBegun => Trust::AsTheyAre,
            Self::Through => Trust::IfHealthy,
            // Many restore what they changed even then; whether this one did, nobody can tell from its error.
            Self::Failed => Trust::Never("an error ended the scenario, which may have kept it from restoring what it had changed"),
            Self::Cut => Trust::Never("its deadline cut the scenario off, so nothing that it had changed was restored"),
        }
    }
}

/// What became of the parts.
#[derive(Debug, Default)]
pub(super) struct HandedBack {
    /// What the report says of it.
    pub notes: Vec<Finding>,
    /// Why a part is not there any more.
    pub lost: Option<String>,
}

/// Parts of the platform in the hands of one scenario.
pub(super) struct Lent<'a> {
    platform: &'a Platform,
    /// Knows what the scenario starts.
    ground: Ground,
    members: &'static [Member],
    /// The clusters that the parts had at the beginning.
    clusters: BTreeSet<String>,
}

impl<'a> Lent<'a> {
    /// Lends these parts to a scenario that starts nodes through [`Lent::ground`] only.
    pub async fn new(setting: &'a Setting, members: &'static [Member]) -> Self {
        let platform: &Platform = &setting.platform;
        let mut clusters = BTreeSet::new();
        for member in members {
            for cluster in platform.part(*member).clusters().await {
                clusters.extend(cluster.nodes().iter().map(|node| node.cluster().to_owned()));
            }
        }
        Self { platform, ground: setting.ground.watched(), members, clusters }
    }

    /// Where the scenario starts nodes.
    pub fn ground(&self) -> &Ground {
        &self.ground
    }

    /// Replaces what cannot be handed on as it is: everything where the end leaves doubts, else what is not healthy again.
    pub async fn hand_back(self, end: End) -> HandedBack {
        let replaced: Vec<(Member, String)> = match end.trust() {
            Trust::AsTheyAre => Vec::new(),
            Trust::IfHealthy => self.unhealthy().await,
            Trust::Never(why) => self.members.iter().map(|member| (*member, why.to_owned())).collect(),
        };
        let mut handed_back = HandedBack::default();
        if replaced.is_empty() {
            // Without a part, what the scenario started itself is all that it can have left behind.
            if matches!(end.trust(), Trust::Never(_))
                && let Err(error) = self.clear(&[]).await
            {
                let reason = format!("what the scenario had started could not be removed: {error}");
                handed_back.notes.push(Finding::note("not-handed-back", reason));
            }
            return handed_back;
        }
        let members: Vec<Member> = replaced.iter().map(|(member, _)| *member).collect();
        tracing::warn!(?replaced, "parts are replaced");
        for ((member, why), outcome) in replaced.into_iter().zip(self.replace(&members).await) {
            let note = match outcome {
                Ok(()) => Finding::note("part-replaced", format!("the {member} part was then replaced by a fresh one: {why}")),
                Err(error) => {
                    let reason = format!("the {member} part could not be handed back healthy: {error}");
                    handed_back.lost.get_or_insert_with(|| reason.clone());
                    Finding::note("not-handed-back", reason)
                }
            };
            handed_back.notes.push(note);
        }
        handed_back
    }

    async fn unhealthy(&self) -> Vec<(Member, String)> {
        let asked = self.members.iter().map(|member| async move {
            let healthy = within("a healthy part", HAND_BACK_LIMIT, HEALTH_EVERY, || async {
                all_healthy(&self.platform.part_health(*member).await)
            });
            healthy.await.err().map(|error| (*member, error.to_string()))
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// Fresh ones on empty data, as the topology has them. Answers for each member.
    async fn replace(&self, members: &[Member]) -> Vec<Result<(), String>> {
        if let Err(error) = self.clear(members).await {
            return members.iter().map(|_| Err(error.to_string())).collect();
        }
        let starts = members.iter().map(|member| async move {
            let started = self.platform.part(*member).start(&self.ground).await;
            started.map_err(|error| error.to_string())
        });
        join_all(starts).await
    }

    /// Removes these parts and everything that the scenario has started, and forgets how it wanted volumes.
    async fn clear(&self, members: &[Member]) -> Result<(), GroundError> {
        let mut begun = self.ground.begun();
        for member in members {
            let part = self.platform.part(*member);
            for cluster in part.clusters().await {
                begun.extend(cluster.nodes().iter().map(|node| node.name().to_owned()));
            }
            if let Err(error) = part.clear().await {
                // Its nodes are removed by their names.
                tracing::warn!(%member, %error, "the part is not cleared");
            }
        }
        let mut standing: BTreeSet<String> = self.ground.volumes().keepers().into_iter().collect();
        for cluster in self.platform.clusters().await {
            standing.extend(cluster.nodes().iter().map(|node| node.name().to_owned()));
        }
        let abandoned = abandoned(&begun, &standing);
        self.ground.remove(&abandoned).await?;
        let volumes = self.ground.volumes();
        for node in &abandoned {
            volumes.forget(node);
        }
        self.clusters.iter().for_each(|cluster| volumes.plan_cluster(cluster, None));
        Ok(())
    }
}

/// The nodes that were begun and that nobody has: all but those of the parts that are there, and of whoever keeps the keys for the whole run.
fn abandoned(begun: &BTreeSet<String>, standing: &BTreeSet<String>) -> BTreeSet<String> {
    begun.difference(standing).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_scenario_that_returned_by_itself_is_trusted_and_only_with_its_health() {
        assert_eq!(End::of(&Ok(())).trust(), Trust::IfHealthy);
        assert_eq!(End::of(&Err(ScenarioError::Missing("no such part".into()))).trust(), Trust::IfHealthy);
        assert!(matches!(End::of(&Err(ScenarioError::client("ask", "no answer"))).trust(), Trust::Never(_)));
        assert!(matches!(End::Cut.trust(), Trust::Never(why) if why.contains("deadline")));
        assert_eq!(End::NotBegun.trust(), Trust::AsTheyAre);
    }

    #[test]
    fn what_nobody_has_is_abandoned_and_the_keepers_of_keys_are_not() {
        let names = |names: &[&str]| -> BTreeSet<String> { names.iter().map(ToString::to_string).collect() };
        let begun = names(&["keys1", "pg1", "rest-e-pg1", "rest-p-pg1"]);
        assert_eq!(abandoned(&begun, &names(&["keys1", "mdb1"])), names(&["pg1", "rest-e-pg1", "rest-p-pg1"]));
        assert_eq!(abandoned(&begun, &names(&["keys1", "pg1"])), names(&["rest-e-pg1", "rest-p-pg1"]));
    }
}
