//! What a seed promises, and what each workload promises to its checker.

use std::collections::HashSet;

use dora_harness::workload::{Appends, Causes, Counts, Generator, Locks, Monotonic, Registers, Transfers, Writes};
use serde_json::Value;

fn some(mut generator: impl Generator, clients: usize) -> Vec<(&'static str, Value)> {
    (0..2_000).map(|n| generator.next(n % clients)).map(|invocation| (invocation.f, invocation.value)).collect()
}

#[test]
fn the_same_seed_is_the_same_load_and_another_is_another() {
    assert_eq!(some(Registers::new(7, 3), 4), some(Registers::new(7, 3), 4));
    assert_ne!(some(Registers::new(7, 3), 4), some(Registers::new(8, 3), 4));
    assert_eq!(some(Appends::new(7, 3), 4), some(Appends::new(7, 3), 4));
    assert_ne!(some(Writes::new(7, 3), 4), some(Writes::new(8, 3), 4));
    assert_ne!(some(Transfers::new(7, 3, 5), 4), some(Transfers::new(8, 3, 5), 4));
    assert_ne!(some(Counts::new(7), 4), some(Counts::new(8), 4));
}

#[test]
fn every_kind_of_operation_comes_up() {
    let kinds = |load: Vec<(&'static str, Value)>| load.into_iter().map(|(f, _)| f).collect::<HashSet<_>>();
    assert_eq!(kinds(some(Registers::new(1, 3), 4)), HashSet::from(["read", "write", "cas"]));
    assert_eq!(kinds(some(Registers::new(1, 3).without_compare(), 4)), HashSet::from(["read", "write"]));
    assert_eq!(kinds(some(Transfers::new(1, 3, 5), 4)), HashSet::from(["read", "transfer"]));
    assert_eq!(kinds(some(Counts::new(1), 4)), HashSet::from(["read", "add"]));
    assert_eq!(kinds(some(Causes::new(4), 4)), HashSet::from(["read", "write"]));
    assert_eq!(kinds(some(Monotonic::new(2), 4)), HashSet::from(["read", "write"]));
    assert_eq!(kinds(some(Locks::default(), 4)), HashSet::from(["acquire", "write", "release"]));
}

#[test]
fn no_value_of_a_key_is_written_twice() {
    for (write, load) in [("append", some(Appends::new(1, 3), 4)), ("w", some(Writes::new(1, 3), 4))] {
        let steps = load.iter().flat_map(|(_, transaction)| transaction.as_array().unwrap());
        let written: Vec<String> = steps.filter(|step| step[0] == write).map(Value::to_string).collect();
        assert!(written.len() > 1_000);
        assert_eq!(written.iter().collect::<HashSet<_>>().len(), written.len());
    }
    for load in [some(Registers::new(1, 3).without_compare(), 4), some(Causes::new(4), 4), some(Monotonic::new(2), 4)] {
        let written: Vec<String> = load.iter().filter(|(f, _)| *f == "write").map(|(_, value)| value.to_string()).collect();
        assert!(written.len() > 300);
        assert_eq!(written.iter().collect::<HashSet<_>>().len(), written.len());
    }
}

#[test]
fn a_transfer_goes_from_one_account_to_another() {
    for (_, value) in some(Transfers::new(1, 3, 5), 4).into_iter().filter(|(f, _)| *f == "transfer") {
        assert_ne!(value["from"], value["to"]);
        assert!(value["from"].as_u64().unwrap() < 3 && value["to"].as_u64().unwrap() < 3);
        assert!((1..=5).contains(&value["amount"].as_u64().unwrap()));
    }
}
