//! Do all databases tell the same story?

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::{
    Answer,
    shape::{Mismatch, number},
    witness,
};
use crate::history::{Operation, Outcome};

/// Decides a history of events that are written to several databases.
///
/// An operation `post` is asked `{"event": 7}` and ends with what each database answered, `ok`, `fail` or `unknown`:
/// `{"event": 7, "stores": {"postgres": "ok", "redis": "unknown"}}`; it is acknowledged when all are `ok`, and failed when all are `fail`. A last `read null`
/// answers which events each database has: `{"postgres": [0, 1], "redis": [0, 1]}`. Each database has every event that it acknowledged, none that it
/// refused, none that nobody posted, none twice; and an event acknowledged as a whole is in all of them. An event that ended unknown
/// somewhere may be there or not.
pub fn ledger(operations: &[Operation]) -> Result<Answer, Mismatch> {
    let mut posts: HashMap<i64, &Operation> = HashMap::new();
    let mut read: Option<&Operation> = None;
    for operation in operations {
        match operation.f.as_ref() {
            "post" => {
                let event = number(operation, &operation.value["event"], "a post is {\"event\": number, …}")?;
                posts.insert(event, operation);
            }
            "read" if operation.is_ok() => read = read.filter(|read| read.invoked > operation.invoked).or(Some(operation)),
            "read" => {}
            _ => return Err(Mismatch::new(operation, "a ledger has post and read")),
        }
    }
    let Some(read) = read else { return Ok(Answer::Unknown("no read of the databases was answered: nothing says what is there".into())) };
    let mut events: Vec<_> = posts.iter().filter(|(_, post)| post.completed < Some(read.invoked)).collect();
    events.sort_unstable_by_key(|(event, _)| **event);
    for (store, found) in found(read)? {
        let mut there = BTreeSet::new();
        if let Some(twice) = found.iter().find(|event| !there.insert(**event)) {
            let witness = witness::lines(posts.get(twice).copied());
            return Ok(Answer::Violated { finding: "duplicated", message: format!("{store} has event {twice} twice"), witness });
        }
        if let Some(phantom) = there.iter().find(|event| !posts.contains_key(event)) {
            let message = format!("{store} has event {phantom}, which nobody posted");
            return Ok(Answer::Violated { finding: "phantom", message, witness: witness::line(read) });
        }
        for (event, post) in &events {
            let is_there = there.contains(event);
            let (finding, message) = match promised(post, &store) {
                Some(true) if !is_there && post.is_ok() => {
                    ("stores-disagree", format!("{store} lacks event {event}, which all acknowledged"))
                }
                Some(true) if !is_there => ("acknowledged-lost", format!("{store} acknowledged event {event} and lacks it")),
                Some(false) if is_there => ("phantom", format!("{store} refused event {event} and has it")),
                _ => continue,
            };
            return Ok(Answer::Violated { finding, message, witness: witness::line(post) });
        }
    }
    Ok(Answer::Holds)
}

/// Whether the event must be there (`true`) or must not; [`None`]: either.
fn promised(post: &Operation, store: &str) -> Option<bool> {
    match (post.returned["stores"][store].as_str(), &post.outcome) {
        (Some("ok"), _) | (None, Outcome::Ok) => Some(true),
        (Some("fail"), _) | (None, Outcome::Fail(_)) => Some(false),
        _ => None,
    }
}

fn found(read: &Operation) -> Result<BTreeMap<String, Vec<i64>>, Mismatch> {
    let why = "a read of a ledger answers a map of databases to lists of events";
    let stores = read.returned.as_object().ok_or_else(|| Mismatch::new(read, why))?;
    let events = |list: &Value| {
        let list = list.as_array().ok_or_else(|| Mismatch::new(read, why))?;
        list.iter().map(|event| number(read, event, why)).collect::<Result<Vec<i64>, _>>()
    };
    stores.iter().map(|(store, list)| Ok((store.clone(), events(list)?))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::check::sample::{failed, ok, unknown};

    fn finding(found: Value) -> Option<&'static str> {
        let post = |event: u64| json!({"event": event, "account": 0, "amount": 1});
        let mut torn = unknown(0, "post", post(1), 10, Some(11));
        torn.returned = json!({"event": 1, "stores": {"postgres": "ok", "redis": "fail"}});
        let mut open = unknown(0, "post", post(2), 20, Some(21));
        open.returned = json!({"event": 2, "stores": {"postgres": "unknown", "redis": "unknown"}});
        let whole = ok(0, "post", post(0), json!({"event": 0, "stores": {"postgres": "ok", "redis": "ok"}}), 0, 1);
        let history = [whole, torn, open, failed(0, "post", post(3), 30, 31), ok(9, "read", Value::Null, found, 40, 41)];
        match ledger(&history).unwrap() {
            Answer::Violated { finding, .. } => Some(finding),
            answer => {
                assert_eq!(answer, Answer::Holds);
                None
            }
        }
    }

    #[test]
    fn each_defect_has_its_name() {
        assert_eq!(finding(json!({"postgres": [0, 1], "redis": [0]})), None);
        assert_eq!(finding(json!({"postgres": [0, 1, 2], "redis": [0]})), None);
        assert_eq!(finding(json!({"postgres": [0, 1], "redis": []})), Some("stores-disagree"));
        assert_eq!(finding(json!({"postgres": [0], "redis": [0]})), Some("acknowledged-lost"));
        assert_eq!(finding(json!({"postgres": [0, 1], "redis": [0, 1]})), Some("phantom"));
        assert_eq!(finding(json!({"postgres": [0, 1], "redis": [0, 3]})), Some("phantom"));
        assert_eq!(finding(json!({"postgres": [0, 1, 8], "redis": [0]})), Some("phantom"));
        assert_eq!(finding(json!({"postgres": [0, 1, 0], "redis": [0]})), Some("duplicated"));
    }

    #[test]
    fn what_says_nothing_is_not_decided() {
        assert!(matches!(ledger(&[]).unwrap(), Answer::Unknown(_)));
        assert_eq!(ledger(&[ok(0, "post", 3, 3, 5, 6)]).unwrap_err().index, 5);
        assert_eq!(ledger(&[ok(0, "read", Value::Null, json!({"a": 1}), 5, 6)]).unwrap_err().index, 5);
    }
}
