//! Were two nodes ever writable at the same time?

use std::collections::BTreeMap;

use serde_json::Value;

use crate::history::Operation;

/// Two nodes that certainly were writable at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// The node that was writable all along, as `node@epoch`.
    pub holder: String,
    /// From here (nanoseconds): its first write had been acknowledged.
    pub from: u64,
    /// Until here: its last acknowledged write had not begun.
    pub until: u64,
    /// The other node, as `node@epoch`.
    pub intruder: String,
    /// When its write began.
    pub invoked: u64,
    /// When that was acknowledged.
    pub completed: u64,
}

impl Overlap {
    /// One sentence for people.
    pub fn message(&self) -> String {
        format!("{} accepted a write while {} was writable", self.intruder, self.holder)
    }

    /// The piece of the history that shows it.
    pub fn witness(&self) -> String {
        format!(
            "{} from {} ns until {} ns; {} wrote from {} ns to {} ns",
            self.holder, self.from, self.until, self.intruder, self.invoked, self.completed
        )
    }
}

/// Finds overlaps in a history of probes: operations whose value is `[node, …]`, and whose end says `[node, epoch]`, where the
/// epoch (a timeline, a term) changes whenever a node becomes writable anew.
///
/// A probe takes effect somewhere between its beginning and its end, so a node is *certainly* writable in one epoch only from the end
/// of its first acknowledged probe to the beginning of its last one: a probe that a pause stretches over a failover is no proof of
/// anything. Another node's probe that lies wholly within that span is proof.
pub fn overlaps(operations: &[Operation]) -> Vec<Overlap> {
    let by_holder = probes_by_holder(operations);
    let mut found = Vec::new();
    for (holder, probes) in &by_holder {
        let (from, until) = certain(probes);
        for (intruder, others) in by_holder.iter().filter(|(other, _)| *other != holder) {
            if let Some((invoked, completed)) = others.iter().find(|(invoked, completed)| from <= *invoked && *completed <= until) {
                found.push(Overlap {
                    holder: holder.clone(),
                    from,
                    until,
                    intruder: intruder.clone(),
                    invoked: *invoked,
                    completed: *completed,
                });
            }
        }
    }
    found
}

/// The largest number of nodes that certainly were writable at once, in a history as [`overlaps`] takes it; [`None`] where no probe was
/// acknowledged, which says nothing of anybody. A node that goes on in an epoch that ended is one more: `node@epoch` is what is counted.
///
/// At the moment of a probe its own node was writable, and so was every other one in whose certain span the whole probe lies. So this is more
/// than one exactly where [`overlaps`] finds something.
pub fn writable_at_once(operations: &[Operation]) -> Option<usize> {
    let by_holder = probes_by_holder(operations);
    let spans: Vec<(&String, (u64, u64))> = by_holder.iter().map(|(holder, probes)| (holder, certain(probes))).collect();
    let mut at_once = None;
    for (holder, probes) in &by_holder {
        for &(invoked, completed) in probes {
            let beside = spans.iter().filter(|&&(other, (from, until))| other != holder && from <= invoked && completed <= until);
            at_once = at_once.max(Some(beside.count() + 1));
        }
    }
    at_once
}

/// Beginning and end of every acknowledged probe, by `node@epoch`.
fn probes_by_holder(operations: &[Operation]) -> BTreeMap<String, Vec<(u64, u64)>> {
    let mut by_holder: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
    for operation in operations.iter().filter(|operation| operation.is_ok()) {
        let (Some(completed), Some(holder)) = (operation.completed, holder(&operation.returned)) else { continue };
        by_holder.entry(holder).or_default().push((operation.invoked, completed));
    }
    by_holder
}

/// From when until when whoever gave these answers was writable without doubt; empty (its end before its beginning) where that is never.
fn certain(probes: &[(u64, u64)]) -> (u64, u64) {
    let from = probes.iter().map(|probe| probe.1).min().unwrap_or(u64::MAX);
    let until = probes.iter().map(|probe| probe.0).max().unwrap_or(0);
    (from, until)
}

fn holder(value: &Value) -> Option<String> {
    let node = value.get(0)?.as_str()?;
    Some(format!("{node}@{}", value.get(1)?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::history::Outcome;

    fn probe(node: &str, epoch: u64, invoked: u64, completed: u64, outcome: Outcome) -> Operation {
        let value = json!([node, epoch]);
        Operation {
            index: 0,
            process: 0,
            f: "probe".into(),
            value: value.clone(),
            returned: value,
            invoked,
            completed: Some(completed),
            outcome,
        }
    }

    #[test]
    fn a_handover_is_no_overlap() {
        let history = [probe("a", 1, 0, 1, Outcome::Ok), probe("a", 1, 5, 6, Outcome::Ok), probe("b", 2, 7, 8, Outcome::Ok)];
        assert_eq!(overlaps(&history), vec![]);
        assert_eq!(writable_at_once(&history), Some(1));
    }

    #[test]
    fn going_there_and_back_is_no_overlap_because_the_epoch_moves_on() {
        let history = [probe("a", 1, 0, 1, Outcome::Ok), probe("b", 2, 3, 4, Outcome::Ok), probe("a", 3, 5, 6, Outcome::Ok)];
        assert_eq!(overlaps(&history), vec![]);
    }

    #[test]
    fn an_answer_that_a_pause_held_back_proves_nothing() {
        // Begun before the pause and answered after it, when another node had long been writable.
        let history = [probe("a", 1, 0, 1, Outcome::Ok), probe("a", 1, 2, 50, Outcome::Ok), probe("b", 2, 30, 31, Outcome::Ok)];
        assert_eq!(overlaps(&history), vec![]);
    }

    #[test]
    fn an_old_primary_that_goes_on_is_found_with_its_witness() {
        let history = [
            probe("a", 1, 0, 1, Outcome::Ok),
            probe("b", 2, 3, 4, Outcome::Ok),
            probe("a", 1, 5, 6, Outcome::Ok),
            probe("c", 3, 3, 4, Outcome::Fail("read only".into())),
        ];
        let found = overlaps(&history);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].holder.as_str(), found[0].intruder.as_str(), found[0].invoked), ("a@1", "b@2", 3));
        assert_eq!(writable_at_once(&history), Some(2));
    }

    #[test]
    fn three_at_once_are_three_and_two_after_each_other_are_two() {
        let ok = |node: &str, epoch: u64, invoked: u64| probe(node, epoch, invoked, invoked + 1, Outcome::Ok);
        let at_once = [ok("a", 1, 0), ok("b", 2, 3), ok("c", 3, 6), ok("b", 2, 9), ok("a", 1, 12)];
        assert_eq!(writable_at_once(&at_once), Some(3));
        // First b beside a, and when b has ended c beside a.
        let in_turn = [ok("a", 1, 0), ok("b", 2, 3), ok("b", 2, 6), ok("c", 3, 9), ok("c", 3, 12), ok("a", 1, 15)];
        assert_eq!(writable_at_once(&in_turn), Some(2));
    }

    #[test]
    fn nobody_that_was_seen_is_no_number() {
        let history = [probe("a", 1, 0, 1, Outcome::Fail("read only".into())), probe("b", 2, 0, 9, Outcome::Unknown("silence".into()))];
        assert_eq!(writable_at_once(&history), None);
        assert_eq!(writable_at_once(&[]), None);
    }
}
