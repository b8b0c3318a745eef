//! Neo4j 3.3: native accounts and the engine's own roles, at every core; and a server that takes its accounts from a directory.

mod directory;
mod directory_pods;
mod endpoint;
mod gate;
mod roles;
mod scenarios;

pub use scenarios::SCENARIOS;
