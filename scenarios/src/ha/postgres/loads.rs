//! The loads beside the inserts, each with what decides its history.

use std::time::Duration;

use dora_harness::{
    check::{Level, Model, judge},
    database::postgres::PostgresCluster,
    workload::{Appends, Client, Pace, Registers, Rhythm, Transfers},
};

use super::{
    super::CheckedLoad,
    registers::RegisterClient,
    transactions::{BankClient, Bracket, ListClient},
};
use crate::ScenarioError;

/// What the loads work on, as scripts.
pub const PREPARED: [&str; 3] =
    ["schema/postgres/registers/prepare.sql", "schema/postgres/lists/prepare.sql", "schema/postgres/accounts/prepare.sql"];
/// Clients of each load.
const CLIENTS: usize = 3;
/// Lists in use at a time.
const KEYS: u64 = 8;
/// Registers.
const REGISTERS: usize = 8;
/// Accounts, as `accounts/prepare.sql` makes them, and what is in all of them together.
const ACCOUNTS: u64 = 5;
const TOTAL: i64 = 500;
const TRANSFER_MAX: u64 = 20;
/// The same operations in every run.
const SEED: u64 = 17;
/// Six a second and client: enough to meet each other, and little beside the inserts.
const PACE: Pace = Pace { rhythm: Rhythm::Closed(Duration::from_millis(160)), limit: Duration::from_secs(2) };

/// All of them.
pub fn checked_loads(cluster: &PostgresCluster, bracket: Bracket) -> Result<Vec<CheckedLoad>, ScenarioError> {
    let decided = |model: Model| Box::new(move |operations: &[_]| judge(model, operations)) as super::super::Judge;
    Ok(vec![
        CheckedLoad {
            name: "registers",
            clients: clients(|| Ok(Box::new(RegisterClient::new(cluster)?)))?,
            generator: Box::new(Registers::new(SEED, REGISTERS)),
            pace: PACE,
            judge: decided(Model::CasRegister),
        },
        CheckedLoad {
            name: "lists-serializable",
            clients: clients(|| Ok(Box::new(ListClient::new(cluster, "serializable", bracket)?)))?,
            generator: Box::new(Appends::new(SEED, KEYS)),
            pace: PACE,
            judge: decided(Model::ListAppend(Level::Serializable)),
        },
        CheckedLoad {
            name: "lists-repeatable-read",
            clients: clients(|| Ok(Box::new(ListClient::new(cluster, "repeatable_read", bracket)?)))?,
            generator: Box::new(Appends::new(SEED, KEYS)),
            pace: PACE,
            judge: decided(Model::ListAppend(Level::SnapshotIsolation)),
        },
        CheckedLoad {
            name: "bank",
            clients: clients(|| Ok(Box::new(BankClient::new(cluster, bracket)?)))?,
            generator: Box::new(Transfers::new(SEED, ACCOUNTS, TRANSFER_MAX)),
            pace: PACE,
            judge: decided(Model::Bank { total: Some(TOTAL) }),
        },
    ])
}

fn clients(one: impl Fn() -> Result<Box<dyn Client>, ScenarioError>) -> Result<Vec<Box<dyn Client>>, ScenarioError> {
    (0..CLIENTS).map(|_| one()).collect()
}
