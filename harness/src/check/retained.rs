//! Does a history's last read have what was acknowledged?

use std::collections::{HashMap, HashSet};

use super::{
    Answer,
    shape::{Mismatch, duplicate, elements},
    witness,
};
use crate::history::{Operation, Outcome};

/// Decides a history of `add` that ends with a `read` of the whole set: every addition acknowledged before that read began is in it, but for
/// `lost_max` of them; nothing is in it that was never added or whose addition failed; nothing twice.
pub fn retained(operations: &[Operation], lost_max: u64) -> Result<Answer, Mismatch> {
    let mut adds: HashMap<String, &Operation> = HashMap::new();
    let mut read: Option<&Operation> = None;
    for operation in operations {
        match operation.f.as_ref() {
            "add" => {
                adds.insert(operation.value.to_string(), operation);
            }
            "read" if operation.is_ok() => read = read.filter(|read| read.invoked > operation.invoked).or(Some(operation)),
            "read" => {}
            _ => return Err(Mismatch::new(operation, "a set has add and read")),
        }
    }
    let Some(read) = read else { return Ok(Answer::Unknown("no read of the set was answered: nothing says what is there".into())) };
    let elements = elements(read)?;
    if let Some(twice) = duplicate(&elements) {
        let witness = witness::lines(adds.get(twice).copied());
        return Ok(Answer::Violated { finding: "duplicated", message: format!("{twice} is there twice"), witness });
    }
    let phantom = |element: &&String| adds.get(*element).is_none_or(|add| matches!(add.outcome, Outcome::Fail(_)));
    let phantoms: Vec<&String> = elements.iter().filter(phantom).collect();
    if !phantoms.is_empty() {
        let message = format!("there although their addition failed, or was never asked for: {}", witness::values(&phantoms));
        let witness = witness::lines(phantoms.iter().filter_map(|element| adds.get(*element).copied()).take(10));
        return Ok(Answer::Violated { finding: "phantom", message, witness });
    }
    let there: HashSet<&String> = elements.iter().collect();
    let is_lost = |element: &String, add: &Operation| add.is_ok() && add.completed < Some(read.invoked) && !there.contains(element);
    let mut lost: Vec<&Operation> = adds.iter().filter(|(element, add)| is_lost(element, add)).map(|(_, add)| *add).collect();
    lost.sort_by_key(|add| add.index);
    if lost.len() as u64 > lost_max {
        let values: Vec<String> = lost.iter().map(|add| add.value.to_string()).collect();
        let allowed = if lost_max == 0 { String::new() } else { format!(", more than the {lost_max} allowed") };
        let message = format!("acknowledged and not there: {}{allowed}", witness::values(&values));
        let finding = if lost_max == 0 { "acknowledged-lost" } else { "loss-exceeds-bound" };
        return Ok(Answer::Violated { finding, message, witness: witness::lines(lost.into_iter().take(10)) });
    }
    Ok(Answer::Holds)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::check::sample::{failed, ok, unknown};

    fn add(value: u64, at: u64) -> Operation {
        ok(0, "add", value, value, at, at + 1)
    }

    fn read(list: Value, at: u64) -> Operation {
        ok(9, "read", Value::Null, list, at, at + 1)
    }

    fn finding(history: &[Operation], lost_max: u64) -> Option<&'static str> {
        match retained(history, lost_max).unwrap() {
            Answer::Violated { finding, .. } => Some(finding),
            _ => None,
        }
    }

    #[test]
    fn each_defect_has_its_name() {
        let adds = [add(1, 0), add(2, 10), failed(1, "add", 3, 20, 21), unknown(2, "add", 4, 30, None)];
        let with = |list: Value| adds.iter().cloned().chain([read(list, 40)]).collect::<Vec<_>>();
        assert_eq!(retained(&with(json!([1, 2])), 0).unwrap(), Answer::Holds);
        assert_eq!(retained(&with(json!([4, 1, 2])), 0).unwrap(), Answer::Holds);
        assert_eq!(finding(&with(json!([1])), 0), Some("acknowledged-lost"));
        assert_eq!(finding(&with(json!([1, 2, 3])), 0), Some("phantom"));
        assert_eq!(finding(&with(json!([1, 2, 9])), 0), Some("phantom"));
        assert_eq!(finding(&with(json!([1, 2, 2])), 0), Some("duplicated"));
        assert_eq!(finding(&with(json!([1])), 1), None);
        assert_eq!(finding(&with(json!([])), 1), Some("loss-exceeds-bound"));
    }

    #[test]
    fn the_last_read_decides_and_without_one_nothing_does() {
        let early = [add(1, 0), read(json!([1]), 5), add(2, 10), read(json!([1]), 20)];
        assert_eq!(finding(&early, 0), Some("acknowledged-lost"));
        assert!(matches!(retained(&early[..1], 0).unwrap(), Answer::Unknown(_)));
        assert_eq!(retained(&[read(json!(3), 6)], 0).unwrap_err().index, 6);
    }

    proptest! {
        #[test]
        fn one_lost_addition_is_found(count in 1_u64..100, victim in any::<prop::sample::Index>()) {
            let mut history: Vec<Operation> = (0..count).map(|value| add(value, value * 10)).collect();
            let mut list: Vec<u64> = (0..count).collect();
            history.push(read(json!(list), 10_000));
            prop_assert_eq!(finding(&history, 0), None);
            list.remove(victim.index(list.len()));
            history.push(read(json!(list), 20_000));
            prop_assert_eq!(finding(&history, 0), Some("acknowledged-lost"));
            prop_assert_eq!(finding(&history, 1), None);
        }
    }
}
