//! The key manager: what it issues, what it keeps, and what happens without it.

mod certificates;
mod dynamic_credentials;
mod expired_authority;
mod leader_lost;
mod parts;
mod rotated_passwords;
mod sealed;
mod secret_search;
mod storage;
mod transit;
mod used_databases;

use crate::Scenario;

pub(super) use certificates::install;

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[
    dynamic_credentials::SCENARIO,
    rotated_passwords::SCENARIO,
    transit::SCENARIO,
    certificates::REDIS,
    certificates::POSTGRES,
    certificates::MONGODB,
    certificates::NEO4J,
    certificates::INFLUXDB,
    certificates::ETCD,
    certificates::OPENBAO,
    expired_authority::SCENARIO,
    secret_search::SCENARIO,
    storage::SCENARIO,
    sealed::SCENARIO,
    leader_lost::SCENARIO,
];
