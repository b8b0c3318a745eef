//! Sessions that write a register each and read it back somewhere else, and what is remembered of them.

use std::time::Duration;

use dora_harness::{
    check::{Model, judge},
    database::neo4j::{BoltOne, GraphError},
    history::{Outcome, Recorder},
    topology::Node,
};
use dora_reports::evidence::Finding;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    ScenarioError, Trial,
    ha::{
        neo4j::{
            clients::{parameters, statement},
            defect::Defect,
            target::Target,
        },
        report,
    },
};

/// Registers of this scenario, one a session.
const LOAD: &str = "bookmarks";
/// More than it has sessions.
const REGISTERS: u32 = 100;
/// The server refuses a bookmark that it cannot reach within 30 s; a client waits a little longer.
const PATIENT: Duration = Duration::from_secs(35);
const IMPATIENT: Duration = Duration::from_millis(500);
/// How long a read with a bookmark is asked again.
const ANSWER_LIMIT: Duration = Duration::from_secs(70);
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// A write that was acknowledged.
pub struct Written {
    /// Its register, and its session: each has this one only.
    key: u32,
    bookmark: String,
    history: Recorder,
}

/// What the scenario has at hand.
pub struct Course<'a> {
    /// The trial.
    pub trial: &'a Trial,
    /// The cluster.
    pub target: &'a Target,
    leader: BoltOne,
    /// Reads with bookmarks, and the writes before them.
    marked: Recorder,
    marked_file: String,
    /// Reads without.
    plain: Recorder,
    next: u32,
    unanswered: u32,
}

impl<'a> Course<'a> {
    /// With empty registers.
    pub async fn begin(trial: &'a Trial, target: &'a Target) -> Result<Self, ScenarioError> {
        let made = parameters([("load", LOAD.into()), ("count", REGISTERS.into())]);
        let made = target.at_leader().await?.run(statement("registers")?, &made).await;
        made.map_err(|error| ScenarioError::client("make registers", error))?;
        let (marked, marked_file) = trial.further_recorder("with-bookmark")?;
        let (plain, _) = trial.further_recorder("without-bookmark")?;
        let leader = connect(target, &target.leader().await?, PATIENT).await?;
        Ok(Self { trial, target, leader, marked, marked_file, plain, next: 0, unanswered: 0 })
    }

    /// A connection for reads with bookmarks.
    pub async fn session(&self, node: &Node) -> Result<BoltOne, ScenarioError> {
        let limit = if self.target.defect == Some(Defect::Impatient) { IMPATIENT } else { PATIENT };
        connect(self.target, node, limit).await
    }

    /// A connection for reads without.
    pub async fn plain_session(&self, node: &Node) -> Result<BoltOne, ScenarioError> {
        connect(self.target, node, PATIENT).await
    }

    /// A new session writes its register at the leader, to read it with the bookmark.
    pub async fn write_marked(&mut self) -> Result<Written, ScenarioError> {
        let history = self.marked.clone();
        self.write(history).await
    }

    /// A new session writes its register at the leader, to read it without the bookmark.
    pub async fn write_plain(&mut self) -> Result<Written, ScenarioError> {
        let history = self.plain.clone();
        self.write(history).await
    }

    async fn write(&mut self, history: Recorder) -> Result<Written, ScenarioError> {
        let fail = |why: String| ScenarioError::client("write at the leader", why);
        let key = self.next;
        self.next += 1;
        let value = json!([key, 1]);
        let asked = parameters([("load", LOAD.into()), ("key", key.into()), ("value", 1.into())]);
        history.invoke(key, "write", &value);
        let answer = self.leader.transact(None, statement("write_register")?, &asked).await;
        let outcome = match &answer {
            Ok(_) => Outcome::Ok,
            Err(error) => Outcome::Unknown(error.to_string()),
        };
        history.complete(key, "write", &value, &outcome);
        let (rows, bookmark) = answer.map_err(|error| fail(error.to_string()))?;
        if rows.is_empty() {
            return Err(fail(format!("there is no register {key}")));
        }
        let bookmark = bookmark.ok_or_else(|| fail("the commit had no bookmark".into()))?;
        Ok(Written { key, bookmark, history })
    }

    /// Reads what was written, with its bookmark.
    pub async fn read_marked(&self, connection: &mut BoltOne, written: &Written) -> Result<Result<Value, GraphError>, ScenarioError> {
        let dropped = self.target.defect == Some(Defect::BookmarkDropped);
        read(connection, written, (!dropped).then_some(written.bookmark.as_str())).await
    }

    /// Reads what was written, without its bookmark; null where the server does not have it yet.
    pub async fn read_plain(&self, connection: &mut BoltOne, written: &Written) -> Result<Value, ScenarioError> {
        read(connection, written, None).await?.map_err(|error| ScenarioError::client("read without a bookmark", error))
    }

    /// Reads with the bookmark, and asks again when the server refuses: that is its way to say that it waited long enough.
    pub async fn until_answered(
        &self,
        node: &Node,
        connection: &mut BoltOne,
        written: &Written,
    ) -> Result<Result<Value, GraphError>, ScenarioError> {
        let deadline = Instant::now() + ANSWER_LIMIT;
        loop {
            match self.read_marked(connection, written).await? {
                Err(error) if self.target.defect != Some(Defect::Impatient) && Instant::now() < deadline => {
                    if !error.leaves_usable() {
                        *connection = self.session(node).await?;
                    }
                    sleep(AGAIN_AFTER).await;
                }
                answer => return Ok(answer),
            }
        }
    }

    /// Counts a read with a bookmark that had no answer.
    pub fn not_answered(&mut self, node: &Node, error: &GraphError) {
        self.unanswered += 1;
        if self.unanswered == 1 {
            let message = format!("{} did not answer a read with a bookmark: {error}", node.name());
            self.trial.find(Finding::violation("bookmark-read-not-answered", message));
        }
    }

    /// What came of all reads with bookmarks.
    pub fn judge(self) -> Result<(), ScenarioError> {
        self.trial.measure("reads_not_answered", Some(f64::from(self.unanswered)), "reads");
        self.marked.flush()?;
        self.plain.flush()?;
        report(self.trial, "bookmarks", &self.marked_file, &judge(Model::Causal, &self.marked.operations()?));
        Ok(())
    }
}

async fn connect(target: &Target, node: &Node, limit: Duration) -> Result<BoltOne, ScenarioError> {
    let connected = target.cluster.session_of(node, limit).await;
    connected.map_err(|error| ScenarioError::client(format!("reach {}", node.name()), error))
}

/// Reads a session's register, and records it.
async fn read(connection: &mut BoltOne, written: &Written, bookmark: Option<&str>) -> Result<Result<Value, GraphError>, ScenarioError> {
    let Written { key, history, .. } = written;
    history.invoke(*key, "read", &json!([key, null]));
    let asked = parameters([("load", LOAD.into()), ("key", (*key).into())]);
    let answer = connection.transact(bookmark, statement("read_register")?, &asked).await;
    let answer = answer.map(|(rows, _)| rows.first().map(|row| row["value"].clone()).unwrap_or_default());
    match &answer {
        Ok(value) => history.complete(*key, "read", &json!([key, value]), &Outcome::Ok),
        Err(error) => history.complete(*key, "read", &json!([key, null]), &Outcome::Fail(error.to_string())),
    }
    Ok(answer)
}
