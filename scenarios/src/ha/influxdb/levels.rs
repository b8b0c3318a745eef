//! What each consistency level acknowledges, with all nodes, with one and with two of three lost, and whether what was acknowledged stays.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use dora_harness::{
    check::durability,
    database::{
        Cluster as _,
        influxdb::{Consistency, Influx, PORT},
    },
    fault::{Confirmed, Kill, inject},
    history::{Operation, Outcome, Recorder},
    patience::within,
    platform::all_healthy,
    topology::Node,
};
use dora_reports::evidence::{Finding, NamedLimit, ProbeCell, ProbeMatrix, ProbeRow};
use futures_util::future::{join_all, try_join_all};

use super::{
    clients::outcome,
    during::ANSWER_LIMIT,
    sabotage::{SINGLE_COPY_ONLY, WRITTEN_WITH_ONE},
    set::{LEDGER, SINGLE_COPY, Set, failed, make_databases, others},
};
use crate::{Database, Pillar, Sabotage, Scenario, ScenarioError, Trial};

/// The scenario.
pub const CONSISTENCY_LEVELS: Scenario = Scenario {
    id: "ha/influxdb/consistency-levels",
    title: "Each consistency level of InfluxDB acknowledges what it promises",
    pillar: Pillar::Ha,
    database: Database::Influxdb,
    clauses: &["HA-IDB-1"],
    goal: "find out which writes are acknowledged and which are refused at each consistency level as nodes are lost one after the other",
    method: &[
        "write with consistency any, one, quorum and all to a node that stays, five writes each, into a database with three copies",
        "do so with all nodes, after one node was killed, and after a second one was",
        "write into a database with a single copy whose node is dead: only any may acknowledge, because the node that was asked keeps the point",
        "start both nodes again; every acknowledged write has to be there, on every node that has a copy",
    ],
    does_not_show: &[
        "levels of reads: the engine has none",
        "that a refused write left nothing behind: it may be on some copies, and says so",
    ],
    needs_high_availability: true,
    deadline: Duration::from_secs(150),
    sabotages: &[
        Sabotage {
            id: WRITTEN_WITH_ONE,
            what: "the client writes with consistency one where quorum is asserted",
            expects: "level-not-kept",
        },
        Sabotage { id: SINGLE_COPY_ONLY, what: "the database with three copies has one", expects: "level-not-kept" },
    ],
    run: |trial| Box::pin(run(trial)),
};

/// Writes of one cell of the table.
const WRITES: u64 = 5;
/// A fault shows within this time, and so does its end.
const FAULT_LIMIT: Duration = Duration::from_secs(15);
const ACKNOWLEDGED: &str = "acknowledged";
const REFUSED: &str = "refused";

/// A line of the table: what is written under which circumstances, and which levels have to acknowledge it.
struct Row {
    name: &'static str,
    acknowledge: &'static [Consistency],
    first: u64,
}

const ALL_NODES: Row = Row { name: "all nodes", acknowledge: &Consistency::LEVELS, first: 0 };
const ONE_LOST: Row = Row { name: "one node lost", acknowledge: &[Consistency::Any, Consistency::One, Consistency::Quorum], first: 100 };
const TWO_LOST: Row = Row { name: "two nodes lost", acknowledge: &[Consistency::Any, Consistency::One], first: 200 };
const COPY_LOST: Row = Row { name: "one copy, its node lost", acknowledge: &[Consistency::Any], first: 300 };

impl Row {
    fn level_of(&self, value: u64) -> Option<Consistency> {
        let at = value.checked_sub(self.first)? / WRITES;
        Consistency::LEVELS.get(usize::try_from(at).ok()?).copied()
    }

    /// From the history: what came of the writes of each level.
    fn evidence(&self, operations: &[Operation]) -> ProbeRow {
        let cell = |level: Consistency| {
            let written = operations.iter().filter(|write| write.number().and_then(|value| self.level_of(value)) == Some(level));
            let (mut acknowledged, mut refused, mut silent) = (0_u64, 0_u64, 0_u64);
            for write in written {
                match &write.outcome {
                    Outcome::Ok => acknowledged += 1,
                    Outcome::Fail(_) => refused += 1,
                    // The server's own word that too few copies answered; the point may still be on some.
                    Outcome::Unknown(why) if why.starts_with("the server answered") => refused += 1,
                    Outcome::Unknown(_) => silent += 1,
                }
            }
            let observed = match (acknowledged, refused, silent) {
                (WRITES, 0, 0) => ACKNOWLEDGED.to_owned(),
                (0, WRITES, 0) => REFUSED.to_owned(),
                _ => format!("{acknowledged} acknowledged, {refused} refused, {silent} without an answer"),
            };
            Some(ProbeCell::new(if self.acknowledge.contains(&level) { ACKNOWLEDGED } else { REFUSED }, observed))
        };
        ProbeRow { name: self.name.to_owned(), cells: Consistency::LEVELS.into_iter().map(cell).collect() }
    }
}

/// Everything that the steps need.
struct Levels<'a> {
    trial: &'a Trial,
    influx: Arc<Influx>,
    /// The set with three copies.
    copied: Set,
    /// The set with one copy.
    single: Set,
    recorder: Recorder,
}

async fn run(trial: &Trial) -> Result<(), ScenarioError> {
    let cluster = trial.platform().influxdb.cluster.get().await;
    let influx = cluster.ok_or_else(|| ScenarioError::Missing("no InfluxDB cluster was started".into()))?;
    let redundancy_ms = trial.promise.redundancy_ms_max()? as f64;
    trial.promise_limits(
        format!(
            "with all, two and one of three nodes each consistency level acknowledges exactly what the table says; what was acknowledged is there, \
             on every copy within {:.0} s after the nodes are back",
            redundancy_ms / 1e3
        ),
        vec![NamedLimit::at_most("acknowledged_lost", 0.0, "operations"), NamedLimit::at_most("redundancy_after_healing", redundancy_ms, "ms")],
    );
    make_databases(&influx).await?;
    let database = if trial.is_sabotaged_by(SINGLE_COPY_ONLY) { SINGLE_COPY } else { LEDGER };
    if let Some(sabotage) = trial.sabotage {
        trial.note("sabotage", sabotage.what);
    }
    let recorder = trial.recorder()?;
    let levels =
        Levels { trial, influx, copied: Set::fresh(database, "levels"), single: Set::fresh(SINGLE_COPY, "levels_single"), recorder };
    let mut broken = Vec::new();
    let written = levels.lose_nodes(&mut broken).await;
    // Whatever was seen or could not be seen, what is broken is mended.
    let healing_ms = trial.now_ms();
    for fault in broken {
        trial.fault(&fault.heal().await?.confirm(FAULT_LIMIT).await);
    }
    written?;
    levels.judge_table()?;
    levels.judge_copies(healing_ms).await
}

impl Levels<'_> {
    /// Fills the table: all nodes, one lost, two lost.
    async fn lose_nodes(&self, broken: &mut Vec<Confirmed<Kill>>) -> Result<(), ScenarioError> {
        let nodes = self.influx.nodes();
        // The first write makes the shard, and with it the owner of the single copy.
        let client = self.influx.client(&nodes[0], self.influx.application(), ANSWER_LIMIT).map_err(failed("make a client"))?;
        for set in [&self.copied, &self.single] {
            client
                .write(set.database, format!("{} value=-1i 0", set.measurement), Consistency::All)
                .await
                .map_err(failed("make a shard"))?;
        }
        let owners =
            self.influx.owners(&nodes[0], SINGLE_COPY, &self.single.measurement).await.map_err(failed("ask who has the single copy"))?;
        let owner = owners.first().cloned().ok_or_else(|| ScenarioError::client("ask who has the single copy", "nobody has"))?;
        let rest = others(&nodes, std::slice::from_ref(&owner));
        let (Some(stays), Some(second)) = (rest.first(), rest.get(1)) else {
            return Err(ScenarioError::Missing("the InfluxDB cluster has less than three nodes".into()));
        };
        self.write(&ALL_NODES, &self.copied, stays).await?;
        broken.push(self.kill(&owner).await?);
        self.write(&ONE_LOST, &self.copied, stays).await?;
        self.write(&COPY_LOST, &self.single, stays).await?;
        broken.push(self.kill(second).await?);
        self.write(&TWO_LOST, &self.copied, stays).await
    }

    async fn kill(&self, node: &Node) -> Result<Confirmed<Kill>, ScenarioError> {
        let fault = Kill::new(node.clone(), self.influx.form().role(), PORT);
        let injected = inject(fault, self.trial.origin()).await?;
        match injected.confirm(FAULT_LIMIT).await {
            Ok(confirmed) => Ok(confirmed),
            Err(unconfirmed) => {
                self.trial.fault(&unconfirmed.heal().await?.confirm(FAULT_LIMIT).await);
                Err(ScenarioError::client(format!("kill {}", node.name()), "no probe saw that it is dead"))
            }
        }
    }

    /// The writes of a line, all at the same time.
    async fn write(&self, row: &Row, set: &Set, node: &Node) -> Result<(), ScenarioError> {
        self.trial.note("phase", format!("{}: {WRITES} writes a level to {}", row.name, node.name()));
        let client = self.influx.client(node, self.influx.application(), ANSWER_LIMIT).map_err(failed("make a client"))?;
        let count = WRITES * Consistency::LEVELS.len() as u64;
        let write = |value: u64| {
            let client = client.clone();
            async move {
                let Some(asserted) = row.level_of(value) else { return };
                let is_weakened = asserted == Consistency::Quorum && self.trial.is_sabotaged_by(WRITTEN_WITH_ONE);
                let level = if is_weakened { Consistency::One } else { asserted };
                // Every write is of a process of its own: all are under way at the same time.
                let process = u32::try_from(value).unwrap_or(u32::MAX);
                self.recorder.invoke(process, asserted.name(), &value.into());
                let ended = outcome(client.write(set.database, set.point(value), level).await);
                self.recorder.complete(process, asserted.name(), &value.into(), &ended);
            }
        };
        join_all((row.first..row.first + count).map(write)).await;
        Ok(self.recorder.flush()?)
    }

    /// The table, from the history.
    fn judge_table(&self) -> Result<(), ScenarioError> {
        let operations = self.recorder.operations()?;
        let rows: Vec<ProbeRow> = [ALL_NODES, ONE_LOST, TWO_LOST, COPY_LOST].iter().map(|row| row.evidence(&operations)).collect();
        for row in &rows {
            for (level, cell) in Consistency::LEVELS.iter().zip(&row.cells) {
                if let Some(cell) = cell.as_ref().filter(|cell| !cell.ok) {
                    let message = format!("{}: {} was to be {}, and was: {}", row.name, level.name(), cell.expected, cell.observed);
                    self.trial.find(Finding::violation("level-not-kept", message));
                }
            }
        }
        let columns = Consistency::LEVELS.iter().map(|level| level.name().to_owned()).collect();
        let title = format!("{WRITES} writes a cell, by consistency level");
        self.trial.matrix(ProbeMatrix { title, row_heading: "Situation".to_owned(), columns, rows });
        Ok(())
    }

    /// What each node holds of both sets.
    async fn holdings(&self) -> Result<Vec<(Node, BTreeSet<u64>)>, ScenarioError> {
        let held = |node: Node| async move {
            let owner = self.influx.owner(&node)?;
            let (copied, single): (BTreeMap<_, _>, BTreeMap<_, _>) =
                tokio::try_join!(self.copied.held_by(&owner), self.single.held_by(&owner))?;
            Ok((node, copied.into_keys().chain(single.into_keys()).collect()))
        };
        try_join_all(self.influx.nodes().into_iter().map(held)).await.map_err(failed("read what each node holds"))
    }

    /// Whether everything that was acknowledged is there, whichever node is asked.
    async fn judge_copies(&self, healing_ms: f64) -> Result<(), ScenarioError> {
        let operations = self.recorder.operations()?;
        let acknowledged: BTreeSet<u64> = operations.iter().filter(|write| write.is_ok()).filter_map(Operation::number).collect();
        let limit = Duration::from_millis(self.trial.promise.redundancy_ms_max()?);
        let whole = within("complete copies", limit, Duration::from_millis(250), || async {
            all_healthy(&self.influx.health().await)?;
            for (node, held) in self.holdings().await.map_err(|error| error.to_string())? {
                let missing = acknowledged.difference(&held).count();
                if missing > 0 {
                    return Err(format!("{} lacks {missing} acknowledged values", node.name()));
                }
            }
            Ok::<(), String>(())
        })
        .await;
        let took_ms = whole.is_ok().then(|| self.trial.now_ms() - healing_ms);
        self.trial.measure("redundancy_after_healing", took_ms, "ms");
        if let Err(error) = whole {
            self.trial.find(Finding::violation("node-incomplete", format!("a copy stayed incomplete: {}", error.last)));
        }
        let present: BTreeSet<u64> = self.holdings().await?.into_iter().flat_map(|(_, held)| held).collect();
        let result = durability(&operations, &present.into_iter().collect::<Vec<_>>());
        self.trial.operations(&operations, &result);
        if self.trial.measure("acknowledged_lost", Some(result.lost.len() as f64), "operations").met != Some(true) {
            let message = format!("{} acknowledged writes are not there", result.lost.len());
            self.trial.find(Finding::violation("acknowledged-writes-lost", message).with_witness(format!("values {:?}", result.lost)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(value: u64, outcome: Outcome) -> Operation {
        let returned = value.into();
        Operation {
            index: value,
            process: 0,
            f: "x".into(),
            value: value.into(),
            returned,
            invoked: value,
            completed: Some(value),
            outcome,
        }
    }

    #[test]
    fn a_level_that_acknowledges_what_it_must_refuse_is_seen_in_the_table() {
        let refused = || Outcome::Unknown("the server answered 500: partial write".into());
        let kept = |value: u64| if value < 210 { Outcome::Ok } else { refused() };
        let row = TWO_LOST.evidence(&(200..220).map(|value| write(value, kept(value))).collect::<Vec<_>>());
        assert!(row.cells.iter().flatten().all(|cell| cell.ok), "{row:?}");
        let loose = |value: u64| if value < 211 { Outcome::Ok } else { refused() };
        let row = TWO_LOST.evidence(&(200..220).map(|value| write(value, loose(value))).collect::<Vec<_>>());
        let quorum = row.cells[2].as_ref().unwrap();
        assert_eq!((quorum.ok, quorum.observed.as_str()), (false, "1 acknowledged, 4 refused, 0 without an answer"));
    }

    #[test]
    fn silence_is_no_refusal() {
        let row = COPY_LOST.evidence(&(315..320).map(|value| write(value, Outcome::Unknown("time-out".into()))).collect::<Vec<_>>());
        assert!(!row.cells[3].as_ref().unwrap().ok);
    }
}
