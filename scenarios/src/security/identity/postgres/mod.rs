//! `PostgreSQL`: GRANTs, and the ways in at servers and pooler.

mod gate;
mod roles;
mod scenarios;
mod superuser;

pub use scenarios::SCENARIOS;
