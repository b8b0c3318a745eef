//! Does who sees an effect see its cause?

use std::collections::HashMap;

use super::{
    Answer,
    shape::{Mismatch, pair},
    witness,
};
use crate::history::{Operation, Outcome};

/// Entries of all clocks together at most: a history of more sessions and operations is not decided.
const CLOCKS_MAX: usize = 100_000_000;

/// Causal consistency of keyed registers, each value of a key written once, by the bad patterns of Bouajjani et al. ("On Verifying Causal
/// Consistency", POPL 2017, definition 4 for CC): with every operation after those of its own session (process) and after the write that
/// it read, and so on, there is no circle; nobody reads what nobody wrote; and between a read and the write that it saw, no other write of
/// the key lies in that order, nor before a read that saw nothing.
pub fn causal(operations: &[Operation]) -> Result<Answer, Mismatch> {
    let steps = match steps(operations)? {
        Ok(steps) => steps,
        Err(answer) => return Ok(answer),
    };
    if !steps.iter().any(|step| matches!(step.kind, Kind::Read { .. })) {
        return Ok(Answer::Unknown("no read was answered".into()));
    }
    let sessions = steps.iter().map(|step| step.session + 1).max().unwrap_or(0);
    if sessions.saturating_mul(steps.len()) > CLOCKS_MAX {
        return Ok(Answer::Unknown(format!(
            "{} operations of {sessions} sessions are too many to put in order; split the history",
            steps.len()
        )));
    }
    let clocks = match clocks(&steps, sessions) {
        Ok(clocks) => clocks,
        Err(circle) => {
            let message = "an operation comes before itself: its session read what it caused later".into();
            let witness = witness::lines(circle.into_iter().map(|at| steps[at].operation));
            return Ok(Answer::Violated { finding: "causal-circle", message, witness });
        }
    };
    Ok(overwritten(&steps, &clocks, sessions).unwrap_or(Answer::Holds))
}

struct Step<'a> {
    operation: &'a Operation,
    session: usize,
    /// Its number in its session, from 1.
    place: u32,
    key: usize,
    kind: Kind,
}

enum Kind {
    Write,
    /// Of which step it saw the write; [`None`]: nothing was there.
    Read {
        seen: Option<usize>,
    },
}

/// What may have taken effect, in the order of beginnings; or an answer that needs no order.
fn steps(operations: &[Operation]) -> Result<Result<Vec<Step<'_>>, Answer>, Mismatch> {
    let mut sessions: HashMap<u32, (usize, u32)> = HashMap::new();
    let mut keys: HashMap<String, usize> = HashMap::new();
    let mut written: HashMap<(usize, String), usize> = HashMap::new();
    let mut steps: Vec<Step<'_>> = Vec::new();
    let mut by_beginning: Vec<&Operation> = operations.iter().collect();
    by_beginning.sort_by_key(|operation| operation.invoked);
    for operation in by_beginning {
        let is_write = operation.f == "write";
        if !is_write && operation.f != "read" {
            return Err(Mismatch::new(operation, "causal has write and read"));
        }
        let is_there = if is_write { !matches!(operation.outcome, Outcome::Fail(_)) } else { operation.is_ok() };
        if !is_there {
            continue;
        }
        let value = if is_write { &operation.value } else { &operation.returned };
        let (key, value) = pair(value).ok_or_else(|| Mismatch::new(operation, "a write is [key, value], a read answers it"))?;
        let next = keys.len();
        let key = *keys.entry(key.to_string()).or_insert(next);
        let next = sessions.len();
        let (session, place) = sessions.entry(operation.process).or_insert((next, 0));
        *place += 1;
        if is_write && written.insert((key, value.to_string()), steps.len()).is_some() {
            let why = format!("operation {} writes a value that was written before: reads do not tell which they saw", operation.index);
            return Ok(Err(Answer::Unknown(why)));
        }
        let kind = if is_write { Kind::Write } else { Kind::Read { seen: None } };
        steps.push(Step { operation, session: *session, place: *place, key, kind });
    }
    for step in &mut steps {
        let Kind::Read { seen } = &mut step.kind else { continue };
        let Some((_, value)) = pair(&step.operation.returned).filter(|(_, value)| !value.is_null()) else { continue };
        *seen = written.get(&(step.key, value.to_string())).copied();
        if seen.is_none() {
            let message = format!("a read answered {value}, which nobody wrote");
            let witness = witness::line(step.operation);
            return Ok(Err(Answer::Violated { finding: "read-from-nowhere", message, witness }));
        }
    }
    Ok(Ok(steps))
}

/// For each step and session, how many of the session's operations come before it (its own included); or a circle.
fn clocks(steps: &[Step<'_>], sessions: usize) -> Result<Vec<u32>, Vec<usize>> {
    let mut previous = vec![None; steps.len()];
    let mut last = vec![None; sessions];
    let mut followers: Vec<Vec<usize>> = vec![Vec::new(); steps.len()];
    let mut waits = vec![0_u32; steps.len()];
    for (at, step) in steps.iter().enumerate() {
        previous[at] = last[step.session].replace(at);
        let seen = if let Kind::Read { seen } = step.kind { seen } else { None };
        for before in [previous[at], seen].into_iter().flatten() {
            followers[before].push(at);
            waits[at] += 1;
        }
    }
    let mut clocks = vec![0_u32; steps.len() * sessions];
    let mut ready: Vec<usize> = (0..steps.len()).filter(|at| waits[*at] == 0).collect();
    let mut done = 0;
    while let Some(at) = ready.pop() {
        done += 1;
        let step = &steps[at];
        let seen = if let Kind::Read { seen } = step.kind { seen } else { None };
        for before in [previous[at], seen].into_iter().flatten() {
            for session in 0..sessions {
                clocks[at * sessions + session] = clocks[at * sessions + session].max(clocks[before * sessions + session]);
            }
        }
        clocks[at * sessions + step.session] = step.place;
        for follower in std::mem::take(&mut followers[at]) {
            waits[follower] -= 1;
            if waits[follower] == 0 {
                ready.push(follower);
            }
        }
    }
    if done == steps.len() { Ok(clocks) } else { Err(circle(steps, &previous, &waits)) }
}

/// Walks back from any step that still waits: each has one before it that waits too, so the walk comes round.
fn circle(steps: &[Step<'_>], previous: &[Option<usize>], waits: &[u32]) -> Vec<usize> {
    let Some(mut at) = waits.iter().position(|waits| *waits > 0) else { return Vec::new() };
    let mut path: Vec<usize> = Vec::new();
    let mut place: HashMap<usize, usize> = HashMap::new();
    loop {
        if let Some(from) = place.get(&at) {
            let mut circle = path.split_off(*from);
            circle.reverse();
            return circle;
        }
        place.insert(at, path.len());
        path.push(at);
        let seen = if let Kind::Read { seen } = steps[at].kind { seen } else { None };
        match [seen, previous[at]].into_iter().flatten().find(|before| waits[*before] > 0) {
            Some(before) => at = before,
            None => return path,
        }
    }
}

/// A read of a write that another write of the key had replaced, in causal order.
fn overwritten(steps: &[Step<'_>], clocks: &[u32], sessions: usize) -> Option<Answer> {
    // The writes of each key and session, in order.
    let mut writes: HashMap<(usize, usize), Vec<usize>> = HashMap::new();
    for (at, step) in steps.iter().enumerate().filter(|(_, step)| matches!(step.kind, Kind::Write)) {
        writes.entry((step.key, step.session)).or_default().push(at);
    }
    for (at, read) in steps.iter().enumerate() {
        let Kind::Read { seen } = read.kind else { continue };
        for session in 0..sessions {
            let Some(writes) = writes.get(&(read.key, session)) else { continue };
            // The last one that comes before the read: if any lies between, this one does.
            let before = clocks[at * sessions + session];
            let Some(newer) = writes[..writes.partition_point(|write| steps[*write].place <= before)].last() else { continue };
            let is_between = match seen {
                None => true,
                Some(seen) => *newer != seen && clocks[newer * sessions + steps[seen].session] >= steps[seen].place,
            };
            if is_between {
                let saw = seen.map_or("nothing", |_| "an older write");
                let message = format!("process {} had to see a write of the key and saw {saw}", read.operation.process);
                let witness = witness::lines(seen.into_iter().chain([*newer, at]).map(|at| steps[at].operation));
                return Some(Answer::Violated { finding: "cause-not-seen", message, witness });
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::check::sample::{failed, ok, unknown};

    fn write(process: u32, key: u64, value: u64, at: u64) -> Operation {
        ok(process, "write", json!([key, value]), json!([key, value]), at, at + 1)
    }

    fn read(process: u32, key: u64, value: impl Into<Value>, at: u64) -> Operation {
        let value = value.into();
        ok(process, "read", json!([key, null]), json!([key, value]), at, at + 1)
    }

    fn finding(history: &[Operation]) -> Option<&'static str> {
        match causal(history).unwrap() {
            Answer::Violated { finding, witness, .. } => {
                assert!(witness.contains('#'));
                Some(finding)
            }
            _ => None,
        }
    }

    #[test]
    fn an_effect_without_its_cause_is_found_across_sessions() {
        let cause_and_effect = [write(0, 0, 1, 0), write(0, 1, 2, 10)];
        let with = |reads: &[Operation]| cause_and_effect.iter().chain(reads).cloned().collect::<Vec<_>>();
        assert_eq!(finding(&with(&[read(1, 1, json!(2), 20), read(1, 0, json!(1), 30)])), None);
        assert_eq!(finding(&with(&[read(1, 1, json!(null), 20), read(1, 0, json!(null), 30)])), None);
        assert_eq!(finding(&with(&[read(1, 1, json!(2), 20), read(1, 0, json!(null), 30)])), Some("cause-not-seen"));
        // Through a third session.
        let relayed = [read(1, 1, json!(2), 20), write(1, 2, 3, 30), read(2, 2, json!(3), 40), read(2, 0, json!(null), 50)];
        assert_eq!(finding(&with(&relayed)), Some("cause-not-seen"));
    }

    #[test]
    fn a_session_sees_its_own_writes() {
        assert_eq!(finding(&[write(0, 0, 1, 0), read(0, 0, json!(null), 10)]), Some("cause-not-seen"));
        assert_eq!(finding(&[write(0, 0, 1, 0), write(0, 0, 2, 10), read(0, 0, json!(1), 20)]), Some("cause-not-seen"));
        assert_eq!(finding(&[write(0, 0, 1, 0), write(0, 0, 2, 10), read(1, 0, json!(1), 20)]), None);
    }

    #[test]
    fn concurrent_writes_may_be_seen_in_either_order() {
        let history = [write(0, 0, 1, 0), write(1, 0, 2, 0), read(2, 0, json!(1), 10), read(2, 0, json!(2), 20), read(3, 0, json!(2), 10)];
        assert_eq!(finding(&history), None);
    }

    #[test]
    fn what_was_read_must_have_been_written_and_not_later_by_the_reader() {
        assert_eq!(finding(&[read(0, 0, json!(7), 0)]), Some("read-from-nowhere"));
        assert_eq!(finding(&[failed(1, "write", json!([0, 7]), 0, 1), read(0, 0, json!(7), 5)]), Some("read-from-nowhere"));
        assert_eq!(finding(&[unknown(1, "write", json!([0, 7]), 0, None), read(0, 0, json!(7), 5)]), None);
        assert_eq!(finding(&[read(0, 0, json!(7), 0), write(0, 0, 7, 10)]), Some("causal-circle"));
    }

    #[test]
    fn what_does_not_tell_is_not_decided() {
        assert!(matches!(causal(&[write(0, 0, 1, 0)]).unwrap(), Answer::Unknown(_)));
        assert!(matches!(causal(&[write(0, 0, 1, 0), write(1, 0, 1, 0), read(0, 0, json!(1), 5)]).unwrap(), Answer::Unknown(_)));
        assert_eq!(causal(&[ok(0, "read", Value::Null, 3, 4, 5)]).unwrap_err().index, 4);
    }

    proptest! {
        /// A store that is one map is causal whatever its sessions do; a read that forgets what its session wrote last is not.
        #[test]
        fn one_map_is_causal(moves in prop::collection::vec((0_u32..4, 0_u64..3, any::<bool>()), 1..80), session in 0_u32..4) {
            let mut map: HashMap<u64, u64> = HashMap::new();
            let mut history = Vec::new();
            for (number, (session, key, is_write)) in (1..).zip(moves) {
                if is_write {
                    map.insert(key, number);
                    history.push(write(session, key, number, number * 10));
                } else {
                    history.push(read(session, key, json!(map.get(&key)), number * 10));
                }
            }
            history.push(write(session, 9, 1, 100_000));
            history.push(read(session, 9, json!(1), 100_010));
            prop_assert_eq!(finding(&history), None);
            history.push(read(session, 9, json!(null), 100_020));
            prop_assert_eq!(finding(&history), Some("cause-not-seen"));
        }
    }
}
