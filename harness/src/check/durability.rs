//! Is what was acknowledged there, and only what may be there?

use std::collections::{HashMap, HashSet};

use crate::history::{Operation, Outcome};

/// What became of a set of inserts. The lists are the witness.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Durability {
    /// Acknowledged inserts.
    pub acknowledged: u64,
    /// Inserts that surely failed.
    pub failed: u64,
    /// Inserts of which nobody knows.
    pub unknown: u64,
    /// Acknowledged and not there.
    pub lost: Vec<u64>,
    /// There although they failed, or were never inserted.
    pub phantom: Vec<u64>,
    /// There more than once.
    pub duplicated: Vec<u64>,
    /// Unknown and there after all (allowed).
    pub recovered: u64,
}

/// Compares a history of inserts with what a final read found (every occurrence of a value counts).
///
/// An unknown insert may be there or not: neither is an error. A value that was never inserted is a phantom, because the
/// workload starts on an empty set.
pub fn durability(operations: &[Operation], present: &[u64]) -> Durability {
    let mut occurrences: HashMap<u64, u64> = HashMap::new();
    for value in present {
        *occurrences.entry(*value).or_default() += 1;
    }
    let mut result = Durability::default();
    let mut may_be_there = HashSet::new();
    for operation in operations {
        // Only inserts have numbers; whatever else is in the history is not this check's business.
        let Some(value) = operation.number() else { continue };
        let there = occurrences.contains_key(&value);
        match operation.outcome {
            Outcome::Ok => {
                result.acknowledged += 1;
                may_be_there.insert(value);
                if !there {
                    result.lost.push(value);
                }
            }
            Outcome::Fail(_) => result.failed += 1,
            Outcome::Unknown(_) => {
                result.unknown += 1;
                may_be_there.insert(value);
                result.recovered += u64::from(there);
            }
        }
    }
    result.phantom = occurrences.keys().copied().filter(|value| !may_be_there.contains(value)).collect();
    result.duplicated = occurrences.iter().filter(|(_, count)| **count > 1).map(|(value, _)| *value).collect();
    result.lost.sort_unstable();
    result.phantom.sort_unstable();
    result.duplicated.sort_unstable();
    result
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn operation(value: u64, outcome: Outcome) -> Operation {
        let (invoked, completed) = (value, Some(value + 1));
        Operation {
            index: 2 * value,
            process: 0,
            f: "add".into(),
            value: value.into(),
            returned: value.into(),
            invoked,
            completed,
            outcome,
        }
    }

    #[test]
    fn each_defect_is_found_and_named() {
        let operations = [
            operation(1, Outcome::Ok),
            operation(2, Outcome::Ok),
            operation(3, Outcome::Fail("refused".into())),
            operation(4, Outcome::Unknown("time-out".into())),
            operation(5, Outcome::Unknown("time-out".into())),
        ];
        let result = durability(&operations, &[1, 1, 3, 4, 9]);
        assert_eq!(result.lost, vec![2]);
        assert_eq!(result.phantom, vec![3, 9]);
        assert_eq!(result.duplicated, vec![1]);
        assert_eq!((result.acknowledged, result.failed, result.unknown, result.recovered), (2, 1, 2, 1));
    }

    fn outcome() -> impl Strategy<Value = Outcome> {
        prop_oneof![Just(Outcome::Ok), Just(Outcome::Fail(String::new())), Just(Outcome::Unknown(String::new()))]
    }

    proptest! {
        /// A store that keeps exactly what it acknowledged, and some of what is unknown, is never accused.
        #[test]
        fn an_honest_store_is_accepted(outcomes in prop::collection::vec((outcome(), any::<bool>()), 0..200)) {
            let operations: Vec<_> = outcomes.iter().zip(0..).map(|((outcome, _), value)| operation(value, outcome.clone())).collect();
            let present: Vec<u64> = outcomes.iter().zip(0..)
                .filter(|((outcome, applied), _)| match outcome { Outcome::Ok => true, Outcome::Fail(_) => false, Outcome::Unknown(_) => *applied })
                .map(|(_, value)| value).collect();
            let result = durability(&operations, &present);
            prop_assert!(result.lost.is_empty() && result.phantom.is_empty() && result.duplicated.is_empty());
        }

        /// A store that drops one acknowledged value is always caught, with that value as the witness.
        #[test]
        fn a_lost_write_is_always_caught(count in 1_u64..200, seed in any::<u64>()) {
            let operations: Vec<_> = (0..count).map(|value| operation(value, Outcome::Ok)).collect();
            let victim = seed % count;
            let present: Vec<u64> = (0..count).filter(|value| *value != victim).collect();
            prop_assert_eq!(durability(&operations, &present).lost, vec![victim]);
        }
    }
}
