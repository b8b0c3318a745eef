//! Is the money still there?

use serde_json::Value;

use super::{
    Answer,
    shape::{Mismatch, number},
    witness,
};
use crate::history::{Operation, Outcome};

/// Every read of all accounts has the total, and no account is below zero.
///
/// The total is that of the first read where it is not given: a history that begins with lost money is then not noticed.
pub fn bank(operations: &[Operation], total: Option<i64>) -> Result<Answer, Mismatch> {
    let mut total = total;
    let mut first: Option<&Operation> = None;
    for operation in operations {
        if operation.f == "transfer" {
            continue;
        }
        if operation.f != "read" {
            return Err(Mismatch::new(operation, "a bank has transfer and read"));
        }
        if operation.outcome != Outcome::Ok {
            continue;
        }
        let balances = balances(operation)?;
        let sum = balances.iter().try_fold(0_i64, |sum, balance| sum.checked_add(*balance));
        let sum = sum.ok_or_else(|| Mismatch::new(operation, "the balances add up to a number of 64 bits"))?;
        if balances.iter().any(|balance| *balance < 0) {
            let (message, witness) = ("a read shows an account below zero".into(), witness::line(operation));
            return Ok(Answer::Violated { finding: "account-overdrawn", message, witness });
        }
        let expected = *total.get_or_insert(sum);
        if sum != expected {
            let message = format!("a read of all accounts adds up to {sum}, not {expected}");
            let witness = witness::lines(first.into_iter().chain([operation]));
            return Ok(Answer::Violated { finding: "total-changed", message, witness });
        }
        first.get_or_insert(operation);
    }
    Ok(first.map_or_else(|| Answer::Unknown("no read of the accounts was answered".into()), |_| Answer::Holds))
}

/// A map of accounts to balances, or a list of balances.
fn balances(operation: &Operation) -> Result<Vec<i64>, Mismatch> {
    let why = "a read of a bank answers the balance of each account, a whole number";
    match &operation.returned {
        Value::Object(accounts) => accounts.values().map(|balance| number(operation, balance, why)).collect(),
        Value::Array(accounts) => accounts.iter().map(|balance| number(operation, balance, why)).collect(),
        _ => Err(Mismatch::new(operation, why)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::check::sample::{failed, ok, unknown};

    fn read(balances: Value, at: u64) -> Operation {
        ok(1, "read", Value::Null, balances, at, at + 1)
    }

    #[test]
    fn money_that_vanishes_is_missed() {
        let history = [read(json!({"0": 10, "1": 10}), 0), read(json!({"0": 7, "1": 10}), 5)];
        let Answer::Violated { finding: "total-changed", message, witness } = bank(&history, None).unwrap() else { panic!("not found") };
        assert!(message.contains("17, not 20") && witness.lines().count() == 2, "{message}\n{witness}");
        assert!(matches!(bank(&history[..1], Some(30)).unwrap(), Answer::Violated { finding: "total-changed", .. }));
        assert_eq!(bank(&history[..1], Some(20)).unwrap(), Answer::Holds);
    }

    #[test]
    fn an_overdrawn_account_is_seen_although_the_total_is_right() {
        assert!(matches!(bank(&[read(json!([-1, 21]), 0)], None).unwrap(), Answer::Violated { finding: "account-overdrawn", .. }));
    }

    #[test]
    fn without_an_answered_read_nothing_is_known() {
        let transfer = json!({"from": 0, "to": 1, "amount": 3});
        let history = [unknown(0, "transfer", transfer, 0, None), failed(1, "read", Value::Null, 2, 3)];
        assert!(matches!(bank(&history, None).unwrap(), Answer::Unknown(_)));
        assert_eq!(bank(&[read(json!("much"), 7)], None).unwrap_err().index, 7);
        assert!(bank(&[ok(0, "add", 1, 1, 0, 1)], None).is_err());
    }

    proptest! {
        /// An atomic bank is accepted; one coin more or less in one read is noticed.
        #[test]
        fn one_coin_is_noticed(transfers in prop::collection::vec((0_usize..4, 0_usize..4, 1_i64..5), 1..60), at in any::<prop::sample::Index>(), coin in prop_oneof![Just(-1_i64), Just(1)]) {
            let mut accounts = [10_i64; 4];
            let mut history = Vec::new();
            for (number, (from, to, amount)) in (0..).zip(&transfers) {
                if accounts[*from] >= *amount {
                    accounts[*from] -= amount;
                    accounts[*to] += amount;
                }
                history.push(read(json!(accounts), number * 10));
            }
            prop_assert_eq!(bank(&history, Some(40)).unwrap(), Answer::Holds);
            let read = &mut history[at.index(transfers.len())];
            let richest = (0..4).max_by_key(|account| read.returned[*account].as_i64()).unwrap();
            read.returned[richest] = (read.returned[richest].as_i64().unwrap() + coin).into();
            let is_found = matches!(bank(&history, Some(40)).unwrap(), Answer::Violated { finding: "total-changed", .. });
            prop_assert!(is_found);
        }
    }
}
