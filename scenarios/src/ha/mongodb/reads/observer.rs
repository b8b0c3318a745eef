//! Sees at the members which of them answered a read: each profiles the reads of one collection, and every read carries a comment of its own.

use std::{sync::Arc, time::Duration};

use dora_harness::{
    database::mongodb::{Connection, MongodbError, ReplicaSet, TRIALS, limited},
    patience::within,
    topology::Node,
};
use futures_util::future::join_all;
use mongodb::bson::{Document, doc};

use crate::ScenarioError;

/// One question to one member.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
/// A member's profile has a read by then that it answered.
const PROFILED_LIMIT: Duration = Duration::from_secs(3);

/// The profiles of some members.
pub(super) struct Observer {
    members: Vec<(Node, Connection)>,
    namespace: String,
}

impl Observer {
    /// Lets these members profile reads of the collection from now on.
    pub(super) async fn watch(set: &Arc<ReplicaSet>, nodes: &[Node], collection: &str) -> Result<Self, MongodbError> {
        let members = nodes.iter().map(|node| Ok((node.clone(), set.administrator_of(node)?))).collect::<Result<_, MongodbError>>()?;
        let observer = Self { members, namespace: format!("{TRIALS}.{collection}") };
        let command = doc! { "profile": 1, "slowms": 0, "filter": { "ns": &observer.namespace } };
        for (_, member) in &observer.members {
            limited("profile a member's reads", REQUEST_LIMIT, member.database(TRIALS).run_command(command.clone())).await?;
        }
        Ok(observer)
    }

    /// The member whose profile has the read with that comment.
    pub(super) async fn answered(&self, comment: &str) -> Result<String, ScenarioError> {
        let found = || async {
            let asked = self.members.iter().map(|(node, member)| async move {
                let profile = member.database(TRIALS).collection::<Document>("system.profile");
                let wanted = doc! { "ns": &self.namespace, "command.comment": comment };
                let seen = limited("read a member's profile", REQUEST_LIMIT, profile.find_one(wanted)).await;
                seen.map(|entry| entry.map(|_entry| node.name().to_owned())).map_err(|error| error.to_string())
            });
            let seen = join_all(asked).await.into_iter().collect::<Result<Vec<Option<String>>, String>>()?;
            match seen.into_iter().flatten().collect::<Vec<String>>().as_slice() {
                [one] => Ok(one.clone()),
                [] => Err("no member has profiled it".to_owned()),
                several => Err(format!("{} have profiled it", several.join(" and "))),
            }
        };
        Ok(within("the profile of a read", PROFILED_LIMIT, Duration::from_millis(20), found).await?)
    }

    /// Ends it. A member that is away forgot it when it ended.
    pub(super) async fn end(&self) {
        let command = doc! { "profile": 0, "slowms": 100, "filter": "unset" };
        for (node, member) in &self.members {
            let ended = limited("end a member's profile", REQUEST_LIMIT, member.database(TRIALS).run_command(command.clone())).await;
            if let Err(error) = ended {
                tracing::debug!(node = node.name(), %error, "the profile was not ended");
            }
        }
    }
}
