//! What must hold: scenarios for the clauses of the catalogue, their sabotages, and the runner that decides them.
//!
//! A scenario is a value ([`Scenario`]): its clauses, its goal, its method, what it does not show, the sabotages under which
//! it must turn red, and an async function. It runs in a [`Trial`], which collects the evidence. The four pillars share one driver each
//! ([`ha`], [`security`], [`backup`], [`performance`]); a database adds an adapter.

pub mod backup;
mod defect;
mod error;
mod excerpt;
pub mod ha;
pub mod performance;
mod registry;
pub mod runner;
mod scenario;
pub mod security;
mod trial;

pub use error::ScenarioError;
pub use registry::{Unmatched, all, core_ids, select};
pub use scenario::{Database, Pillar, Sabotage, Scenario};
pub use trial::{Setting, Trial};
