//! The loads beside the inserts, each with the level that the set promises.

use std::{sync::Arc, time::Duration};

use dora_harness::{
    check::{Level, Model, judge},
    database::mongodb::{MongodbError, ReplicaSet},
    workload::{Appends, Causes, Client, Pace, Registers, Rhythm},
};

use super::{
    super::CheckedLoad,
    case::Case,
    client::{Appender, CausalReader, Register},
    demand::Demand,
};

const REGISTERS: &str = "registers";
const LISTS: &str = "lists";
const CAUSES: &str = "causes";
/// What they write to.
pub(super) const COLLECTIONS: &[&str] = &[REGISTERS, LISTS, CAUSES];

/// Clients of each load.
const CLIENTS: usize = 3;
/// Registers: few enough to be contended, more than the clients can all overwrite between a fault and the next look.
const KEYS: usize = 5;
/// Lists in use at a time.
const LISTS_IN_USE: u64 = 4;
/// Any seed: what the clients are asked is the same in each run, when they are asked is not.
const SEED: u64 = 20_221_214;

/// The loads of a case.
pub(super) fn of(case: Case, set: &Arc<ReplicaSet>, demand: &Demand) -> Result<Vec<CheckedLoad>, MongodbError> {
    Ok(match case {
        Case::PrimaryKilled => vec![registers(set, demand)?, transactions(set, demand)?],
        Case::SecondaryCutFromPeers => vec![sessions(set, demand)?],
        // Their subjects are what the disk holds, and the set whose default is one copy.
        Case::AllNodesKilled | Case::ArbiterLost => Vec::new(),
        _ => vec![registers(set, demand)?],
    })
}

fn clients<C: Client + 'static>(open: impl Fn() -> Result<C, MongodbError>) -> Result<Vec<Box<dyn Client>>, MongodbError> {
    (0..CLIENTS).map(|_| open().map(|client| Box::new(client) as Box<dyn Client>)).collect()
}

/// Linearizable registers with compare-and-set.
fn registers(set: &ReplicaSet, demand: &Demand) -> Result<CheckedLoad, MongodbError> {
    Ok(CheckedLoad {
        name: REGISTERS,
        clients: clients(|| Register::open(set, REGISTERS, demand.write.clone(), demand.read.clone()))?,
        generator: Box::new(Registers::new(SEED, KEYS)),
        pace: Pace { rhythm: Rhythm::Closed(Duration::from_millis(100)), ..Pace::default() },
        judge: Box::new(|operations| judge(Model::CasRegister, operations)),
    })
}

/// Transactions at read concern snapshot.
fn transactions(set: &ReplicaSet, demand: &Demand) -> Result<CheckedLoad, MongodbError> {
    let open = || {
        let appender = Appender::open(set, LISTS, demand.write.clone())?;
        Ok(if demand.transactions { appender } else { appender.without_transactions() })
    };
    Ok(CheckedLoad {
        name: LISTS,
        clients: clients(open)?,
        generator: Box::new(Appends::new(SEED, LISTS_IN_USE)),
        pace: Pace { rhythm: Rhythm::Closed(Duration::from_millis(100)), ..Pace::default() },
        judge: Box::new(|operations| judge(Model::ListAppend(Level::SnapshotIsolation), operations)),
    })
}

/// Causally consistent sessions that read from any member.
fn sessions(set: &ReplicaSet, demand: &Demand) -> Result<CheckedLoad, MongodbError> {
    let open = || {
        let reader = CausalReader::open(set, CAUSES, demand.write.clone())?;
        Ok(if demand.sessions { reader } else { reader.without_sessions() })
    };
    Ok(CheckedLoad {
        name: CAUSES,
        clients: clients(open)?,
        generator: Box::new(Causes::new(CLIENTS)),
        pace: Pace { rhythm: Rhythm::Closed(Duration::from_millis(50)), ..Pace::default() },
        judge: Box::new(|operations| judge(Model::Causal, operations)),
    })
}
