//! Batches of points, read from each node all along: a batch is there as a whole or not at all, and a node that was never away has every
//! batch that was acknowledged a while before it was asked.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use serde_json::{Value, json};

use super::{Answer, Checked};
use crate::history::{Operation, Outcome};

/// What a history of batches has to keep.
///
/// An operation `write` has the batch's number as its value. An operation `read` is asked `[node, null]` and returns `[node, batches]` in
/// the form of [`batches_read`].
#[derive(Debug, Clone)]
pub struct BatchReads {
    /// Points of a batch.
    pub points: u64,
    /// A batch that was acknowledged this long before a read began has to be in it. A store that replicates without waiting for all copies
    /// promises no moment, so this is an objective.
    pub settled_after: Duration,
    /// Nodes that were away: what they lack is not held against their reads. What they hold in part is, where a read [`Self::settled_after`]
    /// later still finds it so: they take a batch in at a moment that nobody knows, and a query is no snapshot. The same goes for a batch that
    /// was not acknowledged, at any node: one that was away may have kept it for the others.
    pub away: Vec<String>,
    /// Batches that were under way when a node was killed: a copy of one may be missing for ever where the engine has no repair, so a
    /// read that lacks one is not judged.
    pub excused: Vec<RangeInclusive<u64>>,
}

/// What a read found: how many points of which batch, as `[whole, in_part]`, where `whole` lists numbers and `in_part` pairs of
/// number and points.
pub fn batches_read(found: &BTreeMap<u64, u64>, points: u64) -> Value {
    let (whole, part): (Vec<_>, Vec<_>) = found.iter().partition(|(_, count)| **count == points);
    json!([whole.into_iter().map(|(number, _)| number).collect::<Vec<_>>(), part])
}

/// A read, parsed.
struct Seen<'a> {
    operation: &'a Operation,
    node: &'a str,
    found: BTreeMap<u64, u64>,
}

impl BatchReads {
    /// Judges a history.
    pub fn judge(&self, operations: &[Operation]) -> Checked {
        let answer = self.answer(operations);
        Checked { model: "batch-reads", operations: operations.len() as u64, answer }
    }

    fn answer(&self, operations: &[Operation]) -> Answer {
        let writes: BTreeMap<u64, &Operation> =
            operations.iter().filter(|operation| operation.f == "write").filter_map(|write| Some((write.number()?, write))).collect();
        let reads: Vec<Seen<'_>> = operations.iter().filter(|operation| operation.is_ok()).filter_map(|read| self.seen(read)).collect();
        let judged = reads.iter().filter(|read| !self.is_away(read.node)).count();
        if judged == 0 || !writes.values().any(|write| write.is_ok()) {
            return Answer::Unknown(format!(
                "{judged} reads of nodes that were not away, {} batches: nothing to decide from",
                writes.len()
            ));
        }
        let violated = reads.iter().find_map(|read| self.fault_of(read, &reads, &writes));
        violated.or_else(|| reads.iter().find_map(|read| self.undecided(read, &reads, &writes))).unwrap_or(Answer::Holds)
    }

    fn is_away(&self, node: &str) -> bool {
        self.away.iter().any(|away| away == node)
    }

    fn seen<'a>(&self, operation: &'a Operation) -> Option<Seen<'a>> {
        let [node, batches] = operation.returned.as_array()?.as_slice() else { return None };
        let [whole, part] = batches.as_array()?.as_slice() else { return None };
        let mut found: BTreeMap<u64, u64> = whole.as_array()?.iter().filter_map(|number| Some((number.as_u64()?, self.points))).collect();
        found.extend(part.as_array()?.iter().filter_map(|pair| Some((pair.get(0)?.as_u64()?, pair.get(1)?.as_u64()?))));
        Some(Seen { operation, node: node.as_str()?, found })
    }

    fn fault_of(&self, read: &Seen<'_>, reads: &[Seen<'_>], writes: &BTreeMap<u64, &Operation>) -> Option<Answer> {
        let violated = |finding, message: String, witness: String| Some(Answer::Violated { finding, message, witness });
        let at = format!("read {} of {} at {} ns", read.operation.index, read.node, read.operation.invoked);
        for (number, count) in &read.found {
            let failed = writes.get(number).is_none_or(|write| matches!(write.outcome, Outcome::Fail(_)));
            if failed {
                let message = format!("{} holds batch {number}, whose write failed or never was", read.node);
                return violated("batch-phantom", message, at);
            }
            let Some(write) = self.in_part(*number, *count, read, writes) else { continue };
            let is_torn = || self.later(read, *number, reads).is_some_and(|later| later != self.points);
            if !self.may_arrive(write, read) || is_torn() {
                let message = format!("{} holds {count} of {} points of batch {number}", read.node, self.points);
                return violated("batch-torn", message, at);
            }
        }
        if self.is_away(read.node) {
            return None;
        }
        let missing: Vec<u64> = writes
            .iter()
            .filter(|(number, write)| write.is_ok() && self.is_settled(write, read) && !read.found.contains_key(number))
            .filter(|(number, _)| !self.excused.iter().any(|range| range.contains(number)))
            .map(|(number, _)| *number)
            .collect();
        let first = missing.first()?;
        let message = format!(
            "a read of {} lacks {} batches that were acknowledged more than {:.0} s before it, the first is {first}",
            read.node,
            missing.len(),
            self.settled_after.as_secs_f64()
        );
        violated("reads-incomplete", message, at)
    }

    /// The write of a batch that a read found in part, if it had ended long enough before. While a batch is being written, a reader may meet
    /// the part that is there already: a query is no snapshot.
    fn in_part<'a>(&self, number: u64, count: u64, read: &Seen<'_>, writes: &BTreeMap<u64, &'a Operation>) -> Option<&'a Operation> {
        writes.get(&number).copied().filter(|write| count != self.points && self.is_settled(write, read))
    }

    /// Whether a batch may arrive at a node at any time after its write.
    fn may_arrive(&self, write: &Operation, read: &Seen<'_>) -> bool {
        self.is_away(read.node) || !write.is_ok()
    }

    /// What a node holds in part and was not asked for again.
    fn undecided(&self, read: &Seen<'_>, reads: &[Seen<'_>], writes: &BTreeMap<u64, &Operation>) -> Option<Answer> {
        let is_undecided =
            |number: u64, count: u64| self.in_part(number, count, read, writes).is_some() && self.later(read, number, reads).is_none();
        let (number, _) = read.found.iter().find(|(number, count)| is_undecided(**number, **count))?;
        Some(Answer::Unknown(format!("{} held batch {number} in part and was not read again", read.node)))
    }

    /// How many points of a batch the first read of the same node found that began long enough after this one.
    fn later(&self, read: &Seen<'_>, number: u64, reads: &[Seen<'_>]) -> Option<u64> {
        let later = reads.iter().find(|later| later.node == read.node && self.is_settled(read.operation, later))?;
        Some(later.found.get(&number).copied().unwrap_or_default())
    }

    /// Whether an operation had ended long enough before a read began.
    fn is_settled(&self, operation: &Operation, read: &Seen<'_>) -> bool {
        let settled = u64::try_from(self.settled_after.as_nanos()).unwrap_or(u64::MAX);
        operation.completed.is_some_and(|completed| completed.saturating_add(settled) <= read.operation.invoked)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POINTS: u64 = 5;

    fn model() -> BatchReads {
        BatchReads { points: POINTS, settled_after: Duration::from_nanos(10), away: vec!["c".into()], excused: vec![200..=210] }
    }

    fn operation(f: &'static str, value: Value, returned: Value, at: u64, outcome: Outcome) -> Operation {
        Operation { index: at, process: 0, f: f.into(), value, returned, invoked: at, completed: Some(at + 1), outcome }
    }

    fn write(number: u64, outcome: Outcome) -> Operation {
        operation("write", number.into(), number.into(), number, outcome)
    }

    fn read(node: &str, at: u64, found: &[(u64, u64)]) -> Operation {
        let returned = json!([node, batches_read(&found.iter().copied().collect(), POINTS)]);
        operation("read", json!([node, null]), returned, at, Outcome::Ok)
    }

    fn finding(operations: &[Operation]) -> Option<&'static str> {
        match model().judge(operations).answer {
            Answer::Violated { finding, .. } => Some(finding),
            _ => None,
        }
    }

    #[test]
    fn whole_batches_that_are_there_in_time_are_accepted() {
        let history = [
            write(0, Outcome::Ok),
            write(1, Outcome::Unknown("time-out".into())),
            write(2, Outcome::Fail("refused".into())),
            write(99, Outcome::Ok),
            write(205, Outcome::Ok),
            // The last write is too young for this read, and the unknown one may be there or not.
            read("a", 100, &[(0, 5)]),
            read("b", 100, &[(0, 5), (1, 5), (99, 3)]),
            read("c", 100, &[]),
            // Under way when a node was killed.
            read("a", 300, &[(0, 5), (99, 5)]),
        ];
        assert_eq!(model().judge(&history).answer, Answer::Holds);
    }

    #[test]
    fn each_defect_is_found_and_named() {
        let ok = write(0, Outcome::Ok);
        assert_eq!(finding(&[ok.clone(), read("a", 100, &[])]), Some("reads-incomplete"));
        assert_eq!(finding(&[ok.clone(), read("a", 100, &[(0, 4)])]), Some("batch-torn"));
        let away = [ok.clone(), read("a", 50, &[(0, 5)]), read("c", 100, &[(0, 4)]), read("c", 200, &[(0, 4)])];
        assert_eq!(finding(&away), Some("batch-torn"), "a node that was away may lack a batch, not a part of it");
        let gone = [ok.clone(), read("a", 50, &[(0, 5)]), read("c", 100, &[(0, 4)]), read("c", 200, &[])];
        assert_eq!(finding(&gone), Some("batch-torn"), "nor lose it again");
        let in_part = |at| read("a", at, &[(0, 5), (1, 2)]);
        let unknown = [ok.clone(), write(1, Outcome::Unknown(String::new())), in_part(100), in_part(200)];
        assert_eq!(finding(&unknown), Some("batch-torn"));
        let failed = [ok.clone(), write(1, Outcome::Fail(String::new())), read("a", 100, &[(0, 5), (1, 5)])];
        assert_eq!(finding(&failed), Some("batch-phantom"));
        assert_eq!(finding(&[ok, read("a", 100, &[(0, 5), (7, 5)])]), Some("batch-phantom"));
    }

    #[test]
    fn a_node_that_was_away_takes_a_batch_in_while_it_is_read() {
        let before = [write(0, Outcome::Ok), read("a", 50, &[(0, 5)]), read("c", 100, &[(0, 3)])];
        let with = |further: Operation| [before.as_slice(), &[further]].concat();
        assert_eq!(model().judge(&with(read("c", 112, &[(0, 5)]))).answer, Answer::Holds);
        for undecided in [before.to_vec(), with(read("c", 105, &[(0, 5)])), with(read("a", 112, &[(0, 5)]))] {
            assert!(matches!(model().judge(&undecided).answer, Answer::Unknown(_)), "nobody looked later");
        }
        // Kept by one that was away and could not say whether it would arrive.
        let kept = |at, points| read("a", at, &[(0, 5), (1, points)]);
        let late = [write(0, Outcome::Ok), write(1, Outcome::Unknown(String::new())), kept(100, 2), kept(112, 5)];
        assert_eq!(model().judge(&late).answer, Answer::Holds);
        // What is being written when the last read begins is not judged.
        let last = [write(0, Outcome::Ok), read("a", 50, &[(0, 5)]), write(90, Outcome::Ok), read("c", 95, &[(0, 5), (90, 1)])];
        assert_eq!(model().judge(&last).answer, Answer::Holds);
    }

    #[test]
    fn without_a_read_of_a_node_that_stayed_nothing_is_decided() {
        let history = [write(0, Outcome::Ok), read("c", 100, &[(0, 5)])];
        assert!(matches!(model().judge(&history).answer, Answer::Unknown(_)));
    }

    proptest! {
        /// A node that holds every acknowledged batch is accepted; one settled batch less, or one point less, is not.
        #[test]
        fn one_batch_or_one_point_less_is_always_caught(count in 1_u64..60, seed in any::<u64>(), points in 0..POINTS) {
            let mut history: Vec<Operation> = (0..count).map(|number| write(number, Outcome::Ok)).collect();
            let all: Vec<(u64, u64)> = (0..count).map(|number| (number, POINTS)).collect();
            history.push(read("a", 1_000, &all));
            prop_assert_eq!(finding(&history), None);
            let victim = seed % count;
            let less: Vec<(u64, u64)> =
                all.iter().filter(|(number, _)| *number != victim || points > 0)
                    .map(|(number, whole)| (*number, if *number == victim { points } else { *whole })).collect();
            history.push(read("b", 1_000, &less));
            prop_assert_eq!(finding(&history), Some(if points > 0 { "batch-torn" } else { "reads-incomplete" }));
        }
    }
}
