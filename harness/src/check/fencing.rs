//! Does a lock's token keep old holders away?

use std::collections::HashMap;

use super::{
    Answer,
    shape::{Mismatch, final_value, number},
    witness,
};
use crate::history::{Operation, Outcome};

/// A lock that may expire protects nothing by itself; its tokens do, if the guarded resource refuses old ones (Kleppmann, "How to do
/// distributed locking", 2016). So: who acquires later has the larger token, no two have the same, and after the resource accepted a write
/// with one token it accepts none with an older one.
pub fn fencing(operations: &[Operation]) -> Result<Answer, Mismatch> {
    let (mut acquired, mut accepted) = (Vec::new(), Vec::new());
    for operation in operations {
        let token = || number(operation, final_value(operation), "a token is a whole number");
        match (operation.f.as_ref(), &operation.outcome) {
            ("acquire", Outcome::Ok) => acquired.push((token()?, operation)),
            ("write", Outcome::Ok) => accepted.push((token()?, operation)),
            ("acquire" | "write" | "release", _) => {}
            _ => return Err(Mismatch::new(operation, "a lock has acquire, release and (guarded) write")),
        }
    }
    let mut holders: HashMap<i64, &Operation> = HashMap::new();
    for (token, operation) in &acquired {
        if let Some(other) = holders.insert(*token, operation) {
            return Ok(violated("token-granted-twice", format!("the token {token} was granted twice"), [other, operation]));
        }
    }
    // Nobody knows which token an acquisition gave that ended unknown.
    let all_known = !operations.iter().any(|operation| operation.f == "acquire" && matches!(operation.outcome, Outcome::Unknown(_)));
    if let Some((token, write)) = accepted.iter().find(|(token, _)| all_known && !holders.contains_key(token)) {
        return Ok(violated(
            "token-never-granted",
            format!("a write was accepted with the token {token}, which nobody was granted"),
            [*write],
        ));
    }
    if let Some((earlier, later)) = goes_back(&acquired) {
        let message = format!("an acquisition was granted the token {} after {} had been granted", later.0, earlier.0);
        return Ok(violated("token-not-growing", message, [earlier.1, later.1]));
    }
    if let Some((newer, older)) = goes_back(&accepted) {
        let message = format!("a write with the token {} was accepted after one with {}", older.0, newer.0);
        return Ok(violated("stale-token-accepted", message, [newer.1, older.1]));
    }
    if acquired.is_empty() {
        return Ok(Answer::Unknown("nobody acquired the lock".into()));
    }
    Ok(Answer::Holds)
}

/// Whether the resource refused a write whose token was older than one that it had accepted before. Without such a write, fencing that holds was
/// not put to the test.
pub fn stale_token_tried(operations: &[Operation]) -> bool {
    let token_of = |operation: &Operation| final_value(operation).as_i64();
    let writes = || operations.iter().filter(|operation| operation.f == "write");
    let accepted = writes().filter(|write| write.is_ok()).filter_map(|write| Some((write.completed?, token_of(write)?)));
    let mut accepted: Vec<(u64, i64)> = accepted.collect();
    accepted.sort_unstable();
    // The largest token that had been accepted by each of these ends.
    let mut largest = i64::MIN;
    for (_, token) in &mut accepted {
        largest = largest.max(*token);
        *token = largest;
    }
    writes().filter(|write| matches!(write.outcome, Outcome::Fail(_))).any(|refused| {
        let before = accepted.partition_point(|(ended, _)| *ended < refused.invoked);
        before.checked_sub(1).zip(token_of(refused)).is_some_and(|(last, token)| token < accepted[last].1)
    })
}

fn violated<'a>(finding: &'static str, message: String, operations: impl IntoIterator<Item = &'a Operation>) -> Answer {
    Answer::Violated { finding, message, witness: witness::lines(operations) }
}

type Tokened<'a> = (i64, &'a Operation);

/// Two operations, the second of which began after the first ended and yet has a smaller token.
fn goes_back<'a>(operations: &[Tokened<'a>]) -> Option<(Tokened<'a>, Tokened<'a>)> {
    let mut by_beginning = operations.to_vec();
    by_beginning.sort_by_key(|(_, operation)| operation.invoked);
    let mut by_end = operations.to_vec();
    by_end.sort_by_key(|(_, operation)| operation.completed);
    let mut ended = by_end.into_iter().peekable();
    let mut largest: Option<Tokened<'a>> = None;
    for later in by_beginning {
        while let Some(earlier) = ended.next_if(|(_, operation)| operation.completed.is_some_and(|completed| completed < later.1.invoked)) {
            if largest.is_none_or(|largest| largest.0 < earlier.0) {
                largest = Some(earlier);
            }
        }
        if let Some(largest) = largest.filter(|largest| largest.0 > later.0) {
            return Some((largest, later));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::check::sample::{failed, ok, unknown};

    fn acquire(process: u32, token: i64, at: u64) -> Operation {
        ok(process, "acquire", Value::Null, token, at, at + 1)
    }

    fn write(process: u32, token: i64, at: u64) -> Operation {
        ok(process, "write", Value::Null, token, at, at + 1)
    }

    fn finding(history: &[Operation]) -> Option<&'static str> {
        match fencing(history).unwrap() {
            Answer::Violated { finding, witness, .. } => {
                assert!(witness.contains('#'));
                Some(finding)
            }
            _ => None,
        }
    }

    #[test]
    fn an_old_holder_that_is_refused_is_no_harm() {
        let history =
            [acquire(0, 1, 0), acquire(1, 2, 10), write(1, 2, 20), failed(0, "write", 1, 30, 31), ok(1, "release", Value::Null, 2, 40, 41)];
        assert_eq!(fencing(&history).unwrap(), Answer::Holds);
        // The old holder's write overlaps the new one's: either may have come first.
        let overlapping =
            [acquire(0, 1, 0), acquire(1, 2, 10), ok(1, "write", Value::Null, 2, 20, 30), ok(0, "write", Value::Null, 1, 25, 35)];
        assert_eq!(fencing(&overlapping).unwrap(), Answer::Holds);
    }

    #[test]
    fn every_breach_is_named() {
        let both = [acquire(0, 1, 0), acquire(1, 2, 10)];
        let with = |operation: &[Operation]| both.iter().chain(operation).cloned().collect::<Vec<_>>();
        assert_eq!(finding(&with(&[write(1, 2, 20), write(0, 1, 30)])), Some("stale-token-accepted"));
        assert_eq!(finding(&with(&[acquire(2, 2, 20)])), Some("token-granted-twice"));
        assert_eq!(finding(&with(&[acquire(2, 0, 20)])), Some("token-not-growing"));
        assert_eq!(finding(&with(&[write(1, 7, 20)])), Some("token-never-granted"));
        assert_eq!(finding(&with(&[unknown(2, "acquire", Value::Null, 12, Some(13)), write(1, 7, 20)])), None);
    }

    #[test]
    fn only_a_refused_older_token_puts_fencing_to_the_test() {
        let accepted = [acquire(0, 1, 0), acquire(1, 2, 10), write(1, 2, 20)];
        let tried = |last: Operation| stale_token_tried(&accepted.iter().cloned().chain([last]).collect::<Vec<_>>());
        assert!(tried(failed(0, "write", 1, 30, 31)));
        // It began before the newer one was accepted; its token is not older; it had none; nobody knows; it was no write.
        assert!(!tried(failed(0, "write", 1, 15, 31)));
        assert!(!tried(failed(0, "write", 2, 30, 31)));
        assert!(!tried(failed(0, "write", Value::Null, 30, 31)));
        assert!(!tried(unknown(0, "write", 1, 30, Some(31))));
        assert!(!tried(failed(0, "release", 1, 30, 31)));
        assert!(!stale_token_tried(&[]));
    }

    #[test]
    fn without_a_holder_nothing_is_known() {
        assert!(matches!(fencing(&[failed(0, "acquire", Value::Null, 0, 1)]).unwrap(), Answer::Unknown(_)));
        assert_eq!(fencing(&[ok(0, "acquire", Value::Null, "me", 6, 7)]).unwrap_err().index, 6);
    }
}
