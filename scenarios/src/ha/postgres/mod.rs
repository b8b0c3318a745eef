//! `PostgreSQL` under Patroni, behind `PgBouncer`.

mod case;
mod crash;
mod crowd;
mod cut;
mod defects;
mod disk;
mod equipped;
mod failback;
mod frame;
mod hot_standby;
mod inserts;
mod line;
mod loads;
mod network;
mod notice;
mod planned;
mod pool;
mod pooler;
mod probe;
mod registers;
mod sabotage;
mod scenarios;
mod settings;
mod standbys;
mod target;
mod transactions;

pub use scenarios::SCENARIOS;
pub(super) use target::primary_killed;
