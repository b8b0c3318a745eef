//! The primary hands its role over, as before maintenance.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use mongodb::bson::{Document, doc};

use super::{MemberState, ReplicaSet, limited};
use crate::{
    fault::{Fault, FaultError},
    topology::Node,
};

/// A step-down waits for a secondary to catch up; it takes longer only when none can.
const COMMAND_LIMIT: Duration = Duration::from_secs(15);
/// How long a secondary may take to catch up, in seconds.
const CATCH_UP_S: i32 = 10;
/// How long the old primary cannot be elected again, in seconds, unless it is healed before.
const AWAY_S: i32 = 60;

/// `replSetStepDown` at the primary. Seen in the role that the member itself answers to `hello`.
#[derive(Debug, Clone)]
pub struct StepDown {
    set: Arc<ReplicaSet>,
    node: Node,
    force: bool,
}

impl StepDown {
    /// `node` is the primary.
    pub fn new(set: Arc<ReplicaSet>, node: Node) -> Self {
        Self { set, node, force: false }
    }

    /// Also when nobody can take the role over.
    #[must_use]
    pub fn forced(self) -> Self {
        Self { force: true, ..self }
    }

    async fn order(&self, what: &str, command: Document) -> Result<(), FaultError> {
        let other = |error: super::MongodbError| FaultError::Other(error.to_string());
        let member = self.set.administrator_of(&self.node).map_err(other)?;
        limited(what, COMMAND_LIMIT, member.database("admin").run_command(command)).await.map(drop).map_err(other)
    }
}

#[async_trait]
impl Fault for StepDown {
    fn kind(&self) -> &'static str {
        "step-down"
    }

    fn target(&self) -> String {
        format!("{} (primary)", self.node.name())
    }

    async fn prepare(&self) -> Result<(), FaultError> {
        match self.set.state(&self.node).await {
            Ok(MemberState::Primary) => Ok(()),
            other => {
                let why = other.map_or_else(|error| error.to_string(), |state| format!("it is {state}"));
                Err(FaultError::NotWhole { kind: self.kind().into(), target: self.target(), why })
            }
        }
    }

    async fn inject(&self) -> Result<(), FaultError> {
        let command = doc! { "replSetStepDown": AWAY_S, "secondaryCatchUpPeriodSecs": CATCH_UP_S, "force": self.force };
        self.order("let the primary step down", command).await
    }

    fn confirmed_by(&self) -> String {
        "the member answers `hello` as a secondary".into()
    }

    async fn is_broken(&self) -> Result<(), String> {
        match self.set.state(&self.node).await {
            Ok(MemberState::Secondary) => Ok(()),
            other => Err(other.map_or_else(|error| error.to_string(), |state| format!("it is {state}"))),
        }
    }

    async fn heal(&self) -> Result<(), FaultError> {
        self.order("let the member be elected again", doc! { "replSetFreeze": 0 }).await
    }

    fn healed_by(&self) -> String {
        "a member answers `hello` as the primary".into()
    }

    async fn is_mended(&self) -> Result<(), String> {
        self.set.primary().await.map(drop).map_err(|error| error.to_string())
    }
}
