//! `PostgreSQL` under Patroni, behind `PgBouncer`.

mod case;
mod crash;
mod inserts;
mod line;
mod probe;
mod sabotage;
mod scenarios;
mod target;

pub use scenarios::SCENARIOS;
